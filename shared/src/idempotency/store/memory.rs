//! The memory of this process decides: on a laptop without a server, and in tests.
//!
//! It is bounded in entries and in bytes. Nothing that still counts is ever evicted: a claim that finds it full is not
//! decided. A result always finds room, as a summary if need be, for it has happened.

use std::collections::HashMap;
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;
use tokio::time::Instant;

use super::{
    Answer, Changed, Claimed, Found, Grant, Repeated, Settled, Standing, Store, Undecided,
};
use crate::config::IdempotencyConfig;
use crate::deadline::Deadline;
use crate::idempotency::decision::{self, Change, Claim, Decision, Fence, Settlement, Verdict};
use crate::idempotency::record::{Record, State, StoreTime, Version};
use crate::idempotency::{OwnerId, RecordKey};

/// Records in memory.
pub(in crate::idempotency) struct MemoryStore {
    records: Mutex<Records>,
    most_entries: usize,
    most_bytes: usize,
    window: Duration,
    /// Where its clock began.
    started: Instant,
}

/// A record, and what the store behind this one knows of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Kept {
    record: Record,
    /// When the key was first seen in that store, if it has started this attempt too. Its record is then the same work.
    first_there: Option<StoreTime>,
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
    pub(in crate::idempotency) fn new(config: &IdempotencyConfig) -> Self {
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

    /// Decides about a claim; with it, the record that was there before.
    pub(super) fn claim_at(
        &self,
        key: &RecordKey,
        claim: &Claim,
        now: StoreTime,
    ) -> Result<(Claimed, Option<Kept>), Undecided> {
        let mut records = self.records.lock();
        let before = records.by_key.get(key).cloned();
        let record = before.as_ref().map(|kept| &kept.record);
        let claimed = match decision::decide(record, claim, now) {
            Decision::Start(how) => {
                let record = decision::start(how, record, claim, now);
                self.make_room(&mut records, key, &record, now)?;
                let grant = Grant::of(&record, Repeated::No, now);
                records.put(key, Kept::here(record));
                Claimed::Started(grant)
            }
            Decision::Repeated => match record {
                Some(record) => Claimed::Started(Grant::of(record, Repeated::Yes, now)),
                None => Claimed::Standing(Standing::Free),
            },
            _ => Claimed::Standing(Standing::of(record, claim, now)),
        };
        Ok((claimed, before))
    }

    /// Puts back what was there before a claim of `owner`, unless that is not what is there.
    pub(super) fn undo(&self, key: &RecordKey, owner: OwnerId, before: Option<Kept>) {
        let mut records = self.records.lock();
        let is_claim = |record: &Record| record.owner == owner && record.state == State::InProgress;
        if records.get(key).is_some_and(is_claim) {
            match before {
                Some(kept) => records.put(key, kept),
                None => records.remove(key),
            }
        }
    }

    /// Takes over from the store behind this one what it knows of work that was abandoned here: that it has a result, or that
    /// this work was released. It counts as finished now, and as first seen when it was here, for that store's clock is another one.
    pub(super) fn learn(&self, key: &RecordKey, record: Record) {
        let now = self.now();
        let mut records = self.records.lock();
        let is_over = |here: &&Kept| match here.record.state {
            State::InProgress => here.record.lease_end() <= now,
            State::Unknown => true,
            State::Completed { .. } | State::Released { .. } => false,
        };
        let Some(here) = records.by_key.get(key).filter(is_over) else {
            return;
        };
        // An attempt that the other store never started, or has forgotten, is none that was released there.
        let is_same_work =
            here.first_there == Some(record.first_at) && record.attempt >= here.record.attempt;
        let state = match record.state {
            State::Completed { response, .. } => State::Completed {
                finished_at: now,
                response,
            },
            State::Released { .. } if is_same_work => State::Released { finished_at: now },
            _ => return,
        };
        let learned = Record {
            state,
            first_at: here.record.first_at,
            ..record
        };
        self.put_finished(&mut records, key, learned, now);
    }

    /// Puts a record for which there may be no room: then what is left of its result is a summary.
    fn put_finished(
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
        let first_there = records.by_key.get(key).and_then(|kept| kept.first_there);
        records.put(
            key,
            Kept {
                record,
                first_there,
            },
        );
    }

    /// Lets the record that `owner` holds count as the store behind this one does, which has started the attempt too. An attempt that
    /// took over here and not there is not the same work: that store has forgotten the attempt before.
    pub(super) fn adopt(&self, key: &RecordKey, owner: OwnerId, grant: &Grant) {
        let mut records = self.records.lock();
        if let Some(kept) = records.by_key.get_mut(key)
            && kept.record.owner == owner
        {
            let is_same_work = grant.took_over || !kept.record.took_over;
            kept.record.attempt = grant.attempt;
            kept.record.rev = grant.rev;
            kept.first_there = is_same_work.then_some(grant.first_at);
        }
    }

    /// The revision of the attempt's record, if that is here.
    pub(super) fn rev(&self, key: &RecordKey, fence: &Fence) -> Option<u64> {
        self.records
            .lock()
            .get_own(key, fence)
            .map(|record| record.rev)
    }

    /// Whether the attempt's record is here, and is not finished.
    pub(super) fn is_unfinished(&self, key: &RecordKey, fence: &Fence) -> bool {
        let records = self.records.lock();
        let own = records.get_own(key, fence);
        own.is_some_and(|record| record.finished_at().is_none())
    }

    /// The record with a result that counts, and what time it is here.
    pub(super) fn result(&self, key: &RecordKey) -> Option<(Record, StoreTime)> {
        let now = self.now();
        let records = self.records.lock();
        let counts = |record: &&Record| record.is_completed() && !record.is_over(self.window, now);
        let record = records.get(key).filter(counts)?;
        Some((record.clone(), now))
    }

    /// Lets the attempt's record catch up with writes that only the store behind this one has.
    pub(super) fn catch_up(&self, key: &RecordKey, fence: &Fence, rev: u64) {
        let mut records = self.records.lock();
        if let Some(kept) = records.by_key.get_mut(key)
            && kept.record.owner == fence.claim.owner
        {
            kept.record.rev = kept.record.rev.max(rev);
        }
    }

    /// Settles the record that `seen` holds, whatever its revision is here.
    pub(super) fn settle_too(
        &self,
        key: &RecordKey,
        seen: OwnerId,
        owner: OwnerId,
        settlement: &Settlement,
    ) {
        let mut records = self.records.lock();
        let version = records.get(key).map(Record::version);
        if let Some(version) = version.filter(|version| version.owner == seen) {
            self.settle_at(&mut records, key, version, owner, settlement);
        }
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
        self.put_finished(records, key, *record, now);
        Settled::Done
    }

    pub(super) fn change_at(
        &self,
        key: &RecordKey,
        fence: &Fence,
        change: &Change,
        now: StoreTime,
    ) -> Result<Changed, Undecided> {
        let mut records = self.records.lock();
        let record = records.get(key);
        Ok(match decision::change(record, fence, change, now) {
            Verdict::Write(record) => {
                if !record.is_completed() {
                    self.make_room(&mut records, key, &record, now)?;
                }
                self.put_finished(&mut records, key, *record, now);
                Changed::Done
            }
            Verdict::Already => Changed::Already(record.cloned().and_then(Record::into_response)),
            Verdict::TooLate => Changed::TooLate,
            Verdict::Moved => Changed::Moved(record.map_or(0, |record| record.rev)),
            Verdict::Superseded => Changed::Superseded(Standing::of(record, &fence.claim, now)),
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
            .retain(|_, kept| !kept.record.is_over(self.window, now));
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
        let (claimed, _) = self.claim_at(key, claim, self.now())?;
        Ok(Answer::of_all(claimed))
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
        self.change_at(key, fence, change, self.now())
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
    /// A record that the store behind this one has not acknowledged.
    fn here(record: Record) -> Self {
        Self {
            record,
            first_there: None,
        }
    }
}

impl Records {
    fn get(&self, key: &RecordKey) -> Option<&Record> {
        self.by_key.get(key).map(|kept| &kept.record)
    }

    /// The record of an attempt.
    fn get_own(&self, key: &RecordKey, fence: &Fence) -> Option<&Record> {
        self.get(key)
            .filter(|record| record.owner == fence.claim.owner && record.attempt == fence.attempt)
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
