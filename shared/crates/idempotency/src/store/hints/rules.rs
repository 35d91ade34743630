//! The rules of `hints.lua` as a pure function.
//!
//! In production only the script runs. The model of the protocol needs the rules too, and uses this function. A test
//! compares the function with the script on a real server.

use std::time::Duration;

use bytes::Bytes;

use crate::config::LONGEST_LEASE;
use crate::decision::ClaimRequest;
use crate::record::{Record, State};
use crate::store_time::StoreTime;
use crate::{OwnerId, Policy};

/// The value of one key in Redis.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Held {
    pub(crate) value: Value,
    /// The last instant at which Redis still has the value.
    pub(crate) expires: StoreTime,
}

/// A value as the script reads it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Value {
    Whole(Box<Record>),
    /// The header is readable, but the body has another length than the header states.
    Truncated(Box<Record>),
    Unreadable,
}

/// One operation of the script.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Operation<'a> {
    Claim(&'a ClaimRequest),
    Look(&'a ClaimRequest),
    /// Stores a completed record that MongoDB has acknowledged.
    Store(&'a Record),
    /// Removes the claim of this owner.
    Remove(OwnerId),
}

/// The script's reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Ask,
    Mismatch,
    InProgress {
        lease_end: StoreTime,
    },
    /// The completed record; `None`: it is unreadable, so MongoDB is asked.
    Replay(Option<Box<Record>>),
    Discarded,
    Stored,
    Removed,
}

/// Applies one operation to the value of the key. `retention` is the retention without the clock margin.
pub(crate) fn apply(
    held: &mut Option<Held>,
    operation: Operation<'_>,
    retention: Duration,
    now: StoreTime,
) -> Verdict {
    held.take_if(|held| held.expires < now);
    match operation {
        Operation::Claim(claim) => {
            if held.is_none() {
                *held = Some(Held {
                    value: Value::Whole(Box::new(hint_of(claim, now))),
                    expires: now.after(retention),
                });
                return Verdict::Ask;
            }
            look(held.as_ref(), claim, retention, now)
        }
        Operation::Look(claim) => look(held.as_ref(), claim, retention, now),
        Operation::Store(result) => store(held, result, retention, now),
        Operation::Remove(owner) => {
            held.take_if(|held| {
                header(held).is_some_and(|record| {
                    record.state == State::InProgress && record.owner == owner
                })
            });
            Verdict::Removed
        }
    }
}

fn look(held: Option<&Held>, claim: &ClaimRequest, retention: Duration, now: StoreTime) -> Verdict {
    let Some((held, record)) = held.and_then(|held| Some((held, header(held)?))) else {
        return Verdict::Ask;
    };
    let same_request = record.fingerprint == claim.fingerprint;
    match &record.state {
        State::Completed { finished_at, .. } if now < finished_at.after(retention) => {
            if !same_request {
                return Verdict::Mismatch;
            }
            Verdict::Replay(match &held.value {
                Value::Whole(record) => Some(record.clone()),
                Value::Truncated(_) | Value::Unreadable => None,
            })
        }
        State::InProgress
            if same_request
                && record.owner != claim.owner
                && record.leased_at <= now
                && record.lease <= LONGEST_LEASE
                && now < record.lease_end() =>
        {
            Verdict::InProgress {
                lease_end: record.lease_end(),
            }
        }
        _ => Verdict::Ask,
    }
}

fn store(held: &mut Option<Held>, result: &Record, retention: Duration, now: StoreTime) -> Verdict {
    let Some(finished_at) = result.finished_at() else {
        return Verdict::Discarded;
    };
    let expires = finished_at.after(retention);
    let is_older = match held.as_ref().map(|held| &held.value) {
        Some(Value::Whole(held)) => match held.state {
            State::Completed {
                finished_at: kept, ..
            } => kept > finished_at,
            _ => false,
        },
        _ => false,
    };
    if now >= expires || is_older {
        return Verdict::Discarded;
    }
    *held = Some(Held {
        value: Value::Whole(Box::new(result.clone())),
        expires,
    });
    Verdict::Stored
}

/// The claim that the script stores. A hint permits nothing, so its attempt and revision are zero.
fn hint_of(claim: &ClaimRequest, now: StoreTime) -> Record {
    Record {
        state: State::InProgress,
        owner: claim.owner,
        attempt: 0,
        rev: 0,
        leased_at: now,
        lease: claim.lease,
        fingerprint: claim.fingerprint,
        policy: Policy::AtMostOnce,
        first_at: now,
        took_over: false,
        checkpoint: Bytes::new(),
    }
}

fn header(held: &Held) -> Option<&Record> {
    match &held.value {
        Value::Whole(record) | Value::Truncated(record) => Some(record),
        Value::Unreadable => None,
    }
}
