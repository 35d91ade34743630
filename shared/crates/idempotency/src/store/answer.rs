//! Answers of a store.

use std::time::Duration;

use bytes::Bytes;

use super::backend::Backend;
use crate::Policy;
use crate::record::{Record, Unreadable};
use crate::store_time::StoreTime;

/// A decision, and the stores that took part in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer<T> {
    /// The decision.
    pub value: T,
    /// The store that decided alone while another configured store did not take part. `None`: all configured stores took part.
    pub degraded_to: Option<Backend>,
}

/// What is stored under a key, as far as it can be read: what [`Record::from_text`] makes of it.
pub type Stored = Result<Option<Record>, Unreadable>;

/// What is stored under a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// No record.
    Nothing,
    /// A record, and the time by the store's clock at which it was read.
    Record(Box<Record>, StoreTime),
    /// Something that is no record this version can read.
    Unreadable,
}

impl Found {
    /// What a store has read, and when.
    pub fn of(stored: Stored, now: StoreTime) -> Self {
        match stored {
            Ok(Some(record)) => Self::Record(Box::new(record), now),
            Ok(None) => Self::Nothing,
            Err(Unreadable) => Self::Unreadable,
        }
    }

    /// Whether it has no result yet and was not released, or cannot be read.
    pub fn is_unfinished(&self) -> bool {
        match self {
            Self::Nothing => false,
            Self::Record(record, _) => record.finished_at().is_none(),
            Self::Unreadable => true,
        }
    }
}

/// The permission to work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// Which attempt this is, from 1.
    pub attempt: u64,
    /// The revision of the record that the claim has left.
    pub rev: u64,
    /// Whether the store knows of no earlier attempt.
    pub is_first: bool,
    /// Whether this very claim was there already.
    pub repeated: bool,
    /// Whether an earlier attempt ended without a word.
    pub took_over: bool,
    /// What the attempts before noted last; empty: nothing.
    pub checkpoint: Bytes,
    /// When the key was first seen, which tells its record from one that is made once it is forgotten.
    pub first_at: StoreTime,
    /// For how long the lease lasts yet: of a claim that is there already, less than it asks for.
    pub lease_left: Duration,
    /// For how long from now a provider still recognises the derived key; `None`: it matters only to who took over.
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

    /// An answer of `backend` alone, while another configured store did not take part.
    pub fn degraded(value: T, backend: Backend) -> Self {
        Self {
            value,
            degraded_to: Some(backend),
        }
    }
}

impl Grant {
    /// The permission that a record gives to its owner.
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
            // After a restart attempts count on. A reclaim in the millisecond of the first claim looks like the first one.
            is_first: record.attempt == 1
                || record.leased_at == record.first_at
                || repeated == Repeated::Yes,
            repeated: repeated == Repeated::Yes,
            took_over: record.took_over,
            checkpoint: record.checkpoint.clone(),
            first_at: record.first_at,
            lease_left: record.lease_end().since(now),
            recognised_for,
        }
    }
}

/// Whether a claim found itself already there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repeated {
    /// It was: the reply to it was lost, or it came twice.
    Yes,
    /// It starts now.
    No,
}
