//! A store of somebody else's: what the crate promises to those who write one, tried from outside.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;
use parking_lot::Mutex;
use shared::deadline::Deadline;
use shared::idempotency::store::{
    Answer, Change, Changed, Claim, Claimed, Decision, Fence, Found, Grant, Record, Repeated,
    Settlement, Standing, Store, StoreTime, Verdict, Version, change, decide, settle, start,
};
use shared::idempotency::{OwnerId, RecordKey, Settled, Undecided};

/// Records in a map. One lock makes each step atomic, and the clock is the map's own.
#[derive(Clone)]
pub(crate) struct OwnStore {
    records: Arc<Mutex<BTreeMap<String, (RecordKey, Record)>>>,
    started: Instant,
}

impl OwnStore {
    pub(crate) fn new() -> Self {
        Self {
            records: Arc::default(),
            started: Instant::now(),
        }
    }

    fn now(&self) -> StoreTime {
        StoreTime::from_ms(1_000_000_000_000).after(self.started.elapsed())
    }

    /// Lets `step` see the record and say what takes its place.
    fn step<T>(
        &self,
        key: &RecordKey,
        step: impl FnOnce(Option<&Record>, StoreTime) -> (Option<Record>, T),
    ) -> T {
        let mut records = self.records.lock();
        let stored = records.get(key.as_str()).map(|(_, record)| record);
        let (written, answer) = step(stored, self.now());
        if let Some(record) = written {
            records.insert(key.as_str().to_owned(), (key.clone(), record));
        }
        answer
    }
}

#[async_trait]
impl Store for OwnStore {
    async fn claim(
        &self,
        key: &RecordKey,
        claim: &Claim,
        _: Deadline,
    ) -> Result<Answer<Claimed>, Undecided> {
        Ok(Answer::of_all(self.step(key, |record, now| {
            match (decide(record, claim, now), record) {
                (Decision::Start(how), _) => {
                    let record = start(how, record, claim, now);
                    let grant = Grant::of(&record, Repeated::No, now);
                    (Some(record), Claimed::Started(grant))
                }
                (Decision::Repeated, Some(record)) => {
                    let grant = Grant::of(record, Repeated::Yes, now);
                    (None, Claimed::Started(grant))
                }
                _ => (None, Claimed::Standing(Standing::of(record, claim, now))),
            }
        })))
    }

    async fn look(
        &self,
        key: &RecordKey,
        claim: &Claim,
        _: Deadline,
    ) -> Result<Answer<Standing>, Undecided> {
        Ok(Answer::of_all(self.step(key, |record, now| {
            (None, Standing::of(record, claim, now))
        })))
    }

    async fn change(
        &self,
        key: &RecordKey,
        fence: &Fence,
        asked: &Change,
        _: Deadline,
    ) -> Result<Answer<Changed>, Undecided> {
        Ok(Answer::of_all(self.step(key, |record, now| {
            match change(record, fence, asked, now) {
                Verdict::Write(record) => (Some(*record), Changed::Done),
                verdict => (None, Changed::of(&verdict, record, &fence.claim, now)),
            }
        })))
    }

    async fn read(&self, key: &RecordKey, _: Deadline) -> Result<Found, Undecided> {
        Ok(self.step(key, |record, now| match record {
            Some(record) => (None, Found::Record(Box::new(record.clone()), now)),
            None => (None, Found::Nothing),
        }))
    }

    async fn settle(
        &self,
        key: &RecordKey,
        seen: Version,
        owner: OwnerId,
        settlement: &Settlement,
        _: Deadline,
    ) -> Result<Settled, Undecided> {
        Ok(self.step(key, |record, now| {
            let verdict = record.map(|record| settle(record, seen, owner, settlement, now));
            match verdict {
                Some(Verdict::Write(record)) => (Some(*record), Settled::Done),
                _ => (None, Settled::Refused),
            }
        }))
    }

    async fn list(&self, limit: u32, _: Deadline) -> Result<Vec<RecordKey>, Undecided> {
        let records = self.records.lock();
        let keys = records.values().map(|(key, _)| key.clone());
        Ok(keys.take(limit as usize).collect())
    }
}
