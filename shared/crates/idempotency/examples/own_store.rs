//! An example of a store that you write yourself. The conformance tests of this crate test this store.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use idempotency::store::{
    Answer, Blocked, Change, ClaimOutcome, ClaimRequest, Fence, Found, Grant, Record, Resolution,
    ResolveResult, Step, Store, StoreError, StoreTime, Stored, Version, WriteResult, async_trait,
    step,
};
use idempotency::{
    Authority, Deadline, Idempotency, OwnerId, RecordKey, SavedResponse, Setup, Stores,
};
use parking_lot::Mutex;

/// A store that keeps its records as text in memory, protected by one lock. A persistent store would keep its records
/// in a database, and use a transaction instead of the lock.
#[derive(Clone)]
pub(crate) struct OwnStore {
    texts: Arc<Mutex<HashMap<RecordKey, Bytes>>>,
    /// The instant at which this store's clock started. All callers use this one clock.
    started: Instant,
}

impl OwnStore {
    pub(crate) fn new() -> Self {
        Self {
            texts: Arc::default(),
            started: Instant::now(),
        }
    }

    /// Makes one atomic step while it holds the lock: reads the record, calls `decide`, and writes the returned record.
    /// Returns the answer of `decide`.
    fn step<T>(&self, key: &RecordKey, decide: impl FnOnce(&Stored, StoreTime) -> Step<T>) -> T {
        let mut texts = self.texts.lock();
        let stored = texts.get(key).map(Record::from_text).transpose();
        let Step { write, answer } = decide(&stored, self.now());
        if let Some(record) = write {
            texts.insert(key.clone(), record.to_text().into());
        }
        answer
    }

    fn now(&self) -> StoreTime {
        StoreTime::from_ms(1_000_000_000_000).after(self.started.elapsed())
    }
}

#[async_trait]
impl Store for OwnStore {
    async fn claim(
        &self,
        key: &RecordKey,
        claim: &ClaimRequest,
        _: Deadline,
    ) -> Result<Answer<ClaimOutcome<Grant>>, StoreError> {
        let claimed = self.step(key, |stored, now| step::claim(stored, claim, now));
        Ok(Answer::of_all(claimed))
    }

    async fn look(
        &self,
        key: &RecordKey,
        claim: &ClaimRequest,
        _: Deadline,
    ) -> Result<Answer<Option<Blocked>>, StoreError> {
        let look = |stored: &Stored, now| Step::answer(step::look(stored, claim, now));
        Ok(Answer::of_all(self.step(key, look)))
    }

    async fn change(
        &self,
        key: &RecordKey,
        fence: &Fence,
        change: &Change,
        _: Deadline,
    ) -> Result<Answer<WriteResult<Option<SavedResponse>>>, StoreError> {
        let changed = self.step(key, |stored, now| step::change(stored, fence, change, now));
        Ok(Answer::of_all(changed))
    }

    async fn resolve(
        &self,
        key: &RecordKey,
        seen: Version,
        owner: OwnerId,
        resolution: &Resolution,
        _: Deadline,
    ) -> Result<ResolveResult, StoreError> {
        Ok(self.step(key, |stored, now| {
            step::resolve(stored, seen, owner, resolution, now)
        }))
    }

    async fn read(&self, key: &RecordKey, _: Deadline) -> Result<Found, StoreError> {
        let read = |stored: &Stored, now| Step::answer(Found::of(stored.clone(), now));
        Ok(self.step(key, read))
    }

    async fn list(&self, limit: u32, _: Deadline) -> Result<Vec<RecordKey>, StoreError> {
        let mut keys: Vec<_> = self.texts.lock().keys().cloned().collect();
        keys.sort();
        keys.truncate(limit as usize);
        Ok(keys)
    }
}

fn main() {
    let idempotency = Idempotency::new(Setup::of(Stores::own(OwnStore::new())));
    assert_eq!(idempotency.authority(), Authority::Own);
}
