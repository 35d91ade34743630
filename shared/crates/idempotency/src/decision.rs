//! The rules of the protocol: pure functions of the stored record, the request and the store's clock.
//!
//! The memory and MongoDB stores call these functions. The Redis script implements the same rules, and MongoDB's
//! updates write the same records. Tests compare the script and the updates with these functions over random histories
//! (`store::history`). The model of the protocol uses these functions too.

mod call;

use std::time::Duration;

use bytes::Bytes;

pub use self::call::{Change, ClaimRequest, Fence, Resolution};
use super::blocked::{Blocked, UnknownCause};
use super::record::{Record, State, Version};
use super::store_time::StoreTime;
use super::write_result::WriteResult;
use super::{OwnerId, Policy, SavedResponse};

/// The decision about a claim, before the store writes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Decision {
    /// The attempt starts after the store has acknowledged the record that [`start`] returns.
    Start(Start),
    /// The store already has this claim: the reply to an earlier copy of the claim was lost.
    Repeated,
    /// The claim does not start an attempt.
    Blocked(Blocked),
}

/// Why an attempt is allowed to start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Start {
    /// The key is new.
    New,
    /// The retention of the old record is over. The new record continues only the counters of the old record.
    Restart,
    /// The previous attempt released the key.
    Reclaim,
    /// The previous attempt was abandoned, and the policy allows another attempt.
    TakeOver,
}

/// One atomic step of a store: the record to write, and the reply to send after the write is acknowledged.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "the record has to be written before the reply is sent"]
pub struct Step<T> {
    /// The record that replaces the stored one; `None`: nothing is written.
    pub write: Option<Box<Record>>,
    /// The reply to the caller.
    pub answer: T,
}

/// The result of resolving a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResolveResult {
    /// The resolution is stored.
    Stored,
    /// Nothing was written. The record has changed since it was read, the record is already resolved, or the owner of
    /// the record still holds the lease.
    Refused,
}

impl<T> Step<T> {
    /// A step that writes `record`, and then replies with `answer`.
    pub fn write(record: Record, answer: T) -> Self {
        Self {
            write: Some(Box::new(record)),
            answer,
        }
    }

    /// A step that only replies with `answer`.
    pub fn answer(answer: T) -> Self {
        Self {
            write: None,
            answer,
        }
    }
}

/// Decides a claim: the attempt starts, the claim is already stored, or the claim is blocked. Callers handle unreadable
/// records, which block every claim.
pub(super) fn decide(record: Option<&Record>, claim: &ClaimRequest, now: StoreTime) -> Decision {
    let Some(record) = record else {
        return Decision::Start(Start::New);
    };
    if record.is_over(claim.retention, now) {
        return Decision::Start(Start::Restart);
    }
    let same_request = record.fingerprint == claim.fingerprint;
    match &record.state {
        // A claim of the same owner with another fingerprint is not a retry: the owner was used for two requests.
        State::InProgress if record.owner == claim.owner && same_request => Decision::Repeated,
        // This claim was delayed until after the release, and its sender has given up.
        State::Released { .. } if record.owner == claim.owner => in_progress(Duration::ZERO),
        State::Released { .. } if !record.took_over => Decision::Start(Start::Reclaim),
        _ if !same_request => Decision::Blocked(Blocked::Mismatch),
        State::Completed { response, .. } => Decision::Blocked(Blocked::Replay(response.clone())),
        State::InProgress if now < record.lease_end() => in_progress(record.lease_end().since(now)),
        // A `Released` record in this branch was reopened: the abandoned attempt may still continue.
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

/// Returns what blocks a claim. `None`: the claim succeeds, or is already stored.
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

/// Returns the record after a claim that starts an attempt. `record` is the stored record that [`decide`] has read.
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

/// Decides a change by the owner. Returns the record to write, and the reply.
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
        // A repeated renewal does not recognise an earlier copy of itself: another write may have stored a lease of the
        // same length. So the reply is `Outdated`. The holder can safely renew again at the current revision.
        (State::InProgress, Change::Renew(_)) if record.rev != fence.rev => outdated(record),
        (State::InProgress, Change::Checkpoint(checkpoint)) if record.rev != fence.rev => {
            // A checkpoint without a revision is never written, so the stored checkpoint is from another call.
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

/// The reply to a change that is already stored, because the reply to an earlier call was lost. Contains the stored
/// result, if there is one.
fn already(record: &Record) -> Step<WriteResult<Option<SavedResponse>>> {
    Step::answer(WriteResult::Stored(record.response().cloned()))
}

/// The reply if the record belongs to the caller, but its revision differs from the revision in the change.
fn outdated(record: &Record) -> Step<WriteResult<Option<SavedResponse>>> {
    Step::answer(WriteResult::Outdated(record.rev))
}

/// The reply if the record belongs to another attempt, or the state of the record does not allow the change.
fn superseded(
    record: &Record,
    fence: &Fence,
    now: StoreTime,
) -> Step<WriteResult<Option<SavedResponse>>> {
    let blocked = blocked(Some(record), &fence.claim, now);
    Step::answer(WriteResult::Superseded(blocked))
}

/// Decides the resolution of the record with the version `seen`. Returns the record to write, and the reply. `owner` is
/// fresh for every resolution. So if the abandoned attempt resumes later, its writes are superseded.
pub(super) fn resolve(
    record: &Record,
    seen: Version,
    owner: OwnerId,
    resolution: &Resolution,
    now: StoreTime,
) -> Step<ResolveResult> {
    if record.version() != seen {
        return Step::answer(ResolveResult::Refused);
    }
    let is_running = record.state == State::InProgress && now < record.lease_end();
    let is_unfinished = matches!(record.state, State::InProgress | State::Unknown);
    let is_reopened = matches!(record.state, State::Released { .. }) && record.took_over;
    let state = match resolution {
        Resolution::Completed(response) if is_unfinished || is_reopened => State::Completed {
            finished_at: now,
            response: response.clone(),
        },
        Resolution::Released if (is_unfinished || is_reopened) && !is_running => {
            State::Released { finished_at: now }
        }
        Resolution::Reopened
            if is_unfinished && !is_running && record.policy == Policy::RerunAlways =>
        {
            State::Released { finished_at: now }
        }
        _ => return Step::answer(ResolveResult::Refused),
    };
    let checkpoint = match resolution {
        Resolution::Completed(_) => Bytes::new(),
        Resolution::Released | Resolution::Reopened => record.checkpoint.clone(),
    };
    let next = Record {
        state,
        owner,
        rev: record.rev + 1,
        // The next attempt after a reopening is a takeover.
        took_over: *resolution == Resolution::Reopened,
        checkpoint,
        ..record.clone()
    };
    Step::write(next, ResolveResult::Stored)
}

/// Decides a change whose claim the store has lost. A result or an unknown outcome is stored anyway, because the
/// operation may have taken effect. Every other change is superseded.
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

/// The state after a release. A release after a takeover covers only the new attempt, and the abandoned attempt may
/// still take effect. So the state is then unknown, and a claim with another request is still refused as a mismatch.
fn released(took_over: bool, now: StoreTime) -> State {
    if took_over {
        State::Unknown
    } else {
        State::Released { finished_at: now }
    }
}

/// Whether the policy allows another attempt after an attempt that may have taken effect. Under `Policy::Rerun`, the
/// new lease has to end while the provider still recognises the derived key.
fn may_run_again(policy: Policy, first_at: StoreTime, lease: Duration, now: StoreTime) -> bool {
    match policy {
        Policy::AtMostOnce => false,
        Policy::Rerun { within } => now.after(lease) < first_at.after(within),
        Policy::RerunAlways => true,
    }
}

#[cfg(test)]
mod tests;
