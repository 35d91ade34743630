//! Replies of a store.

use std::time::Duration;

use bytes::Bytes;

use super::backend::Backend;
use crate::Policy;
use crate::record::{Record, Unreadable};
use crate::store_time::StoreTime;

/// The reply of a store to a call, and the stores that took part in the call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer<T> {
    /// The reply.
    pub value: T,
    /// The store that replied alone, because another configured store did not take part. `None`: all configured stores
    /// took part.
    pub degraded_to: Option<Backend>,
}

/// The stored value, parsed by [`Record::from_text`].
pub type Stored = Result<Option<Record>, Unreadable>;

/// What is stored under a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// No record.
    Nothing,
    /// A record, and the time by the store's clock at which it was read.
    Record(Box<Record>, StoreTime),
    /// A value that this version cannot read as a record.
    Unreadable,
}

impl Found {
    /// Returns the result of reading: `stored` is the parsed value, and `now` is the time of the read.
    pub fn of(stored: Stored, now: StoreTime) -> Self {
        match stored {
            Ok(Some(record)) => Self::Record(Box::new(record), now),
            Ok(None) => Self::Nothing,
            Err(Unreadable) => Self::Unreadable,
        }
    }

    /// Whether the key has a record that is in progress, unknown or unreadable.
    pub fn is_unfinished(&self) -> bool {
        match self {
            Self::Nothing => false,
            Self::Record(record, _) => record.finished_at().is_none(),
            Self::Unreadable => true,
        }
    }
}

/// A successful claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// The number of the attempt, from 1.
    pub attempt: u64,
    /// The revision of the record after the claim.
    pub rev: u64,
    /// Whether the store has no record of an earlier attempt. It may also be true for a later attempt.
    pub is_first: bool,
    /// Whether an earlier copy of this claim was already stored.
    pub repeated: bool,
    /// Whether an earlier attempt was abandoned.
    pub took_over: bool,
    /// The last checkpoint of the earlier attempts. Empty: there is none.
    pub checkpoint: Bytes,
    /// Time of the first claim. It distinguishes this record from a later record under the same key. `None`: the store did
    /// not return it.
    pub first_at: Option<StoreTime>,
    /// Time until the lease ends. For a repeated claim, this is less than the requested lease.
    pub lease_left: Duration,
    /// How long from now the provider still recognises the derived key. `None`: no limit applies. Only a takeover has a
    /// limit.
    pub recognised_for: Option<Duration>,
}

impl<T> Answer<T> {
    /// An answer in which all configured stores took part.
    pub fn of_all(value: T) -> Self {
        Self {
            value,
            degraded_to: None,
        }
    }

    /// An answer of `backend` alone, because another configured store did not take part.
    pub fn degraded(value: T, backend: Backend) -> Self {
        Self {
            value,
            degraded_to: Some(backend),
        }
    }
}

impl Grant {
    /// Returns the grant for the owner of `record`.
    pub fn of(record: &Record, repeated: Repeated, now: StoreTime) -> Self {
        let recognised_for = match record.policy {
            Policy::Rerun { within } if record.took_over => {
                Some(record.first_at.after(within).since(now))
            }
            _ => None,
        };
        Self {
            attempt: record.attempt,
            rev: record.rev,
            // After the retention, the attempt counter of the old record continues. So the first attempt of the new
            // record may have a number above 1. A reclaim in the same millisecond as the first claim looks like a first
            // claim.
            is_first: record.attempt == 1
                || record.leased_at == record.first_at
                || repeated == Repeated::Yes,
            repeated: repeated == Repeated::Yes,
            took_over: record.took_over,
            checkpoint: record.checkpoint.clone(),
            first_at: Some(record.first_at),
            lease_left: record.lease_end().since(now),
            recognised_for,
        }
    }
}

/// Whether an earlier copy of a claim was already stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repeated {
    /// An earlier copy was stored: the reply to that copy was lost, or the message was duplicated.
    Yes,
    /// The claim is new, and starts an attempt now.
    No,
}
