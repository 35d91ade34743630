//! The memory of this process decides: on a laptop without a server, in front of Redis, and in tests.
//!
//! It is bounded in entries and in bytes. Nothing that still counts is ever evicted: a claim that finds it full is not
//! decided. A result always finds room, as a summary if need be, for it has happened.

mod guard;

use std::collections::HashMap;
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;
use tokio::time::Instant;

use self::guard::Decider;
pub(super) use self::guard::{Claiming, Copied, Guarded, Work, of_memory};
use foundation::Deadline;

use super::{
    Answer, Changed, Claimed, Found, Grant, Repeated, Settled, Standing, Store, Undecided,
};
use crate::decision::{self, Change, Claim, Decision, Fence, Settlement, Verdict};
use crate::record::{Record, State, StoreTime, Version};
use crate::{IdempotencyConfig, OwnerId, RecordKey};

/// Records in memory.
pub(crate) struct MemoryStore {
    records: Mutex<Records>,
    most_entries: usize,
    most_bytes: usize,
    window: Duration,
    /// Where its clock began.
    started: Instant,
}

/// A record, and which store decides about its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Kept {
    record: Record,
    decider: Decider,
}

#[derive(Default)]
struct Records {
    by_key: HashMap<RecordKey, Kept>,
    /// What all of them take.
    bytes: usize,
}

/// What a record takes beside its texts, about.
const RECORD_BYTES: usize = 512;
/// Where the clock of every process's memory begins: any instant would do, but zero means "not yet" to an operator.
const EPOCH: StoreTime = StoreTime::from_ms(1_000_000_000_000);

impl MemoryStore {
    pub(crate) fn new(config: &IdempotencyConfig) -> Self {
        Self {
            records: Mutex::default(),
            most_entries: config.memory_entries,
            most_bytes: config.memory_bytes,
            window: config.window,
            started: Instant::now(),
        }
    }

    /// The time by which this store decides.
    pub(super) fn now(&self) -> StoreTime {
        EPOCH.after(self.started.elapsed())
    }

    fn claim_at(
        &self,
        records: &mut Records,
        key: &RecordKey,
        claim: &Claim,
        now: StoreTime,
    ) -> Result<Claimed, Undecided> {
        let record = records.get(key);
        Ok(match (decision::decide(record, claim, now), record) {
            (Decision::Start(how), _) => {
                let record = decision::start(how, record, claim, now);
                self.make_room(records, key, &record, now)?;
                let grant = Grant::of(&record, Repeated::No, now);
                records.put(key, Kept::here(record));
                Claimed::Started(grant)
            }
            (Decision::Repeated, Some(record)) => {
                Claimed::Started(Grant::of(record, Repeated::Yes, now))
            }
            _ => Claimed::Standing(Standing::of(record, claim, now)),
        })
    }

    /// Puts a record for which there may be no room: then what is left of its result is a summary.
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
            .map_or(Decider::Here, |kept| kept.decider);
        records.put(key, Kept { record, decider });
    }

    fn settle_at(
        &self,
        records: &mut Records,
        key: &RecordKey,
        seen: Version,
        owner: OwnerId,
        settlement: &Settlement,
    ) -> Settled {
        let now = self.now();
        let verdict = records
            .get(key)
            .map(|record| decision::settle(record, seen, owner, settlement, now));
        let Some(Verdict::Write(record)) = verdict else {
            return Settled::Refused;
        };
        self.put_changed(records, key, *record, now);
        Settled::Done
    }

    fn change_at(
        &self,
        records: &mut Records,
        key: &RecordKey,
        fence: &Fence,
        change: &Change,
        now: StoreTime,
    ) -> Result<Changed, Undecided> {
        let record = records.get(key);
        Ok(match decision::change(record, fence, change, now) {
            Verdict::Write(record) => {
                if !record.is_completed() {
                    self.make_room(records, key, &record, now)?;
                }
                self.put_changed(records, key, *record, now);
                Changed::Done
            }
            verdict => Changed::of(&verdict, record, &fence.claim, now),
        })
    }

    /// Makes sure that `record` fits, by letting go of what no longer counts.
    fn make_room(
        &self,
        records: &mut Records,
        key: &RecordKey,
        record: &Record,
        now: StoreTime,
    ) -> Result<(), Undecided> {
        if self.fits(records, key, record) {
            return Ok(());
        }
        records
            .by_key
            .retain(|_, kept| !kept.is_over(self.window, now));
        records.bytes = records
            .by_key
            .iter()
            .map(|(key, kept)| size(key, &kept.record))
            .sum();
        if self.fits(records, key, record) {
            Ok(())
        } else {
            Err(Undecided::Full)
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
        claim: &Claim,
        _: Deadline,
    ) -> Result<Answer<Claimed>, Undecided> {
        self.claim_at(&mut self.records.lock(), key, claim, self.now())
            .map(Answer::of_all)
    }

    async fn look(
        &self,
        key: &RecordKey,
        claim: &Claim,
        _: Deadline,
    ) -> Result<Answer<Standing>, Undecided> {
        let records = self.records.lock();
        let standing = Standing::of(records.get(key), claim, self.now());
        Ok(Answer::of_all(standing))
    }

    async fn change(
        &self,
        key: &RecordKey,
        fence: &Fence,
        change: &Change,
        _: Deadline,
    ) -> Result<Answer<Changed>, Undecided> {
        self.change_at(&mut self.records.lock(), key, fence, change, self.now())
            .map(Answer::of_all)
    }

    async fn read(&self, key: &RecordKey, _: Deadline) -> Result<Found, Undecided> {
        let records = self.records.lock();
        Ok(match records.get(key) {
            Some(record) => Found::Record(Box::new(record.clone()), self.now()),
            None => Found::Nothing,
        })
    }

    async fn list(&self, limit: u32, _: Deadline) -> Result<Vec<RecordKey>, Undecided> {
        let mut keys: Vec<_> = self.records.lock().by_key.keys().cloned().collect();
        keys.sort_by(|one, other| one.as_str().cmp(other.as_str()));
        keys.truncate(limit.try_into().unwrap_or(usize::MAX));
        Ok(keys)
    }

    async fn settle(
        &self,
        key: &RecordKey,
        seen: Version,
        owner: OwnerId,
        settlement: &Settlement,
        _: Deadline,
    ) -> Result<Settled, Undecided> {
        let mut records = self.records.lock();
        Ok(self.settle_at(&mut records, key, seen, owner, settlement))
    }
}

impl Kept {
    /// Whether it no longer counts: what was reserved for a claim that was dropped does not once its lease is over.
    fn is_over(&self, window: Duration, now: StoreTime) -> bool {
        let is_dropped = self.decider == Decider::Asked && now >= self.record.lease_end();
        is_dropped || self.record.is_over(window, now)
    }

    fn here(record: Record) -> Self {
        Self {
            record,
            decider: Decider::Here,
        }
    }
}

impl Records {
    fn get(&self, key: &RecordKey) -> Option<&Record> {
        self.by_key.get(key).map(|kept| &kept.record)
    }

    fn put(&mut self, key: &RecordKey, kept: Kept) {
        self.bytes += size(key, &kept.record);
        if let Some(before) = self.by_key.insert(key.clone(), kept) {
            self.bytes -= size(key, &before.record);
        }
    }

    fn remove(&mut self, key: &RecordKey) {
        if let Some(before) = self.by_key.remove(key) {
            self.bytes -= size(key, &before.record);
        }
    }
}

/// What a record takes, about.
fn size(key: &RecordKey, record: &Record) -> usize {
    let response = match &record.state {
        State::Completed { response, .. } => response.size(),
        _ => 0,
    };
    RECORD_BYTES + key.as_str().len() + record.checkpoint.len() + response
}

#[cfg(test)]
mod tests;
