//! What the memory knows where it stands in front of another store: who decides about each key.
//!
//! There, the memory decides about the keys that the other store could not be asked about, or has lost. Of every other key it has a
//! copy of what this process did: so it answers with a result, and notices that the other store has lost the key.

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

/// What is known here of a key, and whom to ask about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Guarded {
    /// This memory decides.
    Here,
    /// The other store decided, and its result is here, too.
    Completed,
    /// The other store decides, and an attempt of this process is at work.
    Running,
    /// The other store decides, if it still has this work, which is unfinished as far as is known here. If not, this memory does.
    Unfinished(Work),
    /// The other store decides.
    There,
}

/// An attempt that the other store has started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) struct Work {
    first_at: StoreTime,
    attempt: u64,
}

/// How a claim goes on.
#[derive(Debug)]
pub(in super::super) enum Claiming {
    /// It is decided.
    Decided(Answer<ClaimOutcome<Grant>>),
    /// The other store is asked. Where it does not answer, this grant counts; where it rejects the claim, `before` is put back.
    Reserved {
        grant: Grant,
        before: Option<Box<Kept>>,
    },
    /// The other store is asked.
    There,
}

/// What an attempt that the other store has started is here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Copied {
    /// It is copied, and may work.
    Yes,
    /// It has ended, or another one has begun: the answer comes late.
    Late,
    /// This memory decides, or has a result: the other store has lost the work, or did not answer in time.
    Here,
}

/// The claim may succeed soon: the copy of this memory and the other store disagree for a moment.
const SOON: Blocked = Blocked::InProgress {
    retry_after: Duration::ZERO,
};

impl Work {
    /// Whether a record of the other store is this work, as it was or later.
    pub(in super::super) fn is_in(self, record: &Record) -> bool {
        record.first_at == self.first_at && record.attempt >= self.attempt
    }
}

impl MemoryStore {
    /// Whom to ask about a key.
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

    /// Decides about a claim, or reserves the key for it while the other store is asked.
    pub(in super::super) fn begin_claim(
        &self,
        key: &RecordKey,
        claim: &ClaimRequest,
    ) -> Result<Claiming, StoreError> {
        let now = self.now();
        let mut records = self.records.lock();
        let guarded = self.guarded_at(&records, key, now);
        let kept = records.by_key.get(key).cloned();
        // The same claim, which the other store is asked about, or a late copy of it.
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

    /// The other store has rejected the claim that the key was reserved for.
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

    /// The other store did not answer, so this memory decides about the key from now on. Whether it does: not if the same claim was
    /// answered meanwhile.
    pub(in super::super) fn decide_here(&self, key: &RecordKey, owner: OwnerId) -> bool {
        let mut records = self.records.lock();
        let is_reserved = records.is_reserved(key, owner);
        if is_reserved && let Some(kept) = records.by_key.get_mut(key) {
            kept.decider = Decider::Here;
        }
        is_reserved
    }

    /// Copies an attempt that the other store has started.
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
        // When the first claim was by this memory's clock, which bounds another takeover, is not known here.
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

    /// Copies a result that the other store has answered a claim with, where this memory knows of the same work.
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

    /// Puts the result of another attempt in the place of a copy.
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

    /// The other store has lost this work, so this memory decides about the key from now on.
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

    /// The outcome of a change that this memory decides about, or of a completion whose result is here. `None`: the other store decides.
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

    /// Keeps the result of an attempt that the other store did not acknowledge: this memory decides about the key from now on. `None`:
    /// the attempt is not known here.
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

    /// Copies what the other store has answered to a change. Whether that is the answer: not where this memory decides by now.
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
            // The other store knows more than this one. What is finished here stays so.
            WriteResult::Superseded(_) => Change::MarkUnknown,
            WriteResult::Outdated(_)
            | WriteResult::TooLate
            | WriteResult::TooLarge
            | WriteResult::NotDurable => return,
        };
        // The other store counts the writes.
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

    /// Copies a settlement of the record that `seen` holds. Whether it is the answer: not where this memory decides or has a result
    /// by now.
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

    /// The record of an attempt, and who decides about it.
    fn get_own(&self, key: &RecordKey, fence: &Fence) -> Option<&Kept> {
        self.by_key.get(key).filter(|kept| {
            kept.record.owner == fence.claim.owner && kept.record.attempt == fence.attempt
        })
    }
}

/// The answer of this memory alone.
pub(in super::super) fn of_memory<T>(value: T) -> Answer<T> {
    Answer::degraded(value, Backend::Memory)
}

#[cfg(test)]
mod tests;
