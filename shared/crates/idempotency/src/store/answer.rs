//! What a store answers.

use std::time::Duration;

use bytes::Bytes;

use super::backend::Backend;
use crate::decision::{self, Claim, Decision};
use crate::record::{Record, State, Unreadable};
use crate::store_time::StoreTime;
use crate::{Policy, SavedResponse};

/// What a store says, and whether all of it took part.
#[derive(Debug)]
pub struct Answer<T> {
    /// What it says.
    pub value: T,
    /// The store that answered alone, where several act as one and not all of them took part. `None` of a single store.
    pub stand_in: Option<Backend>,
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

/// What becomes of a claim.
#[derive(Debug)]
pub enum Claimed {
    /// The caller may work.
    Started(Grant),
    /// It may not, and this is how the key stands.
    Standing(Standing),
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

/// How a key stands, to somebody who does not hold it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// There is a result: the answer to every repetition.
    Replay(SavedResponse),
    /// The key stands for another request.
    Mismatch,
    /// Somebody is at work.
    InProgress {
        /// When it makes sense to ask again: when their lease is over, at the latest.
        retry_after: Duration,
    },
    /// It is not known whether the work took effect, and it will not be done again by itself.
    Unknown(Doubt),
    /// Nobody holds it: a claim would start.
    Free,
}

/// Why it is not known whether the work took effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doubt {
    /// The attempt ended without a word, or said that it does not know.
    NoWord,
    /// What is stored under the key is damaged, not a record, or a result with no valid MAC where results are signed. It may have
    /// been a result, so nothing runs.
    Unreadable,
}

/// What becomes of a change.
#[derive(Debug)]
pub enum Changed {
    /// The record is as the change makes it.
    Done,
    /// As `Done`, by an earlier call whose reply was lost; this is the result that is stored, if it was one.
    Already(Option<SavedResponse>),
    /// The provider may have forgotten the derived key by the end of the renewed lease.
    TooLate,
    /// The record is the caller's, and this is its revision: the caller may repeat the change from there.
    Moved(u64),
    /// The record is not the caller's any more, and this is how the key stands.
    Superseded(Standing),
}

/// What becomes of a settlement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settled {
    /// It is written: this is the answer from now on.
    Done,
    /// The record has changed since it was read, is settled already, or its owner still holds the lease.
    Refused,
}

impl<T> Answer<T> {
    /// The answer of all the stores that are configured.
    pub fn of_all(value: T) -> Self {
        Self {
            value,
            stand_in: None,
        }
    }

    /// The answer of one of them.
    pub fn of_stand_in(value: T, backend: Backend) -> Self {
        Self {
            value,
            stand_in: Some(backend),
        }
    }
}

impl Standing {
    /// How a record that can be read stands to the sender of `claim`.
    pub fn of(record: Option<&Record>, claim: &Claim, now: StoreTime) -> Self {
        match (decision::decide(record, claim, now), record) {
            (Decision::Replay, Some(record)) => match &record.state {
                State::Completed { response, .. } => Self::Replay(response.clone()),
                _ => Self::Unknown(Doubt::Unreadable),
            },
            (Decision::Mismatch, _) => Self::Mismatch,
            (Decision::InProgress { retry_after }, _) => Self::InProgress { retry_after },
            (Decision::Unknown, _) => Self::Unknown(Doubt::NoWord),
            (Decision::Repeated | Decision::Start(_) | Decision::Replay, _) => Self::Free,
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
