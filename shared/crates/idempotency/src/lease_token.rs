//! The token with which another process continues an attempt.

use std::fmt;

use super::{Fingerprint, OwnerId, RecordKey};

/// What another process needs to write for an attempt: see [`Idempotency::resume`](super::Idempotency::resume).
#[derive(Clone, PartialEq, Eq)]
pub struct LeaseToken {
    /// The claimed key.
    pub key: RecordKey,
    /// The owner of the claim.
    pub owner: OwnerId,
    /// The number of the attempt, from 1.
    pub attempt: u64,
    /// The fingerprint of the request. Even if the store has lost the claim, a result is stored with this fingerprint.
    pub fingerprint: Fingerprint,
    /// The revision of the attempt's last write. A renewal or a checkpoint follows this revision and no other. `None`:
    /// the first write asks the store for the revision, which costs a round trip; a delayed write may then undo a later
    /// write.
    pub rev: Option<u64>,
}

/// Omits the owner, because the owner is enough to finish the attempt.
impl fmt::Debug for LeaseToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LeaseToken")
            .field("key", &self.key)
            .field("attempt", &self.attempt)
            .finish_non_exhaustive()
    }
}
