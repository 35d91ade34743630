//! What is known of one key.
//!
//! A [`Record`] is the same in every store. Its times are of the clock of the store that holds it, never of a caller's.
//! It is only ever replaced by what the functions in `decision` make of it.

mod text;

use std::time::Duration;

use bytes::Bytes;

use super::store_time::StoreTime;
use super::{Fingerprint, OwnerId, Policy, SavedResponse};
pub use text::Unreadable;
#[cfg(feature = "redis")]
pub(super) use text::{COUNT_WIDTH, LEASE_WIDTH, TIME_WIDTH, field};

/// Everything that is known of one key.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Record {
    /// How far the work is.
    pub state: State,
    /// Who may change the record.
    pub owner: OwnerId,
    /// How many attempts there were, the current one included. Never set back while the record is there.
    pub attempt: u64,
    /// How often the record was written. It names a writing only together with owner and `first_at`: see [`Version`].
    pub rev: u64,
    /// When the lease began: at the claim, or at the last renewal.
    pub leased_at: StoreTime,
    /// How long the lease lasts.
    pub lease: Duration,
    /// What was asked for. Taken at the claim, kept in every state.
    pub fingerprint: Fingerprint,
    /// What happens when an attempt ends without a word.
    pub policy: Policy,
    /// When the key was first seen: from then on a provider may know its derived key.
    pub first_at: StoreTime,
    /// Whether an earlier attempt ended without a word, so that its request may still take effect.
    pub took_over: bool,
    /// What the attempts noted for the next one; empty where they noted nothing. A completed record has none.
    pub checkpoint: Bytes,
}

/// One writing of one claim's record. Every compare-and-set names it.
///
/// The revision alone does not name a writing: it begins at 1 again once a store has deleted the record, so a late
/// compare-and-set could match the record of a later claim. An owner is random and belongs to one claim; but a late copy of
/// that very claim may make a second record once the first one is forgotten, so the time of the first claim belongs to it too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Version {
    /// The owner that the record named.
    pub owner: OwnerId,
    /// Its revision.
    pub rev: u64,
    /// When its key was first seen.
    pub first_at: StoreTime,
}

/// How far the work is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// An attempt is at work, or ended without a word.
    InProgress,
    /// It is not known whether the work took effect.
    Unknown,
    /// The attempt had no effect; or, with `took_over`, it was reopened and may still have one.
    Released {
        /// When that was written.
        finished_at: StoreTime,
    },
    /// There is a result.
    Completed {
        /// When it was stored.
        finished_at: StoreTime,
        /// The answer to every repetition.
        response: SavedResponse,
    },
}

impl Record {
    /// The writing that this record is.
    pub fn version(&self) -> Version {
        Version {
            owner: self.owner,
            rev: self.rev,
            first_at: self.first_at,
        }
    }

    /// When the lease is over.
    pub fn lease_end(&self) -> StoreTime {
        self.leased_at.after(self.lease)
    }

    /// When it finished; only what finished ever expires.
    pub fn finished_at(&self) -> Option<StoreTime> {
        match self.state {
            State::InProgress | State::Unknown => None,
            State::Released { finished_at } | State::Completed { finished_at, .. } => {
                Some(finished_at)
            }
        }
    }

    /// Whether there is a result.
    pub fn is_completed(&self) -> bool {
        matches!(self.state, State::Completed { .. })
    }

    /// The result, if there is one.
    pub fn response(&self) -> Option<&SavedResponse> {
        match &self.state {
            State::Completed { response, .. } => Some(response),
            _ => None,
        }
    }

    /// The result, if there is one.
    pub fn into_response(self) -> Option<SavedResponse> {
        match self.state {
            State::Completed { response, .. } => Some(response),
            _ => None,
        }
    }

    /// Whether the retention is over, after which nothing of the record counts any more.
    pub fn is_over(&self, retention: Duration, now: StoreTime) -> bool {
        self.finished_at()
            .is_some_and(|finished_at| now >= finished_at.after(retention))
    }
}
