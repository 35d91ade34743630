//! The record under the key in a store.

use super::protocol::Protocol;
use crate::record::Record;
use crate::store_time::StoreTime;

/// A record, and the data that the search keeps with it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Stored {
    pub(super) record: Option<Record>,
    /// The generation of the record, or of the last record if there is none now. Executions are counted per
    /// generation.
    pub(super) generation: u8,
    /// Whether the retention of the last record is over. Then the next claim starts a new generation.
    pub(super) is_forgotten: bool,
    /// The last instant at which the record exists. It is set only if Redis is the only store.
    pub(super) expires: Option<StoreTime>,
    /// The `finished_at` of an unfinished record. Only `Bug::KeepFinishedAt` sets it.
    pub(super) left_over: Option<StoreTime>,
    /// The highest revision so far in this generation.
    pub(super) highest_rev: u64,
    /// One bit for each client. A bit is set if the attempt of that client was resolved.
    pub(super) resolved: u8,
}

impl Stored {
    pub(super) const NOTHING: Self = Self {
        record: None,
        generation: 1,
        is_forgotten: false,
        expires: None,
        left_over: None,
        highest_rev: 0,
        resolved: 0,
    };

    pub(super) fn was_resolved(&self, id: u8) -> bool {
        self.resolved & (1 << id) != 0
    }

    /// Whether the TTL index may delete the record.
    pub(super) fn may_be_deleted(&self, protocol: &Protocol, now: StoreTime) -> bool {
        let finished_at = self.record.as_ref().and_then(Record::finished_at);
        finished_at
            .or(self.left_over)
            .is_some_and(|at| now >= at.after(protocol.retention()))
    }

    /// Returns the value that follows the deletion of the record. If the deletion was correct (`is_right`), the next
    /// claim starts a new generation.
    pub(super) fn forgetting(self, is_right: bool) -> Self {
        Self {
            record: None,
            is_forgotten: self.is_forgotten || is_right,
            expires: None,
            left_over: None,
            highest_rev: if is_right { 0 } else { self.highest_rev },
            resolved: if is_right { 0 } else { self.resolved },
            ..self
        }
    }
}

pub(super) fn lease_left(record: &Record, now: StoreTime) -> u64 {
    record.lease_end().as_ms().saturating_sub(now.as_ms())
}
