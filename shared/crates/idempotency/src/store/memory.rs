//! A store in the memory of this process: for development with or without Redis, and for tests.
//!
//! It is limited in entries and bytes. It never evicts a record before its retention is over, so a claim fails if the
//! store is full. A result is always stored, if necessary as a summary, because the operation took effect.

#[cfg(feature = "redis")]
mod front;
mod records;

use std::time::Duration;

use async_trait::async_trait;
use foundation::Deadline;
use parking_lot::Mutex;
use tokio::time::Instant;

#[cfg(feature = "redis")]
pub(super) use self::front::{ClaimStep, Copied, LocalKnowledge, RedisAttempt, of_memory};
use self::records::{Decider, LocalRecord, Records, size};
use super::{
    Answer, Blocked, ClaimOutcome, Found, Grant, ResolveResult, Step, Store, StoreError,
    WriteResult, step,
};
use crate::decision::{Change, ClaimRequest, Fence, Resolution};
use crate::record::{Record, State, Version};
use crate::store_time::StoreTime;
use crate::{IdempotencyConfig, OwnerId, RecordKey, SavedResponse};

/// Records in memory.
pub(crate) struct MemoryStore {
    records: Mutex<Records>,
    most_entries: usize,
    most_bytes: usize,
    retention: Duration,
    /// The instant at which this store's clock started.
    started: Instant,
}

/// The time of this store's clock at `started`. The value is arbitrary, but it must not be zero: operators read zero as
/// "not yet".
const EPOCH: StoreTime = StoreTime::from_ms(1_000_000_000_000);

impl MemoryStore {
    pub(crate) fn new(config: &IdempotencyConfig) -> Self {
        Self {
            records: Mutex::default(),
            most_entries: config.memory_entries,
            most_bytes: config.memory_bytes,
            retention: config.retention,
            started: Instant::now(),
        }
    }

    /// The time by this store's clock.
    pub(super) fn now(&self) -> StoreTime {
        EPOCH.after(self.started.elapsed())
    }

    fn claim_at(
        &self,
        records: &mut Records,
        key: &RecordKey,
        claim: &ClaimRequest,
        now: StoreTime,
    ) -> Result<ClaimOutcome<Grant>, StoreError> {
        let Step { write, answer } = step::claim(&records.stored(key), claim, now);
        if let Some(record) = write {
            self.make_room(records, key, &record, now)?;
            records.put(key, LocalRecord::of_memory(*record));
        }
        Ok(answer)
    }

    /// Stores a record even if the memory is full. In that case, the record's result is reduced to a summary.
    fn put_changed(
        &self,
        records: &mut Records,
        key: &RecordKey,
        mut record: Record,
        now: StoreTime,
    ) {
        let room = self.make_room(records, key, &record, now);
        if let (Err(_), State::Completed { response, .. }) = (room, &mut record.state) {
            *response = response.limited_to(0);
        }
        let decider = records
            .by_key
            .get(key)
            .map_or(Decider::Memory, |local| local.decider);
        records.put(key, LocalRecord { record, decider });
    }

    fn resolve_at(
        &self,
        records: &mut Records,
        key: &RecordKey,
        seen: Version,
        owner: OwnerId,
        resolution: &Resolution,
    ) -> ResolveResult {
        let now = self.now();
        let Step { write, answer } =
            step::resolve(&records.stored(key), seen, owner, resolution, now);
        if let Some(record) = write {
            self.put_changed(records, key, *record, now);
        }
        answer
    }

    fn change_at(
        &self,
        records: &mut Records,
        key: &RecordKey,
        fence: &Fence,
        change: &Change,
        now: StoreTime,
    ) -> Result<WriteResult<Option<SavedResponse>>, StoreError> {
        let Step { write, answer } = step::change(&records.stored(key), fence, change, now);
        if let Some(record) = write {
            if !record.is_completed() {
                self.make_room(records, key, &record, now)?;
            }
            self.put_changed(records, key, *record, now);
        }
        Ok(answer)
    }

    /// Removes expired records if `record` does not fit. Returns an error if `record` still does not fit after that.
    fn make_room(
        &self,
        records: &mut Records,
        key: &RecordKey,
        record: &Record,
        now: StoreTime,
    ) -> Result<(), StoreError> {
        if self.fits(records, key, record) {
            return Ok(());
        }
        records
            .by_key
            .retain(|_, local| !local.is_over(self.retention, now));
        records.bytes = records
            .by_key
            .iter()
            .map(|(key, local)| size(key, &local.record))
            .sum();
        if self.fits(records, key, record) {
            Ok(())
        } else {
            Err(StoreError::Full)
        }
    }

    fn fits(&self, records: &Records, key: &RecordKey, record: &Record) -> bool {
        let (entries, bytes) = match records.get(key) {
            Some(before) => (records.by_key.len(), records.bytes - size(key, before)),
            None => (records.by_key.len() + 1, records.bytes),
        };
        entries <= self.most_entries && bytes + size(key, record) <= self.most_bytes
    }
}

#[async_trait]
impl Store for MemoryStore {
    async fn claim(
        &self,
        key: &RecordKey,
        claim: &ClaimRequest,
        _: Deadline,
    ) -> Result<Answer<ClaimOutcome<Grant>>, StoreError> {
        self.claim_at(&mut self.records.lock(), key, claim, self.now())
            .map(Answer::of_all)
    }

    async fn look(
        &self,
        key: &RecordKey,
        claim: &ClaimRequest,
        _: Deadline,
    ) -> Result<Answer<Option<Blocked>>, StoreError> {
        let records = self.records.lock();
        let blocked = step::look(&records.stored(key), claim, self.now());
        Ok(Answer::of_all(blocked))
    }

    async fn change(
        &self,
        key: &RecordKey,
        fence: &Fence,
        change: &Change,
        _: Deadline,
    ) -> Result<Answer<WriteResult<Option<SavedResponse>>>, StoreError> {
        self.change_at(&mut self.records.lock(), key, fence, change, self.now())
            .map(Answer::of_all)
    }

    async fn read(&self, key: &RecordKey, _: Deadline) -> Result<Found, StoreError> {
        let records = self.records.lock();
        Ok(Found::of(records.stored(key), self.now()))
    }

    async fn list(&self, limit: u32, _: Deadline) -> Result<Vec<RecordKey>, StoreError> {
        let mut keys: Vec<_> = self.records.lock().by_key.keys().cloned().collect();
        keys.sort();
        keys.truncate(limit.try_into().unwrap_or(usize::MAX));
        Ok(keys)
    }

    async fn resolve(
        &self,
        key: &RecordKey,
        seen: Version,
        owner: OwnerId,
        resolution: &Resolution,
        _: Deadline,
    ) -> Result<ResolveResult, StoreError> {
        let mut records = self.records.lock();
        Ok(self.resolve_at(&mut records, key, seen, owner, resolution))
    }
}

#[cfg(test)]
mod tests;
