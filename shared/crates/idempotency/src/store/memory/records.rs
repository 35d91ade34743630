//! The records of the memory store, and which store is authoritative for each key.

use std::collections::HashMap;
use std::time::Duration;

use crate::RecordKey;
use crate::record::{Record, State};
use crate::store::Stored;
use crate::store_time::StoreTime;

/// A record, and which store is authoritative for its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in super::super) struct LocalRecord {
    pub(super) record: Record,
    pub(super) decider: Decider,
}

#[derive(Default)]
pub(super) struct Records {
    pub(super) by_key: HashMap<RecordKey, LocalRecord>,
    /// The approximate size of all records, in bytes.
    pub(super) bytes: usize,
}

/// The store that is authoritative for a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Decider {
    /// This memory.
    Memory,
    /// The claim of this record was sent to Redis. Its reply has not arrived yet.
    Pending,
    /// Redis. `first_at` is the time of the first claim in Redis. A record in Redis belongs to this attempt or a later
    /// one if it has the same time, and no smaller attempt number.
    #[cfg(feature = "redis")]
    Redis { first_at: StoreTime },
}

/// The approximate size of a record without its strings, in bytes.
pub(super) const RECORD_BYTES: usize = 512;

impl LocalRecord {
    /// Whether the record is expired. If the call that made a reservation was dropped, the reservation expires at the
    /// end of its lease.
    pub(super) fn is_over(&self, retention: Duration, now: StoreTime) -> bool {
        let is_dropped = self.decider == Decider::Pending && now >= self.record.lease_end();
        is_dropped || self.record.is_over(retention, now)
    }

    pub(super) fn of_memory(record: Record) -> Self {
        Self {
            record,
            decider: Decider::Memory,
        }
    }
}

impl Records {
    pub(super) fn get(&self, key: &RecordKey) -> Option<&Record> {
        self.by_key.get(key).map(|local| &local.record)
    }

    pub(super) fn stored(&self, key: &RecordKey) -> Stored {
        Ok(self.get(key).cloned())
    }

    pub(super) fn put(&mut self, key: &RecordKey, local: LocalRecord) {
        self.bytes += size(key, &local.record);
        if let Some(before) = self.by_key.insert(key.clone(), local) {
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

/// Returns the approximate size of a record, in bytes.
pub(super) fn size(key: &RecordKey, record: &Record) -> usize {
    let response = match &record.state {
        State::Completed { response, .. } => response.size(),
        _ => 0,
    };
    RECORD_BYTES + key.as_str().len() + record.checkpoint.len() + response
}
