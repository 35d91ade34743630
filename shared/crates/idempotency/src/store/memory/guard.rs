//! The memory in front of Redis: which of the two decides about each key.
//!
//! The memory decides about a key if Redis did not answer, or has lost the key. For every other key, the memory has a
//! copy of what this process did: with the copy it answers retries, and detects that Redis has lost the key.

use std::time::Duration;

use super::MemoryStore;
use super::records::{Decider, Kept, Records};
use crate::decision::{self, Change, ClaimRequest, Fence, Settlement, Start};
use crate::record::{Record, State};
use crate::store::{
    Answer, Backend, Blocked, ClaimOutcome, Grant, Repeated, Settled, StoreError, WriteResult,
};
use crate::store_time::StoreTime;
use crate::{OwnerId, Policy, RecordKey, SavedResponse};

/// What the memory knows of a key, and which store decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Guarded {
    /// The memory decides.
    Here,
    /// Redis decided, and the memory has a copy of the result.
    Completed,
    /// Redis decides, and an attempt of this process is running.
    Running,
    /// Redis decides if it still has this unfinished attempt. If not, the memory decides.
    Unfinished(Work),
    /// Redis decides.
    There,
}

/// An attempt that Redis has started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) struct Work {
    first_at: StoreTime,
    attempt: u64,
}

/// The next step of a claim.
#[derive(Debug)]
pub(in super::super) enum Claiming {
    /// The claim is decided.
    Decided(Answer<ClaimOutcome<Grant>>),
    /// Redis is asked. If it does not answer, this grant counts; if it rejects the claim, `before` is restored.
    Reserved {
        grant: Grant,
        before: Option<Box<Kept>>,
    },
    /// Redis is asked.
    There,
}

/// The result of copying an attempt that Redis has started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Copied {
    /// The attempt is copied, and may run.
    Yes,
    /// The attempt has ended, or another one has started: Redis's reply came late.
    Late,
    /// The memory decides, or has a result: Redis has lost the attempt, or did not answer in time.
    Here,
}

/// The copy and Redis differ for a moment, so the claim may succeed soon.
const SOON: Blocked = Blocked::InProgress {
    retry_after: Duration::ZERO,
};

impl Work {
    /// Whether a record in Redis belongs to this attempt or to a later one of the same claim generation.
    pub(in super::super) fn is_in(self, record: &Record) -> bool {
        record.first_at == self.first_at && record.attempt >= self.attempt
    }
}

impl MemoryStore {
    /// Which store decides about a key.
    pub(in super::super) fn guarded(&self, key: &RecordKey) -> Guarded {
        let now = self.now();
        self.guarded_at(&self.records.lock(), key, now)
    }

    fn guarded_at(&self, records: &Records, key: &RecordKey, now: StoreTime) -> Guarded {
        let counts = |kept: &&Kept| !kept.record.is_over(self.retention, now);
        let Some(Kept { record, decider }) = records.by_key.get(key).filter(counts) else {
            return Guarded::There;
        };
        match (decider, &record.state) {
            (Decider::Here, _) => Guarded::Here,
            (_, State::Completed { .. }) => Guarded::Completed,
            (_, State::InProgress) if now < record.lease_end() => Guarded::Running,
            (Decider::Asked, _) => Guarded::There,
            (Decider::There { .. }, State::Released { .. }) if !record.took_over => Guarded::There,
            (Decider::There { first_at }, _) => Guarded::Unfinished(Work {
                first_at: *first_at,
                attempt: record.attempt,
            }),
        }
    }

    /// Decides a claim, or reserves the key for it while Redis is asked.
    pub(in super::super) fn begin_claim(
        &self,
        key: &RecordKey,
        claim: &ClaimRequest,
    ) -> Result<Claiming, StoreError> {
        let now = self.now();
        let mut records = self.records.lock();
        let guarded = self.guarded_at(&records, key, now);
        let kept = records.by_key.get(key).cloned();
        // The claim that Redis is being asked about, or a delayed copy of it.
        let is_own = kept
            .as_ref()
            .is_some_and(|kept| kept.record.owner == claim.owner && kept.decider != Decider::Here);
        match guarded {
            Guarded::Here => {
                let claimed = self.claim_at(&mut records, key, claim, now)?;
                Ok(Claiming::Decided(of_memory(claimed)))
            }
            Guarded::Unfinished(_) => Ok(Claiming::There),
            Guarded::There | Guarded::Running if is_own => Ok(Claiming::There),
            Guarded::Completed | Guarded::Running => {
                let blocked = decision::blocked(records.get(key), claim, now);
                Ok(Claiming::Decided(Answer::of_all(ClaimOutcome::Blocked(
                    blocked.unwrap_or(SOON),
                ))))
            }
            Guarded::There => {
                let record = kept.as_ref().map(|kept| &kept.record);
                let how = match record {
                    Some(record) if !record.is_over(self.retention, now) => Start::Reclaim,
                    _ => Start::New,
                };
                let record = decision::start(how, record, claim, now);
                self.make_room(&mut records, key, &record, now)?;
                let grant = Grant::of(&record, Repeated::No, now);
                let decider = Decider::Asked;
                records.put(key, Kept { record, decider });
                Ok(Claiming::Reserved {
                    grant,
                    before: kept.map(Box::new),
                })
            }
        }
    }

    /// Ends a reservation, because Redis has rejected the claim.
    pub(in super::super) fn give_back(
        &self,
        key: &RecordKey,
        owner: OwnerId,
        before: Option<Box<Kept>>,
    ) {
        let mut records = self.records.lock();
        if records.is_reserved(key, owner) {
            match before {
                Some(kept) => records.put(key, *kept),
                None => records.remove(key),
            }
        }
    }

    /// The memory decides about the key from now on, because Redis did not answer. Returns whether it does: not if a
    /// copy of the claim was answered meanwhile.
    pub(in super::super) fn decide_here(&self, key: &RecordKey, owner: OwnerId) -> bool {
        let mut records = self.records.lock();
        let is_reserved = records.is_reserved(key, owner);
        if is_reserved && let Some(kept) = records.by_key.get_mut(key) {
            kept.decider = Decider::Here;
        }
        is_reserved
    }

    /// Copies an attempt that Redis has started.
    pub(in super::super) fn copy(
        &self,
        key: &RecordKey,
        claim: &ClaimRequest,
        grant: &Grant,
    ) -> Copied {
        let now = self.now();
        let mut records = self.records.lock();
        let guarded = self.guarded_at(&records, key, now);
        if let Some(kept) = records.by_key.get_mut(key)
            && let Decider::There { first_at } = kept.decider
            && !kept.record.is_over(self.retention, now)
        {
            let is_same_work = grant.first_at == first_at;
            let is_same_attempt = is_same_work && grant.attempt == kept.record.attempt;
            match guarded {
                Guarded::Running if is_same_attempt && kept.record.owner == claim.owner => {
                    return Copied::Yes;
                }
                Guarded::Completed => return Copied::Here,
                _ if is_same_work && grant.attempt <= kept.record.attempt => return Copied::Late,
                Guarded::Running | Guarded::Unfinished(_) if !is_same_work => {
                    kept.decider = Decider::Here;
                    return Copied::Here;
                }
                _ => {}
            }
        }
        if guarded == Guarded::Here {
            return Copied::Here;
        }
        // This memory's clock does not know the time of the first claim, which limits another takeover.
        let policy = match grant.recognised_for {
            Some(_) => Policy::AtMostOnce,
            None => claim.policy,
        };
        let started = decision::start(Start::New, None, claim, now);
        let record = Record {
            attempt: grant.attempt,
            rev: grant.rev,
            took_over: grant.took_over,
            checkpoint: grant.checkpoint.clone(),
            policy,
            ..started
        };
        let first_at = grant.first_at;
        let decider = Decider::There { first_at };
        records.put(key, Kept { record, decider });
        Copied::Yes
    }

    /// Copies a result from Redis, if the memory knows the same attempt as unfinished.
    pub(in super::super) fn learn(
        &self,
        key: &RecordKey,
        claim: &ClaimRequest,
        response: &SavedResponse,
    ) {
        let now = self.now();
        let mut records = self.records.lock();
        let is_of_request = records
            .get(key)
            .is_some_and(|record| record.fingerprint == claim.fingerprint);
        if is_of_request && matches!(self.guarded_at(&records, key, now), Guarded::Unfinished(_)) {
            self.put_result(&mut records, key, response, now);
        }
    }

    /// Replaces a copy by the result of another attempt.
    fn put_result(
        &self,
        records: &mut Records,
        key: &RecordKey,
        response: &SavedResponse,
        now: StoreTime,
    ) {
        if let Some(record) = records.get(key).cloned() {
            let result = Record {
                state: State::Completed {
                    finished_at: now,
                    response: response.clone(),
                },
                owner: OwnerId::NOBODY,
                ..record
            };
            self.put_changed(records, key, result, now);
        }
    }

    /// The memory decides about the key from now on, because Redis has lost this attempt.
    pub(in super::super) fn take_over(&self, key: &RecordKey, lost: Work) {
        let mut records = self.records.lock();
        if let Some(kept) = records.by_key.get_mut(key)
            && kept.decider
                == (Decider::There {
                    first_at: lost.first_at,
                })
            && kept.record.attempt == lost.attempt
        {
            kept.decider = Decider::Here;
        }
    }

    /// The outcome of a change if the memory decides, or if it has the result; `None`: Redis decides.
    pub(in super::super) fn change_here(
        &self,
        key: &RecordKey,
        fence: &Fence,
        change: &Change,
    ) -> Option<Result<Answer<WriteResult<Option<SavedResponse>>>, StoreError>> {
        let now = self.now();
        let mut records = self.records.lock();
        let answer = match self.guarded_at(&records, key, now) {
            Guarded::Here => of_memory,
            Guarded::Completed if matches!(change, Change::Complete(_)) => Answer::of_all,
            _ => return None,
        };
        let changed = self.change_at(&mut records, key, fence, change, now);
        Some(changed.map(answer))
    }

    /// Stores the result of an attempt that Redis did not acknowledge: the memory decides about the key from now on.
    /// `None`: the memory does not know the attempt.
    pub(in super::super) fn complete_here(
        &self,
        key: &RecordKey,
        fence: &Fence,
        change: &Change,
    ) -> Option<Result<Answer<WriteResult<Option<SavedResponse>>>, StoreError>> {
        let mut records = self.records.lock();
        records.get_own(key, fence)?;
        records.by_key.get_mut(key)?.decider = Decider::Here;
        let changed = self.change_at(&mut records, key, fence, change, self.now());
        Some(changed.map(of_memory))
    }

    /// Copies Redis's reply to a change. Returns whether that reply counts: not if the memory decides by now.
    pub(in super::super) fn follow(
        &self,
        key: &RecordKey,
        fence: &Fence,
        change: &Change,
        changed: &WriteResult<Option<SavedResponse>>,
    ) -> bool {
        let now = self.now();
        let mut records = self.records.lock();
        if self.guarded_at(&records, key, now) == Guarded::Here {
            return false;
        }
        if let Some(kept) = records.get_own(key, fence)
            && matches!(kept.decider, Decider::There { .. })
        {
            let record = kept.record.clone();
            self.follow_own(&mut records, key, record, fence, change, changed);
        }
        true
    }

    fn follow_own(
        &self,
        records: &mut Records,
        key: &RecordKey,
        record: Record,
        fence: &Fence,
        change: &Change,
        changed: &WriteResult<Option<SavedResponse>>,
    ) {
        let now = self.now();
        let change = match changed {
            WriteResult::Stored(None) => change.clone(),
            WriteResult::Stored(Some(response)) => Change::Complete(response.clone()),
            WriteResult::Superseded(Some(Blocked::Replay(response))) => {
                if record.finished_at().is_none() {
                    self.put_result(records, key, response, now);
                }
                return;
            }
            // Redis has a newer record. A copy that is finished stays finished.
            WriteResult::Superseded(_) => Change::MarkUnknown,
            WriteResult::Outdated(_)
            | WriteResult::TooLate
            | WriteResult::TooLarge
            | WriteResult::NotDurable => return,
        };
        // Redis assigns the revisions.
        let aligned = Fence {
            rev: record.rev,
            ..fence.clone()
        };
        if let Some(next) = decision::change(Some(&record), &aligned, &change, now).write {
            let rev = if change.names_rev() {
                fence.rev + 1
            } else {
                next.rev
            };
            self.put_changed(records, key, Record { rev, ..*next }, now);
        }
    }

    /// Copies a resolution in Redis. Returns its result: refused if the memory decides or has a result by now.
    pub(in super::super) fn follow_settlement(
        &self,
        key: &RecordKey,
        seen: OwnerId,
        owner: OwnerId,
        settlement: &Settlement,
    ) -> Settled {
        let now = self.now();
        let mut records = self.records.lock();
        match self.guarded_at(&records, key, now) {
            Guarded::Here | Guarded::Completed => return Settled::Refused,
            Guarded::Running | Guarded::Unfinished(_) | Guarded::There => {}
        }
        let version = records.get(key).map(Record::version);
        if let Some(version) = version.filter(|version| version.owner == seen) {
            self.settle_at(&mut records, key, version, owner, settlement);
        }
        Settled::Done
    }
}

impl Records {
    fn is_reserved(&self, key: &RecordKey, owner: OwnerId) -> bool {
        self.by_key
            .get(key)
            .is_some_and(|kept| kept.decider == Decider::Asked && kept.record.owner == owner)
    }

    /// The record of an attempt, and which store decides.
    fn get_own(&self, key: &RecordKey, fence: &Fence) -> Option<&Kept> {
        self.by_key.get(key).filter(|kept| {
            kept.record.owner == fence.claim.owner && kept.record.attempt == fence.attempt
        })
    }
}

/// An answer of the memory alone.
pub(in super::super) fn of_memory<T>(value: T) -> Answer<T> {
    Answer::degraded(value, Backend::Memory)
}

#[cfg(test)]
mod tests;
