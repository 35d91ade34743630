//! What callers are told, and how it is written.

use std::time::Duration;

use bytes::Bytes;
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};

use super::object::Problem;
use crate::{Backend, SavedBody, SavedResponse};

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
    /// It is not known whether it took effect, and no `begin` will start it again.
    Unknown {
        /// What was noted last, or `null`; absent in the answer to `mark_unknown`.
        #[serde(skip_serializing_if = "Option::is_none")]
        checkpoint: Option<Box<RawValue>>,
        /// What `resolve` wants; absent in the answer to `mark_unknown`, and where the stored value is damaged.
        #[serde(skip_serializing_if = "Option::is_none")]
        revision: Option<String>,
        /// The stored value cannot be read. It may have been a result.
        #[serde(skip_serializing_if = "is_false")]
        damaged: bool,
    },
    /// The result is stored; with another one that this attempt stored before, that is the result.
    Completed(Stored),
    /// The key may be claimed again.
    Released,
    /// The lease lasts so long from now. The caller puts `rev` into its lease.
    Renewed { rev: u64, expires_in_ms: u64 },
    /// The checkpoint is stored. The caller puts `rev` into its lease.
    Saved { rev: u64 },
    /// Nothing is stored: another write of this attempt came first. `rev` is that one's.
    Outdated { rev: u64 },
    /// The key is not this attempt's any more; with the result, where there is one.
    Superseded(Stored),
    /// How a key stands.
    Found(Shown),
    /// Nothing is stored.
    Absent,
    /// The key stands as it was resolved.
    Resolved,
    /// Nothing was written: the record is not the one that was seen, an attempt is running, or there is a result. How the key
    /// stands.
    Refused(Shown),
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
    /// The store that decided alone while another configured store did not take part.
    #[serde(rename = "stand_in", skip_serializing_if = "Option::is_none")]
    pub(super) degraded_to: Option<Backend>,
}

/// A lease as its caller keeps it and sends it back.
#[derive(Debug, Serialize)]
pub(super) struct LeaseShown {
    pub(super) scope: String,
    /// As it was sent, quotes included.
    pub(super) key: String,
    pub(super) owner: String,
    pub(super) attempt: u64,
    /// The revision of the attempt's last write.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) rev: Option<u64>,
    pub(super) fingerprint: String,
    pub(super) expires_in_ms: u64,
}

/// A key's record, as everyone in the namespace may see it.
#[derive(Debug, Serialize)]
pub(super) struct Shown {
    pub(super) state: StateShown,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) attempt: Option<u64>,
    pub(super) lease_left_ms: u64,
    /// What `resolve` wants.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) revision: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) checkpoint: Option<Box<RawValue>>,
    /// The stored value cannot be read. It may have been a result.
    #[serde(skip_serializing_if = "is_false")]
    pub(super) damaged: bool,
    #[serde(flatten)]
    pub(super) stored: Stored,
}

/// How far work is: what a `begin` of the same request is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum StateShown {
    /// `in_progress`
    InProgress,
    /// `started`, as a takeover
    Abandoned,
    /// `unknown`
    Unknown,
    /// `started`
    Released,
    /// `replay`
    Completed,
    /// `started`: nothing is stored
    Absent,
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
            degraded_to: None,
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

impl Shown {
    /// A key whose record does not exist or cannot be read.
    pub(super) fn without_record(state: StateShown) -> Self {
        Self {
            state,
            attempt: None,
            lease_left_ms: 0,
            revision: None,
            checkpoint: None,
            damaged: false,
            stored: Stored::NOTHING,
        }
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

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "the shape that serde calls"
)]
fn is_false(value: &bool) -> bool {
    !value
}

fn json(bytes: &Bytes) -> Option<Box<RawValue>> {
    let text = std::str::from_utf8(bytes).ok()?;
    RawValue::from_string(text.to_owned()).ok()
}
