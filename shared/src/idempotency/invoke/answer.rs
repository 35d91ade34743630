//! What callers are told, and how it is written.

use std::time::Duration;

use bytes::Bytes;
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};

use super::object::Problem;
use crate::idempotency::{Backend, SavedBody, SavedResponse};

/// The answer to a request.
#[derive(Debug, Serialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub(super) enum Answer {
    /// The caller may work.
    Started {
        /// Whether this very call was answered before, and the answer lost.
        repeated: bool,
        /// Whether an earlier attempt ended without a word, so that its request may still take effect.
        took_over: bool,
        lease: LeaseShown,
        /// For the provider.
        derived_key: String,
        /// What an earlier attempt noted last, or `null`.
        checkpoint: Box<RawValue>,
    },
    /// It has run.
    Replay(Stored),
    /// Somebody is at it.
    InProgress { retry_after_ms: u64 },
    /// The key stands for another request.
    Mismatch,
    /// It is not known whether it took effect.
    Unknown {
        /// What was noted last, or `null`; not there for who has said so itself.
        #[serde(skip_serializing_if = "Option::is_none")]
        checkpoint: Option<Box<RawValue>>,
    },
    /// The result is stored; with another one that this attempt stored before, that is the result.
    Completed(Stored),
    /// The key may be claimed again.
    Released,
    /// The lease lasts so long from now.
    Renewed,
    /// The note is stored.
    Saved,
    /// The key is not this attempt's any more; with the result, where there is one.
    Superseded(Stored),
    /// How a key stands.
    Found {
        state: StateShown,
        attempt: u64,
        lease_left_ms: u64,
        #[serde(skip_serializing_if = "Option::is_none")]
        checkpoint: Option<Box<RawValue>>,
        #[serde(flatten)]
        stored: Stored,
    },
    /// Nothing is stored that can be read.
    Absent,
    /// The request is malformed.
    Invalid { errors: Vec<Problem> },
    /// No store decided. Asking the same again is safe.
    Unavailable { retry_after_ms: u64 },
}

/// An answer, and who gave it.
#[derive(Debug, Serialize)]
pub(super) struct Told {
    #[serde(flatten)]
    pub(super) answer: Answer,
    /// The store that answered alone, where not all that are configured could take part.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) stand_in: Option<Backend>,
}

/// A lease as its caller keeps it and sends it back.
#[derive(Debug, Serialize)]
pub(super) struct LeaseShown {
    pub(super) scope: String,
    /// As it was sent, quotes included.
    pub(super) key: String,
    pub(super) owner: String,
    pub(super) attempt: u64,
    pub(super) fingerprint: String,
    pub(super) expires_in_ms: u64,
}

/// How far work is.
#[derive(Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum StateShown {
    InProgress,
    Unknown,
    Released,
    Completed,
}

/// A result, or what is left of it.
#[derive(Debug, Serialize)]
pub(super) struct Stored {
    /// As it was sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    response: Option<Box<RawValue>>,
    /// Of one that was too long to keep, or is no JSON.
    #[serde(skip_serializing_if = "Option::is_none")]
    summary: Option<Summary>,
}

#[derive(Debug, Serialize)]
struct Summary {
    length: u64,
    sha256: String,
}

impl From<Answer> for Told {
    fn from(answer: Answer) -> Self {
        Self {
            answer,
            stand_in: None,
        }
    }
}

impl Told {
    /// The answer as JSON.
    pub(super) fn to_json(&self) -> Box<RawValue> {
        #[expect(
            clippy::expect_used,
            reason = "every member has a name and nothing in an answer can fail to be written"
        )]
        to_raw_value(self).expect("an answer is JSON")
    }
}

impl Stored {
    /// No result.
    pub(super) const NOTHING: Self = Self {
        response: None,
        summary: None,
    };

    /// The result that is stored.
    pub(super) fn of(response: &SavedResponse) -> Self {
        if let Some(json) = response.whole_body().and_then(json) {
            return Self {
                response: Some(json),
                summary: None,
            };
        }
        let summary = match response.limited_to(0).body {
            SavedBody::Summary { length, sha256 } => Some(Summary {
                length,
                sha256: hex::encode(sha256),
            }),
            SavedBody::Whole(_) => None,
        };
        Self {
            response: None,
            summary,
        }
    }
}

/// A note as it was sent; `null` where there is none. One that is not JSON was left by somebody else, as text.
pub(super) fn note(note: &Bytes) -> Box<RawValue> {
    match json(note) {
        Some(json) => json,
        None if note.is_empty() => RawValue::NULL.to_owned(),
        None => {
            let text = String::from_utf8_lossy(note);
            to_raw_value(&text).unwrap_or_else(|_| RawValue::NULL.to_owned())
        }
    }
}

/// Whole milliseconds.
pub(super) fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn json(bytes: &Bytes) -> Option<Box<RawValue>> {
    let text = std::str::from_utf8(bytes).ok()?;
    RawValue::from_string(text.to_owned()).ok()
}
