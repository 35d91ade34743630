//! Replies to remote callers, and their JSON.

use std::time::Duration;

use bytes::Bytes;
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};

use super::object::Problem;
use crate::{Backend, SavedBody, SavedResponse};

/// The reply to a request.
#[derive(Debug, Serialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub(super) enum Answer {
    /// The caller holds the key, and may run the operation.
    Started {
        /// Whether an earlier copy of this `begin` was stored, and the reply to that copy was lost.
        repeated: bool,
        /// Whether an earlier attempt was abandoned. Its request may still take effect.
        took_over: bool,
        /// The lease. The caller sends it back with each later request of this attempt.
        lease: RemoteLease,
        /// The idempotency key for the provider.
        derived_key: String,
        /// The last checkpoint of an earlier attempt, or `null`.
        checkpoint: Box<RawValue>,
    },
    /// The operation has a result. The reply contains the result or its summary.
    Replay(Stored),
    /// Another attempt is running. Its lease ends after `retry_after_ms`.
    InProgress { retry_after_ms: u64 },
    /// The key belongs to another request.
    Mismatch,
    /// The operation may have taken effect. No `begin` succeeds until the key is resolved.
    Unknown {
        /// The last checkpoint, or `null`; absent in the reply to `mark_unknown`.
        #[serde(skip_serializing_if = "Option::is_none")]
        checkpoint: Option<Box<RawValue>>,
        /// The revision to send with `resolve`; absent in the reply to `mark_unknown`, and for a damaged value.
        #[serde(skip_serializing_if = "Option::is_none")]
        revision: Option<String>,
        /// Whether the stored value is unreadable. It may have been a result.
        #[serde(skip_serializing_if = "is_false")]
        damaged: bool,
    },
    /// The result is stored. If this attempt stored another result earlier, the reply contains that earlier result.
    Completed(Stored),
    /// The key may be claimed again.
    Released,
    /// The lease ends in `expires_in_ms`. The caller stores `rev` in its lease.
    Renewed { rev: u64, expires_in_ms: u64 },
    /// The checkpoint is stored. The caller stores `rev` in its lease.
    Saved { rev: u64 },
    /// Nothing was written: another write of this attempt came first. `rev` is the revision of that write.
    Outdated { rev: u64 },
    /// The key no longer belongs to this attempt. The reply includes the stored result, if there is one.
    Superseded(Stored),
    /// The state of a key.
    Found(KeyStatus),
    /// There is no record.
    Absent,
    /// The key is resolved in the requested way.
    Resolved,
    /// Nothing was written: the record has changed since the caller read it, an attempt is running, or the key has a
    /// result. The reply includes the current state.
    Refused(KeyStatus),
    /// The request is malformed. `errors` contains the problems of the request.
    Invalid { errors: Vec<Problem> },
    /// The idempotency store is unavailable. The request may or may not have taken effect. A retry of the same request
    /// after `retry_after_ms` is safe.
    Unavailable { retry_after_ms: u64 },
}

/// A reply. If only one of the configured stores took part, the reply contains the name of that store.
#[derive(Debug, Serialize)]
pub(super) struct Reply {
    #[serde(flatten)]
    pub(super) answer: Answer,
    /// The store that replied alone, because another configured store did not take part.
    #[serde(rename = "stand_in", skip_serializing_if = "Option::is_none")]
    pub(super) degraded_to: Option<Backend>,
}

/// A lease, in the form that the caller keeps and sends back.
#[derive(Debug, Serialize)]
pub(super) struct RemoteLease {
    pub(super) scope: String,
    /// The key as the caller sent it, including quotes.
    pub(super) key: String,
    pub(super) owner: String,
    pub(super) attempt: u64,
    /// The revision of the attempt's last write.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) rev: Option<u64>,
    pub(super) fingerprint: String,
    pub(super) expires_in_ms: u64,
}

/// The state of a key, visible to every caller in the namespace.
#[derive(Debug, Serialize)]
pub(super) struct KeyStatus {
    pub(super) state: KeyState,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) attempt: Option<u64>,
    /// The time until the lease of a running attempt ends.
    pub(super) lease_left_ms: u64,
    /// The revision to send with `resolve`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) revision: Option<String>,
    /// The last checkpoint.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) checkpoint: Option<Box<RawValue>>,
    /// Whether the stored value is unreadable. It may have been a result.
    #[serde(skip_serializing_if = "is_false")]
    pub(super) damaged: bool,
    #[serde(flatten)]
    pub(super) stored: Stored,
}

/// The progress of the operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum KeyState {
    /// A `begin` of the same request gets `in_progress`.
    InProgress,
    /// A `begin` of the same request gets `started`, as a takeover.
    Abandoned,
    /// A `begin` of the same request gets `unknown`.
    Unknown,
    /// A `begin` of the same request gets `started`.
    Released,
    /// A `begin` of the same request gets `replay`.
    Completed,
    /// There is no record. A `begin` of the same request gets `started`.
    Absent,
}

/// A result, or its summary.
#[derive(Debug, Serialize)]
pub(super) struct Stored {
    /// The response, byte for byte.
    #[serde(skip_serializing_if = "Option::is_none")]
    response: Option<Box<RawValue>>,
    /// The summary of a response that was too long to store, or that is not JSON.
    #[serde(skip_serializing_if = "Option::is_none")]
    summary: Option<Summary>,
}

#[derive(Debug, Serialize)]
struct Summary {
    length: u64,
    sha256: String,
}

impl From<Answer> for Reply {
    fn from(answer: Answer) -> Self {
        Self {
            answer,
            degraded_to: None,
        }
    }
}

impl Reply {
    /// Returns the reply as JSON.
    pub(super) fn to_json(&self) -> Box<RawValue> {
        #[expect(
            clippy::expect_used,
            reason = "every member has a name, and no value in a reply can fail to serialize"
        )]
        to_raw_value(self).expect("a reply serializes to JSON")
    }
}

impl KeyStatus {
    /// A key whose record is absent or unreadable.
    pub(super) fn without_record(state: KeyState) -> Self {
        Self {
            state,
            attempt: None,
            lease_left_ms: 0,
            revision: None,
            checkpoint: None,
            damaged: false,
            stored: Stored::NONE,
        }
    }
}

impl Stored {
    /// No result.
    pub(super) const NONE: Self = Self {
        response: None,
        summary: None,
    };

    /// A stored result.
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

/// Returns a checkpoint, byte for byte, or `null` if there is none. A checkpoint that is not JSON was written by
/// another program. It is returned as a JSON string.
pub(super) fn checkpoint_json(checkpoint: &Bytes) -> Box<RawValue> {
    match json(checkpoint) {
        Some(json) => json,
        None if checkpoint.is_empty() => RawValue::NULL.to_owned(),
        None => {
            let text = String::from_utf8_lossy(checkpoint);
            to_raw_value(&text).unwrap_or_else(|_| RawValue::NULL.to_owned())
        }
    }
}

/// The duration in whole milliseconds.
pub(super) fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde requires this signature"
)]
fn is_false(value: &bool) -> bool {
    !value
}

fn json(bytes: &Bytes) -> Option<Box<RawValue>> {
    let text = std::str::from_utf8(bytes).ok()?;
    RawValue::from_string(text.to_owned()).ok()
}
