//! What an operator or a reconciler sees of a key, and what it may say of it.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;

use super::record::{Record, State, StoreTime};
use super::{Policy, RecordKey, SavedResponse};

/// What is known of a key, to an operator or a reconciler.
#[derive(Clone, PartialEq, Eq)]
pub struct Entry {
    /// The key.
    pub key: RecordKey,
    /// How far the work is.
    pub progress: Progress,
    /// How many attempts there were.
    pub attempt: u64,
    /// Which writing of the record this is; a settlement holds only for this one.
    pub rev: u64,
    /// How long ago the key was first seen.
    pub first_seen: Duration,
    /// For how long the lease lasts yet; zero: it is over.
    pub lease_left: Duration,
    /// What happens when an attempt ends without a word.
    pub policy: Policy,
    /// What the attempts noted for the next one.
    pub checkpoint: Bytes,
}

/// How far work is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    /// An attempt is at it, or ended without a word.
    InProgress,
    /// It is not known whether it took effect.
    Unknown,
    /// The attempt said that nothing happened.
    Released,
    /// There is a result.
    Completed(SavedResponse),
}

/// What a reconciler found out about work that ended without a word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Settlement {
    /// It took effect, and this is its result.
    Completed(SavedResponse),
    /// It did not, and it no longer can.
    Released(NoEffect),
}

/// Why work that ended without a word can no longer take effect. That it has not done so until now is no reason: its
/// process may be frozen, and thaw.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoEffect {
    /// The provider will refuse its request, should it still come.
    FencedByProvider,
    /// The attempt itself said that it did nothing and will do nothing.
    ToldByTheAttempt,
}

impl Entry {
    pub(super) fn of(key: &RecordKey, record: Record, now: StoreTime) -> Self {
        let lease_left = match record.state {
            State::InProgress => record.lease_end().since(now),
            _ => Duration::ZERO,
        };
        Self {
            key: key.clone(),
            attempt: record.attempt,
            rev: record.rev,
            first_seen: now.since(record.first_at),
            lease_left,
            policy: record.policy,
            checkpoint: record.checkpoint,
            progress: match record.state {
                State::InProgress => Progress::InProgress,
                State::Unknown => Progress::Unknown,
                State::Released { .. } => Progress::Released,
                State::Completed { response, .. } => Progress::Completed(response),
            },
        }
    }
}

/// What attempts noted is not for the log.
impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entry")
            .field("key", &self.key)
            .field("progress", &self.progress)
            .field("attempt", &self.attempt)
            .field("rev", &self.rev)
            .field("lease_left", &self.lease_left)
            .finish_non_exhaustive()
    }
}
