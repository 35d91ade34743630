//! What may happen to a record: pure functions of the stored record, the request and the store's clock.
//!
//! The memory and the MongoDB stores decide with these functions. The script that decides inside Redis has the same rules, and
//! MongoDB's updates write the same records: tests compare both with these functions over random histories
//! (`store::history`). The model of the protocol runs on them too.

use std::time::Duration;

use bytes::Bytes;

use super::blocked::{Blocked, UnknownCause};
use super::record::{Record, State, Version};
use super::store_time::StoreTime;
use super::write_result::WriteResult;
use super::{Fingerprint, OwnerId, Policy, SavedResponse};

/// What a caller asks for when it wants to work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimRequest {
    /// Fresh for every claim, and repeated only with the same one.
    pub owner: OwnerId,
    /// What is to be done.
    pub fingerprint: Fingerprint,
    /// What the caller would have happen when an attempt ends without a word.
    pub policy: Policy,
    /// For how long the caller has the key to itself.
    pub lease: Duration,
    /// For how long what finished counts.
    pub retention: Duration,
}

/// The decision about a claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Decision {
    /// The attempt starts, once the store has acknowledged the record that [`start`] makes.
    Start(Start),
    /// The store has this claim already: its reply was lost.
    Repeated,
    /// The claim does not start an attempt.
    Blocked(Blocked),
}

/// Why a caller may work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Start {
    /// The key is new.
    New,
    /// The retention of what was there is over: nothing of it counts any more.
    Restart,
    /// The attempt before said that nothing happened.
    Reclaim,
    /// The attempt before ended without a word, and the policy lets the next one begin.
    TakeOver,
}

/// Whose record it is, in the eyes of who wants to change it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fence {
    /// The claim that started the attempt. Its owner names the attempt; the rest matters where the store has lost the record.
    pub claim: ClaimRequest,
    /// Which attempt of the key it is, from 1.
    pub attempt: u64,
    /// The revision that a renewal or a checkpoint follows; zero: not known. It is written over no other, so that a delayed
    /// message undoes nothing.
    pub rev: u64,
}

/// What the owner does to its record.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Change {
    /// There is a result.
    Complete(SavedResponse),
    /// This attempt did nothing.
    Release,
    /// The work goes on, for so long from now.
    Renew(Duration),
    /// A note for the next attempt.
    Checkpoint(Bytes),
    /// It is not known whether the work took effect.
    MarkUnknown,
}

/// What a store writes in one atomic step, and what it answers once the write is acknowledged.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "the record has to be written before the answer is given"]
pub struct Step<T> {
    /// The record that replaces the stored one; `None`: nothing is written.
    pub write: Option<Box<Record>>,
    /// The answer to the caller.
    pub answer: T,
}

/// The result of resolving a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settled {
    /// The resolution is stored: it is the answer from now on.
    Done,
    /// Nothing was written: the record has changed since it was read, is resolved already, or its owner still holds the lease.
    Refused,
}

/// What was found out about abandoned work.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Settlement {
    /// It took effect, with this result.
    Completed(SavedResponse),
    /// It had no effect, and can have none any more.
    Released,
    /// It looks before it acts, so another attempt for the same request may begin; the abandoned one may still go on.
    Reopened,
}

impl Change {
    /// Whether the holder may say the same twice, so that it names the revision that it follows.
    #[cfg(feature = "redis")]
    pub(super) fn names_rev(&self) -> bool {
        matches!(self, Self::Renew(_) | Self::Checkpoint(_))
    }
}

impl<T> Step<T> {
    /// Writes this record, and then gives this answer.
    pub fn write(record: Record, answer: T) -> Self {
        Self {
            write: Some(Box::new(record)),
            answer,
        }
    }

    /// Writes nothing, and gives this answer.
    pub fn answer(answer: T) -> Self {
        Self {
            write: None,
            answer,
        }
    }
}

/// Whether a claim may start. A record that cannot be read is none of this function's: it never starts anything.
pub(super) fn decide(record: Option<&Record>, claim: &ClaimRequest, now: StoreTime) -> Decision {
    let Some(record) = record else {
        return Decision::Start(Start::New);
    };
    if record.is_over(claim.retention, now) {
        return Decision::Start(Start::Restart);
    }
    let same_request = record.fingerprint == claim.fingerprint;
    match &record.state {
        // With another request it is no repetition: somebody has used an owner twice.
        State::InProgress if record.owner == claim.owner && same_request => Decision::Repeated,
        // A message that was on its way since before the release. Its sender is gone.
        State::Released { .. } if record.owner == claim.owner => in_progress(Duration::ZERO),
        State::Released { .. } if !record.took_over => Decision::Start(Start::Reclaim),
        _ if !same_request => Decision::Blocked(Blocked::Mismatch),
        State::Completed { response, .. } => Decision::Blocked(Blocked::Replay(response.clone())),
        State::InProgress if now < record.lease_end() => in_progress(record.lease_end().since(now)),
        // Released, but reopened: the abandoned attempt may still go on.
        State::InProgress | State::Unknown | State::Released { .. } => {
            let policy = record.policy.stricter(claim.policy);
            if may_run_again(policy, record.first_at, claim.lease, now) {
                Decision::Start(Start::TakeOver)
            } else {
                Decision::Blocked(Blocked::Unknown(UnknownCause::Abandoned))
            }
        }
    }
}

/// What blocks a claim; `None`: it starts, or is there already.
pub(super) fn blocked(
    record: Option<&Record>,
    claim: &ClaimRequest,
    now: StoreTime,
) -> Option<Blocked> {
    match decide(record, claim, now) {
        Decision::Blocked(blocked) => Some(blocked),
        Decision::Start(_) | Decision::Repeated => None,
    }
}

fn in_progress(retry_after: Duration) -> Decision {
    Decision::Blocked(Blocked::InProgress { retry_after })
}

/// The record that a claim leaves behind when it starts. `record` is the one [`decide`] has judged.
pub(super) fn start(
    how: Start,
    record: Option<&Record>,
    claim: &ClaimRequest,
    now: StoreTime,
) -> Record {
    let fresh = Record {
        state: State::InProgress,
        owner: claim.owner,
        attempt: record.map_or(0, |record| record.attempt) + 1,
        rev: record.map_or(0, |record| record.rev) + 1,
        leased_at: now,
        lease: claim.lease,
        fingerprint: claim.fingerprint,
        policy: claim.policy,
        first_at: now,
        took_over: false,
        checkpoint: Bytes::new(),
    };
    match (how, record) {
        (Start::New | Start::Restart, _) | (_, None) => fresh,
        (Start::Reclaim, Some(record)) => Record {
            first_at: record.first_at,
            checkpoint: record.checkpoint.clone(),
            ..fresh
        },
        (Start::TakeOver, Some(record)) => Record {
            first_at: record.first_at,
            checkpoint: record.checkpoint.clone(),
            policy: record.policy.stricter(claim.policy),
            took_over: true,
            ..fresh
        },
    }
}

/// Whether the owner may change its record so, and what the record then is.
pub(super) fn change(
    record: Option<&Record>,
    fence: &Fence,
    change: &Change,
    now: StoreTime,
) -> Step<WriteResult<Option<SavedResponse>>> {
    let Some(record) = record else {
        return restore(fence, change, now);
    };
    if record.owner != fence.claim.owner || record.attempt != fence.attempt {
        return superseded(record, fence, now);
    }
    let next = Record {
        rev: record.rev + 1,
        ..record.clone()
    };
    match (&record.state, change) {
        (State::InProgress | State::Unknown, Change::Complete(response)) => stored(Record {
            state: State::Completed {
                finished_at: now,
                response: response.clone(),
            },
            checkpoint: Bytes::new(),
            ..next
        }),
        (State::InProgress, Change::Release) => stored(Record {
            state: released(record.took_over, now),
            ..next
        }),
        // A renewal cannot recognise itself: the write that came first may have been another one, and the lease has the length
        // that is asked for all the same. Renewing again, from the current revision, is harmless.
        (State::InProgress, Change::Renew(_)) if record.rev != fence.rev => outdated(record),
        (State::InProgress, Change::Checkpoint(checkpoint)) if record.rev != fence.rev => {
            // A checkpoint that names no revision is never written, so it cannot be the one that is stored.
            let is_next = fence.rev != 0 && record.rev == fence.rev + 1;
            if is_next && record.checkpoint == *checkpoint {
                already(record)
            } else {
                outdated(record)
            }
        }
        (State::InProgress, Change::Renew(lease)) => {
            if record.took_over && !may_run_again(record.policy, record.first_at, *lease, now) {
                return Step::answer(WriteResult::TooLate);
            }
            stored(Record {
                leased_at: now,
                lease: *lease,
                ..next
            })
        }
        (State::InProgress, Change::Checkpoint(checkpoint)) => stored(Record {
            checkpoint: checkpoint.clone(),
            ..next
        }),
        (State::InProgress, Change::MarkUnknown) => stored(Record {
            state: State::Unknown,
            ..next
        }),
        (State::Completed { .. }, Change::Complete(_))
        | (State::Released { .. }, Change::Release)
        | (State::Unknown, Change::MarkUnknown) => already(record),
        (State::Unknown, Change::Release) if record.took_over => already(record),
        _ => superseded(record, fence, now),
    }
}

fn stored(record: Record) -> Step<WriteResult<Option<SavedResponse>>> {
    Step::write(record, WriteResult::Stored(None))
}

/// The record is as the change makes it: an earlier call wrote it, and its reply was lost.
fn already(record: &Record) -> Step<WriteResult<Option<SavedResponse>>> {
    Step::answer(WriteResult::Stored(record.response().cloned()))
}

/// The record belongs to the caller, at a later revision than it knows.
fn outdated(record: &Record) -> Step<WriteResult<Option<SavedResponse>>> {
    Step::answer(WriteResult::Outdated(record.rev))
}

/// The record belongs to another attempt, or its state does not allow the change.
fn superseded(
    record: &Record,
    fence: &Fence,
    now: StoreTime,
) -> Step<WriteResult<Option<SavedResponse>>> {
    let blocked = blocked(Some(record), &fence.claim, now);
    Step::answer(WriteResult::Superseded(blocked))
}

/// Whether a settlement may replace the record that was `seen`, and what the record then is. `owner` is fresh, so that the
/// abandoned attempt is superseded should it come back.
pub(super) fn settle(
    record: &Record,
    seen: Version,
    owner: OwnerId,
    settlement: &Settlement,
    now: StoreTime,
) -> Step<Settled> {
    if record.version() != seen {
        return Step::answer(Settled::Refused);
    }
    let is_at_work = record.state == State::InProgress && now < record.lease_end();
    let is_unfinished = matches!(record.state, State::InProgress | State::Unknown);
    let is_reopened = matches!(record.state, State::Released { .. }) && record.took_over;
    let state = match settlement {
        Settlement::Completed(response) if is_unfinished || is_reopened => State::Completed {
            finished_at: now,
            response: response.clone(),
        },
        Settlement::Released if (is_unfinished || is_reopened) && !is_at_work => {
            State::Released { finished_at: now }
        }
        Settlement::Reopened
            if is_unfinished && !is_at_work && record.policy == Policy::RerunAlways =>
        {
            State::Released { finished_at: now }
        }
        _ => return Step::answer(Settled::Refused),
    };
    let checkpoint = match settlement {
        Settlement::Completed(_) => Bytes::new(),
        Settlement::Released | Settlement::Reopened => record.checkpoint.clone(),
    };
    let next = Record {
        state,
        owner,
        rev: record.rev + 1,
        // The next attempt is then one that takes over.
        took_over: *settlement == Settlement::Reopened,
        checkpoint,
        ..record.clone()
    };
    Step::write(next, Settled::Done)
}

/// A result whose claim the store has lost is kept all the same, and so is that an outcome is unknown: the work may have
/// happened. Nothing else is done without a record.
fn restore(
    fence: &Fence,
    change: &Change,
    now: StoreTime,
) -> Step<WriteResult<Option<SavedResponse>>> {
    let state = match change {
        Change::Complete(response) => State::Completed {
            finished_at: now,
            response: response.clone(),
        },
        Change::MarkUnknown => State::Unknown,
        Change::Release | Change::Renew(_) | Change::Checkpoint(_) => {
            return Step::answer(WriteResult::Superseded(None));
        }
    };
    let claimed = start(Start::New, None, &fence.claim, now);
    stored(Record {
        state,
        attempt: fence.attempt,
        ..claimed
    })
}

/// The state after a release. After a takeover it covers only the new attempt: the earlier one may still take effect, so the
/// key stays unknown, for the same request only, until it is settled.
fn released(took_over: bool, now: StoreTime) -> State {
    if took_over {
        State::Unknown
    } else {
        State::Released { finished_at: now }
    }
}

/// Whether work that may have happened already may be done again: as long as its provider still knows the derived key
/// when the lease ends.
fn may_run_again(policy: Policy, first_at: StoreTime, lease: Duration, now: StoreTime) -> bool {
    match policy {
        Policy::AtMostOnce => false,
        Policy::Rerun { within } => now.after(lease) < first_at.after(within),
        Policy::RerunAlways => true,
    }
}

#[cfg(test)]
mod tests;
