//! The record of a key.
//!
//! A [`Record`] has the same fields in every store. All times in a record come from the clock of the store that holds
//! the record, never from the clock of a caller. Only the functions in `decision` make the next state of a record.

mod text;

use std::time::Duration;

use bytes::Bytes;

use super::store_time::StoreTime;
use super::{Fingerprint, OwnerId, Policy, SavedResponse};
pub use text::Unreadable;
#[cfg(feature = "redis")]
pub(super) use text::{COUNT_WIDTH, LEASE_WIDTH, TIME_WIDTH, append_number, field};

/// The record of a key.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Record {
    /// The progress of the operation.
    pub state: State,
    /// The owner of the current attempt. Only this owner can renew, complete or release the record.
    pub owner: OwnerId,
    /// Number of attempts so far, including the current one. Never reset while the record exists.
    pub attempt: u64,
    /// Number of writes so far. It identifies a write only together with owner and `first_at`: see [`Version`].
    pub rev: u64,
    /// Start of the lease: the time of the claim or of the last renewal.
    pub leased_at: StoreTime,
    /// Length of the lease.
    pub lease: Duration,
    /// Digest of the request. Taken at the claim, kept in every state.
    pub fingerprint: Fingerprint,
    /// Whether another attempt is allowed if this attempt is abandoned.
    pub policy: Policy,
    /// Time of the first claim. From then on, a provider may know the derived key.
    pub first_at: StoreTime,
    /// Whether an earlier attempt was abandoned. The request of that attempt may still take effect.
    pub took_over: bool,
    /// The last checkpoint of the attempts. Empty: there is none. A completed record has no checkpoint.
    pub checkpoint: Bytes,
}

/// Identifies one write of one claim's record. Every compare-and-set contains the version that it replaces.
///
/// The revision alone does not identify a write: it restarts at 1 after a store has deleted the record. A late
/// compare-and-set could then match a later claim's record. An owner is random and belongs to one claim.
///
/// After the record of a claim is deleted, a delayed copy of that claim may create a second record with the same owner.
/// So the time of the first claim is part of the version too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Version {
    /// The owner in the record.
    pub owner: OwnerId,
    /// The revision of the record.
    pub rev: u64,
    /// Time of the first claim of the key.
    pub first_at: StoreTime,
}

/// The progress of an operation.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// An attempt is running, or was abandoned.
    InProgress,
    /// The operation may have taken effect.
    Unknown,
    /// The attempt had no effect. With `took_over`, the record was reopened, and the abandoned attempt may still take
    /// effect.
    Released {
        /// Time of the release.
        finished_at: StoreTime,
    },
    /// The operation has a result.
    Completed {
        /// Time at which the result was stored.
        finished_at: StoreTime,
        /// The response to every retry.
        response: SavedResponse,
    },
}

impl Record {
    /// The version of this record.
    pub fn version(&self) -> Version {
        Version {
            owner: self.owner,
            rev: self.rev,
            first_at: self.first_at,
        }
    }

    /// The end of the lease.
    pub fn lease_end(&self) -> StoreTime {
        self.leased_at.after(self.lease)
    }

    /// Start of the retention. `None`: the record is unfinished.
    pub fn finished_at(&self) -> Option<StoreTime> {
        match self.state {
            State::InProgress | State::Unknown => None,
            State::Released { finished_at } | State::Completed { finished_at, .. } => {
                Some(finished_at)
            }
        }
    }

    /// Whether the operation has a result.
    pub fn is_completed(&self) -> bool {
        matches!(self.state, State::Completed { .. })
    }

    /// The result, if any.
    pub fn response(&self) -> Option<&SavedResponse> {
        match &self.state {
            State::Completed { response, .. } => Some(response),
            _ => None,
        }
    }

    /// The result, if any.
    pub fn into_response(self) -> Option<SavedResponse> {
        match self.state {
            State::Completed { response, .. } => Some(response),
            _ => None,
        }
    }

    /// Whether the retention is over. Then the key is free.
    pub fn is_over(&self, retention: Duration, now: StoreTime) -> bool {
        self.finished_at()
            .is_some_and(|finished_at| now >= finished_at.after(retention))
    }
}
