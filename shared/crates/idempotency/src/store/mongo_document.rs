//! A record as a document of MongoDB.
//!
//! | field | type |
//! |---|---|
//! | `_id` | the record key |
//! | `state` | `in_progress`, `unknown`, `released` or `completed` |
//! | `owner`, `fingerprint` | hexadecimal text |
//! | `attempt`, `rev`, `lease_ms`, `policy_ms` | 64-bit integers |
//! | `leased_at`, `first_at` | dates |
//! | `finished_at` | a date, in released and completed records; field of the expiry index |
//! | `took_over` | boolean; if absent, false |
//! | `checkpoint`, `response` | binary; absent if empty |

use std::time::Duration;

use bytes::Bytes;
use mongodb::bson::spec::BinarySubtype;
use mongodb::bson::{Binary, Bson, DateTime, Document, doc};

use crate::decision::ClaimRequest;
use crate::record::{Record, State, Unreadable};
use crate::store_time::{StoreTime, whole_ms};
use crate::{Fingerprint, OwnerId, Policy, SavedResponse};

/// Returns the fields of a new record for a claim. The dates are missing, because the server sets them.
pub(super) fn inserted(claim: &ClaimRequest) -> Document {
    doc! {
        "state": State::InProgress.name(),
        "owner": claim.owner.to_string(),
        "attempt": 1_i64,
        "rev": 1_i64,
        "lease_ms": integer(whole_ms(claim.lease)),
        "fingerprint": claim.fingerprint.to_string(),
        "policy_ms": integer(claim.policy.to_bound_ms()),
        "took_over": false,
    }
}

/// Returns the fields that a claim sets in an existing record, and the fields that it removes. The counters and the
/// dates are missing, because the server sets them.
pub(super) fn reclaimed(next: &Record) -> (Document, Document) {
    let mut set = doc! {
        "state": next.state.name(),
        "owner": next.owner.to_string(),
        "lease_ms": integer(whole_ms(next.lease)),
        "fingerprint": next.fingerprint.to_string(),
        "policy_ms": integer(next.policy.to_bound_ms()),
        "took_over": next.took_over,
    };
    let mut unset = doc! { "finished_at": "", "response": "" };
    if next.checkpoint.is_empty() {
        unset.insert("checkpoint", "");
    } else {
        set.insert("checkpoint", binary(&next.checkpoint));
    }
    (set, unset)
}

/// Bytes as a MongoDB binary.
pub(super) fn binary(bytes: &Bytes) -> Binary {
    Binary {
        subtype: BinarySubtype::Generic,
        bytes: bytes.to_vec(),
    }
}

/// Returns a filter for a date that is read as `time`. The filter is a range, because a server may store dates more
/// precisely than in the milliseconds that it returns.
pub(super) fn within(time: StoreTime) -> Document {
    let date = |ms| DateTime::from_millis(i64::try_from(ms).unwrap_or(i64::MAX));
    doc! { "$gte": date(time.as_ms()), "$lt": date(time.as_ms() + 1) }
}

pub(super) fn integer(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// Parses a record.
///
/// # Errors
///
/// [`Unreadable`] for any document that this module does not write.
pub(super) fn record(document: &mut Document) -> Result<Record, Unreadable> {
    parse(document).ok_or(Unreadable)
}

/// The server's time when it read the document.
pub(super) fn now(document: &Document) -> Option<StoreTime> {
    date(document, "now")
}

fn parse(document: &mut Document) -> Option<Record> {
    let response = bytes(document, "response")?;
    let checkpoint = bytes(document, "checkpoint")?.unwrap_or_default();
    let state = match document.get_str("state").ok()? {
        "in_progress" => State::InProgress,
        "unknown" => State::Unknown,
        "released" => State::Released {
            finished_at: date(document, "finished_at")?,
        },
        "completed" => State::Completed {
            finished_at: date(document, "finished_at")?,
            response: SavedResponse::from_bytes(&response?)?,
        },
        _ => return None,
    };
    Some(Record {
        state,
        owner: OwnerId::from_hex(document.get_str("owner").ok()?)?,
        attempt: count(document, "attempt")?,
        rev: count(document, "rev")?,
        leased_at: date(document, "leased_at")?,
        lease: Duration::from_millis(count(document, "lease_ms")?),
        fingerprint: Fingerprint::from_hex(document.get_str("fingerprint").ok()?)?,
        policy: Policy::from_bound_ms(count(document, "policy_ms")?),
        first_at: date(document, "first_at")?,
        took_over: match document.get("took_over") {
            None => false,
            Some(value) => value.as_bool()?,
        },
        checkpoint,
    })
}

fn count(document: &Document, field: &str) -> Option<u64> {
    let number = match document.get(field)? {
        Bson::Int64(number) => *number,
        Bson::Int32(number) => i64::from(*number),
        _ => return None,
    };
    u64::try_from(number).ok()
}

fn date(document: &Document, field: &str) -> Option<StoreTime> {
    let ms = document.get_datetime(field).ok()?.timestamp_millis();
    u64::try_from(ms).ok().map(StoreTime::from_ms)
}

/// Takes the bytes of a field out of the document. Inner `None`: the document has no such field. Outer `None`: the
/// field has another type.
fn bytes(document: &mut Document, field: &str) -> Option<Option<Bytes>> {
    match document.remove(field) {
        None => Some(None),
        Some(Bson::Binary(binary)) => Some(Some(binary.bytes.into())),
        Some(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_is_matched_within_its_millisecond() {
        let expected = doc! {
            "$gte": DateTime::from_millis(1_764_000_000_123),
            "$lt": DateTime::from_millis(1_764_000_000_124),
        };
        assert_eq!(within(StoreTime::from_ms(1_764_000_000_123)), expected);
    }
}
