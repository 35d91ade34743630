//! A simulation of Redis as a cache. Pure functions apply the commands of [`Hints`](super::Hints) to the value of one
//! key.
//!
//! The model of the protocol uses these functions. A test compares the functions with a real server.

use std::time::Duration;

use bytes::Bytes;
use redis_client::Ttl;

use super::rules::{self, Answer};
use crate::OwnerId;
use crate::decision::ClaimRequest;
use crate::record::{Record, State};
use crate::store::redis_text;
use crate::store_time::StoreTime;

/// The value of one key in Redis.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Held {
    pub(crate) value: Value,
    /// The instant at which Redis deletes the value.
    pub(crate) expires: StoreTime,
}

/// A stored value.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Value {
    /// A whole record, and the retention in its header.
    Whole(Box<Record>, Duration),
    /// The header is readable, but the length of the body differs from the length in the header.
    Truncated(Box<Record>),
    Unreadable,
}

/// One call of `Hints`.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Operation<'a> {
    Claim(&'a ClaimRequest),
    Look(&'a ClaimRequest),
    /// Stores a completed record that MongoDB has acknowledged.
    Store(&'a Record),
    /// Removes the claim of this owner.
    Remove(OwnerId),
}

/// The result of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Ask,
    Mismatch,
    InProgress {
        lease_end: StoreTime,
    },
    /// The completed record.
    Replay(Box<Record>),
    Discarded,
    Stored,
    Removed,
}

/// Applies one call to the value of the key, and returns the result. `retention` is the retention without the clock
/// margin.
pub(crate) fn apply(
    held: &mut Option<Held>,
    operation: Operation<'_>,
    retention: Duration,
    now: StoreTime,
) -> Verdict {
    held.take_if(|held| held.expires <= now);
    match operation {
        Operation::Claim(claim) => {
            if held.is_none() {
                let hint = Bytes::from(rules::hint_text(claim));
                let hint = redis_text::read(&hint).expect("a hint");
                *held = Some(Held {
                    value: Value::Whole(Box::new(hint.record), hint.retention),
                    expires: now.after(claim.lease),
                });
                return Verdict::Ask;
            }
            look(held.as_ref(), claim, retention, now)
        }
        Operation::Look(claim) => look(held.as_ref(), claim, retention, now),
        Operation::Store(result) => store(held, result, retention, now),
        Operation::Remove(owner) => {
            held.take_if(|held| {
                record_in(held).is_some_and(|record| {
                    record.state == State::InProgress && record.owner == owner
                })
            });
            Verdict::Removed
        }
    }
}

fn look(held: Option<&Held>, claim: &ClaimRequest, retention: Duration, now: StoreTime) -> Verdict {
    let Some(held) = held else {
        return Verdict::Ask;
    };
    let Value::Whole(record, written_for) = &held.value else {
        return Verdict::Ask;
    };
    let text = redis_text::write(record, *written_for).into();
    let ttl = Ttl::Left(held.expires.since(now));
    match rules::answer(&text, ttl, claim, retention) {
        None => Verdict::Ask,
        Some(Answer::InProgress { retry_after }) => Verdict::InProgress {
            lease_end: now.after(retry_after),
        },
        Some(Answer::Result(record)) if record.fingerprint != claim.fingerprint => {
            Verdict::Mismatch
        }
        Some(Answer::Result(record)) => Verdict::Replay(record),
    }
}

fn store(held: &mut Option<Held>, result: &Record, retention: Duration, now: StoreTime) -> Verdict {
    let Some(finished_at) = result.finished_at() else {
        return Verdict::Discarded;
    };
    let expires = finished_at.after(retention);
    let is_older = match held.as_ref().map(|held| &held.value) {
        Some(Value::Whole(held, _)) => {
            held.is_completed() && held.finished_at() > Some(finished_at)
        }
        _ => false,
    };
    if now >= expires || is_older {
        return Verdict::Discarded;
    }
    *held = Some(Held {
        value: Value::Whole(Box::new(result.clone()), retention),
        expires,
    });
    Verdict::Stored
}

/// The record in a value whose header is readable.
pub(crate) fn record_in(held: &Held) -> Option<&Record> {
    match &held.value {
        Value::Whole(record, _) | Value::Truncated(record) => Some(record),
        Value::Unreadable => None,
    }
}
