//! What the memory holds: records, and about each key, which store decides.

use std::collections::HashMap;
use std::time::Duration;

use crate::RecordKey;
use crate::record::{Record, State};
use crate::store::Stored;
use crate::store_time::StoreTime;

/// A record, and which store decides about its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in super::super) struct Kept {
    pub(super) record: Record,
    pub(super) decider: Decider,
}

#[derive(Default)]
pub(super) struct Records {
    pub(super) by_key: HashMap<RecordKey, Kept>,
    /// What all of them take.
    pub(super) bytes: usize,
}

/// Which store decides about a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Decider {
    /// This memory.
    Here,
    /// The other store is being asked about the claim that this record was made for.
    Asked,
    /// The other store. Its record is the same work if it names the same time of the first claim, and no earlier attempt.
    #[cfg(feature = "redis")]
    There { first_at: StoreTime },
}

/// What a record takes beside its texts, about.
pub(super) const RECORD_BYTES: usize = 512;

impl Kept {
    /// Whether it no longer counts: what was reserved for a claim that was dropped does not once its lease is over.
    pub(super) fn is_over(&self, retention: Duration, now: StoreTime) -> bool {
        let is_dropped = self.decider == Decider::Asked && now >= self.record.lease_end();
        is_dropped || self.record.is_over(retention, now)
    }

    pub(super) fn here(record: Record) -> Self {
        Self {
            record,
            decider: Decider::Here,
        }
    }
}

impl Records {
    pub(super) fn get(&self, key: &RecordKey) -> Option<&Record> {
        self.by_key.get(key).map(|kept| &kept.record)
    }

    pub(super) fn stored(&self, key: &RecordKey) -> Stored {
        Ok(self.get(key).cloned())
    }

    pub(super) fn put(&mut self, key: &RecordKey, kept: Kept) {
        self.bytes += size(key, &kept.record);
        if let Some(before) = self.by_key.insert(key.clone(), kept) {
            self.bytes -= size(key, &before.record);
        }
    }

    #[cfg(feature = "redis")]
    pub(super) fn remove(&mut self, key: &RecordKey) {
        if let Some(before) = self.by_key.remove(key) {
            self.bytes -= size(key, &before.record);
        }
    }
}

/// What a record takes, about.
pub(super) fn size(key: &RecordKey, record: &Record) -> usize {
    let response = match &record.state {
        State::Completed { response, .. } => response.size(),
        _ => 0,
    };
    RECORD_BYTES + key.as_str().len() + record.checkpoint.len() + response
}
