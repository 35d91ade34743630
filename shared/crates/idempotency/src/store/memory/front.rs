//! The memory of this process in front of Redis, and which of the two is authoritative for each key.
//!
//! The memory is authoritative for a key if Redis did not answer, or has lost the key. For every other key, Redis is
//! authoritative, and the memory has a copy of this process's attempts. With the copy, the memory answers retries, and
//! detects that Redis has lost the key.

use std::time::Duration;

use super::MemoryStore;
use super::records::{Decider, LocalRecord, Records};
use crate::decision::{self, Change, ClaimRequest, Fence, Resolution, Start};
use crate::record::{Record, State};
use crate::store::{
    Answer, Backend, Blocked, ClaimOutcome, Grant, Repeated, ResolveResult, StoreError, WriteResult,
};
use crate::store_time::StoreTime;
use crate::{OwnerId, Policy, RecordKey, SavedResponse};

/// The state of a key in the memory, and the store that is authoritative for the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum LocalKnowledge {
    /// The memory is authoritative.
    Decides,
    /// Redis is authoritative, and the memory has a copy of the result.
    Completed,
    /// Redis is authoritative, and an attempt of this process is running.
    Running,
    /// Redis is authoritative if it still has this unfinished attempt. If not, the memory becomes authoritative.
    Unfinished(RedisAttempt),
    /// The memory has no current record of the key. Redis is authoritative.
    Nothing,
}

/// An attempt that Redis has started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) struct RedisAttempt {
    first_at: StoreTime,
    attempt: u64,
}

/// The next step of a claim.
#[derive(Debug)]
pub(in super::super) enum ClaimStep {
    /// The memory determines the outcome of the claim, without a request to Redis.
    Decided(Answer<ClaimOutcome<Grant>>),
    /// The memory has reserved the key. The claim is sent to Redis. If Redis does not answer, the claim gets this
    /// grant. If Redis rejects the claim, `before` is restored.
    Reserved {
        grant: Grant,
        before: Option<Box<LocalRecord>>,
    },
    /// The claim is sent to Redis.
    AskRedis,
}

/// The result of copying an attempt that Redis has started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Copied {
    /// The attempt is copied, and may run.
    Done,
    /// Redis's reply came late: the attempt has ended, or another attempt has started.
    Stale,
    /// The memory is authoritative, or has a result. Redis has lost the attempt, or did not answer in time.
    DecidedLocally,
}

/// The reply to a claim while the copy differs from Redis. If the client repeats the claim soon, the claim may succeed.
const SOON: Blocked = Blocked::InProgress {
    retry_after: Duration::ZERO,
};

impl RedisAttempt {
    /// Whether a record in Redis belongs to this attempt or to a later one of the same claim generation.
    pub(in super::super) fn is_in(self, record: &Record) -> bool {
        record.first_at == self.first_at && record.attempt >= self.attempt
    }
}

impl MemoryStore {
    /// Returns the state of a key in the memory, and the store that is authoritative for the key.
    pub(in super::super) fn knowledge(&self, key: &RecordKey) -> LocalKnowledge {
        let now = self.now();
        self.knowledge_at(&self.records.lock(), key, now)
    }

    fn knowledge_at(&self, records: &Records, key: &RecordKey, now: StoreTime) -> LocalKnowledge {
        let counts = |local: &&LocalRecord| !local.record.is_over(self.retention, now);
        let Some(LocalRecord { record, decider }) = records.by_key.get(key).filter(counts) else {
            return LocalKnowledge::Nothing;
        };
        match (decider, &record.state) {
            (Decider::Memory, _) => LocalKnowledge::Decides,
            (_, State::Completed { .. }) => LocalKnowledge::Completed,
            (_, State::InProgress) if now < record.lease_end() => LocalKnowledge::Running,
            (Decider::Pending, _) => LocalKnowledge::Nothing,
            (Decider::Redis { .. }, State::Released { .. }) if !record.took_over => {
                LocalKnowledge::Nothing
            }
            (Decider::Redis { first_at }, _) => LocalKnowledge::Unfinished(RedisAttempt {
                first_at: *first_at,
                attempt: record.attempt,
            }),
        }
    }

    /// Decides a claim from the memory alone, or reserves the key for a request to Redis. Returns the next step.
    pub(in super::super) fn begin_claim(
        &self,
        key: &RecordKey,
        claim: &ClaimRequest,
    ) -> Result<ClaimStep, StoreError> {
        let now = self.now();
        let mut records = self.records.lock();
        let knowledge = self.knowledge_at(&records, key, now);
        let local = records.by_key.get(key).cloned();
        // Whether this claim, or another copy of it, was already sent to Redis.
        let is_own = local.as_ref().is_some_and(|local| {
            local.record.owner == claim.owner && local.decider != Decider::Memory
        });
        match knowledge {
            LocalKnowledge::Decides => {
                let claimed = self.claim_at(&mut records, key, claim, now)?;
                Ok(ClaimStep::Decided(of_memory(claimed)))
            }
            LocalKnowledge::Unfinished(_) => Ok(ClaimStep::AskRedis),
            LocalKnowledge::Nothing | LocalKnowledge::Running if is_own => Ok(ClaimStep::AskRedis),
            LocalKnowledge::Completed | LocalKnowledge::Running => {
                let blocked = decision::blocked(records.get(key), claim, now);
                Ok(ClaimStep::Decided(Answer::of_all(ClaimOutcome::Blocked(
                    blocked.unwrap_or(SOON),
                ))))
            }
            LocalKnowledge::Nothing => {
                let record = local.as_ref().map(|local| &local.record);
                let how = match record {
                    Some(record) if !record.is_over(self.retention, now) => Start::Reclaim,
                    _ => Start::New,
                };
                let record = decision::start(how, record, claim, now);
                self.make_room(&mut records, key, &record, now)?;
                let grant = Grant::of(&record, Repeated::No, now);
                let decider = Decider::Pending;
                records.put(key, LocalRecord { record, decider });
                Ok(ClaimStep::Reserved {
                    grant,
                    before: local.map(Box::new),
                })
            }
        }
    }

    /// Ends a reservation, because Redis has rejected the claim.
    pub(in super::super) fn end_reservation(
        &self,
        key: &RecordKey,
        owner: OwnerId,
        before: Option<Box<LocalRecord>>,
    ) {
        let mut records = self.records.lock();
        if records.is_reserved(key, owner) {
            match before {
                Some(local) => records.put(key, *local),
                None => records.remove(key),
            }
        }
    }

    /// Makes the memory authoritative for a reserved key, because Redis did not answer. Returns `false` if the
    /// reservation has ended, because Redis has answered a copy of the claim meanwhile.
    pub(in super::super) fn decide_locally(&self, key: &RecordKey, owner: OwnerId) -> bool {
        let mut records = self.records.lock();
        let is_reserved = records.is_reserved(key, owner);
        if is_reserved && let Some(local) = records.by_key.get_mut(key) {
            local.decider = Decider::Memory;
        }
        is_reserved
    }

    /// Copies an attempt that Redis has started, and returns whether the attempt may run.
    pub(in super::super) fn copy(
        &self,
        key: &RecordKey,
        claim: &ClaimRequest,
        grant: &Grant,
    ) -> Copied {
        // Without this time, a later record could not be distinguished from the record of the attempt.
        let Some(first_at) = grant.first_at else {
            return Copied::Stale;
        };
        let now = self.now();
        let mut records = self.records.lock();
        let knowledge = self.knowledge_at(&records, key, now);
        if let Some(local) = records.by_key.get_mut(key)
            && let Decider::Redis { first_at: copied } = local.decider
            && !local.record.is_over(self.retention, now)
        {
            let is_same_generation = first_at == copied;
            let is_same_attempt = is_same_generation && grant.attempt == local.record.attempt;
            match knowledge {
                LocalKnowledge::Running if is_same_attempt && local.record.owner == claim.owner => {
                    return Copied::Done;
                }
                LocalKnowledge::Completed => return Copied::DecidedLocally,
                _ if is_same_generation && grant.attempt <= local.record.attempt => {
                    return Copied::Stale;
                }
                LocalKnowledge::Running | LocalKnowledge::Unfinished(_) if !is_same_generation => {
                    local.decider = Decider::Memory;
                    return Copied::DecidedLocally;
                }
                _ => {}
            }
        }
        if knowledge == LocalKnowledge::Decides {
            return Copied::DecidedLocally;
        }
        // The time of the first claim limits another takeover. That time comes from Redis's clock, so this memory
        // cannot check the limit. So the copy allows no takeover.
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
        let decider = Decider::Redis { first_at };
        records.put(key, LocalRecord { record, decider });
        Copied::Done
    }

    /// Copies a result from Redis, if the memory has an unfinished attempt of the same request.
    pub(in super::super) fn copy_result(
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
        if is_of_request
            && matches!(
                self.knowledge_at(&records, key, now),
                LocalKnowledge::Unfinished(_)
            )
        {
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
                owner: OwnerId::NONE,
                ..record
            };
            self.put_changed(records, key, result, now);
        }
    }

    /// Makes the memory authoritative for the key, because Redis has lost this attempt.
    pub(in super::super) fn take_over(&self, key: &RecordKey, lost: RedisAttempt) {
        let mut records = self.records.lock();
        if let Some(local) = records.by_key.get_mut(key)
            && local.decider
                == (Decider::Redis {
                    first_at: lost.first_at,
                })
            && local.record.attempt == lost.attempt
        {
            local.decider = Decider::Memory;
        }
    }

    /// Makes a change in the memory if the memory is authoritative for the key. A completion is also made there if the
    /// memory already has a result. Returns the outcome. `None`: the change has to be sent to Redis.
    pub(in super::super) fn change_locally(
        &self,
        key: &RecordKey,
        fence: &Fence,
        change: &Change,
    ) -> Option<Result<Answer<WriteResult<Option<SavedResponse>>>, StoreError>> {
        let now = self.now();
        let mut records = self.records.lock();
        let answer = match self.knowledge_at(&records, key, now) {
            LocalKnowledge::Decides => of_memory,
            LocalKnowledge::Completed if matches!(change, Change::Complete(_)) => Answer::of_all,
            _ => return None,
        };
        let changed = self.change_at(&mut records, key, fence, change, now);
        Some(changed.map(answer))
    }

    /// Stores the result of an attempt in memory, because Redis did not acknowledge it. From then on, the memory is
    /// authoritative for the key. `None`: the memory has no record of the attempt.
    pub(in super::super) fn complete_locally(
        &self,
        key: &RecordKey,
        fence: &Fence,
        change: &Change,
    ) -> Option<Result<Answer<WriteResult<Option<SavedResponse>>>, StoreError>> {
        let mut records = self.records.lock();
        records.get_own(key, fence)?;
        records.by_key.get_mut(key)?.decider = Decider::Memory;
        let changed = self.change_at(&mut records, key, fence, change, self.now());
        Some(changed.map(of_memory))
    }

    /// Copies Redis's reply to a change. Returns `false` if the memory has become authoritative meanwhile: that reply
    /// must not be used then.
    pub(in super::super) fn copy_change(
        &self,
        key: &RecordKey,
        fence: &Fence,
        change: &Change,
        changed: &WriteResult<Option<SavedResponse>>,
    ) -> bool {
        let now = self.now();
        let mut records = self.records.lock();
        if self.knowledge_at(&records, key, now) == LocalKnowledge::Decides {
            return false;
        }
        if let Some(local) = records.get_own(key, fence)
            && matches!(local.decider, Decider::Redis { .. })
        {
            let record = local.record.clone();
            self.copy_own_change(&mut records, key, record, fence, change, changed);
        }
        true
    }

    fn copy_own_change(
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

    /// Copies a resolution that Redis has stored. Returns `Refused` if the memory is now authoritative or has a result,
    /// otherwise `Stored`.
    pub(in super::super) fn copy_resolution(
        &self,
        key: &RecordKey,
        seen: OwnerId,
        owner: OwnerId,
        resolution: &Resolution,
    ) -> ResolveResult {
        let now = self.now();
        let mut records = self.records.lock();
        match self.knowledge_at(&records, key, now) {
            LocalKnowledge::Decides | LocalKnowledge::Completed => return ResolveResult::Refused,
            LocalKnowledge::Running | LocalKnowledge::Unfinished(_) | LocalKnowledge::Nothing => {}
        }
        let version = records.get(key).map(Record::version);
        if let Some(version) = version.filter(|version| version.owner == seen) {
            self.resolve_at(&mut records, key, version, owner, resolution);
        }
        ResolveResult::Stored
    }
}

impl Records {
    fn is_reserved(&self, key: &RecordKey, owner: OwnerId) -> bool {
        self.by_key
            .get(key)
            .is_some_and(|local| local.decider == Decider::Pending && local.record.owner == owner)
    }

    /// Returns the record of an attempt, and the store that is authoritative for its key.
    fn get_own(&self, key: &RecordKey, fence: &Fence) -> Option<&LocalRecord> {
        self.by_key.get(key).filter(|local| {
            local.record.owner == fence.claim.owner && local.record.attempt == fence.attempt
        })
    }
}

/// An answer of the memory alone.
pub(in super::super) fn of_memory<T>(value: T) -> Answer<T> {
    Answer::degraded(value, Backend::Memory)
}

#[cfg(test)]
mod tests;
