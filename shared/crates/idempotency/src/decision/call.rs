//! The calls of a store: a claim, a change by the owner, a resolution.

use std::time::Duration;

use bytes::Bytes;

use crate::{Fingerprint, OwnerId, Policy, SavedResponse};

/// A claim of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimRequest {
    /// The owner. It is fresh for every claim, and is sent again only to repeat that claim.
    pub owner: OwnerId,
    /// Digest of the request.
    pub fingerprint: Fingerprint,
    /// Whether another attempt is allowed if this attempt is abandoned.
    pub policy: Policy,
    /// Length of the lease.
    pub lease: Duration,
    /// How long a finished record is kept.
    pub retention: Duration,
}

/// The attempt that makes a change to its record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fence {
    /// The claim that started the attempt. The owner in it identifies the attempt. The other fields are needed only if
    /// the store has lost the record.
    pub claim: ClaimRequest,
    /// The number of the attempt, from 1.
    pub attempt: u64,
    /// The revision that a renewal or a checkpoint replaces; zero: unknown. The write replaces no other revision, so a
    /// delayed copy of the write cannot undo a later write.
    pub rev: u64,
    /// The checkpoint in the record of that revision. `None`: unknown, or the attempt has changed more than its checkpoint
    /// since the claim. A store that ignores it stores the same.
    pub checkpoint: Option<Bytes>,
}

/// A write to a record by its owner.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Change {
    /// Stores the result.
    Complete(SavedResponse),
    /// Releases the key: this attempt had no effect.
    Release,
    /// Renews the lease, which then ends this long after the renewal.
    Renew(Duration),
    /// Stores data for the next attempt.
    Checkpoint(Bytes),
    /// Marks the outcome as unknown: the operation may have taken effect.
    MarkUnknown,
}

/// The outcome of an abandoned operation, as a reconciler or an operator reports it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Resolution {
    /// The operation took effect, with this result.
    Completed(SavedResponse),
    /// The operation had no effect, and can have none later.
    Released,
    /// The same request can be attempted again, because the operation checks its state before it acts. The abandoned
    /// attempt may still take effect.
    Reopened,
}

impl Change {
    /// Whether the change contains the revision that it replaces. An attempt may make such a change several times.
    #[cfg(feature = "redis")]
    pub(crate) fn names_rev(&self) -> bool {
        matches!(self, Self::Renew(_) | Self::Checkpoint(_))
    }
}
