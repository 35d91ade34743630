//! The token with which another process continues an attempt.

use std::fmt;

use super::{Fingerprint, OwnerId, RecordKey};

/// The data that another process needs for the writes of an attempt; see
/// [`Idempotency::resume`](super::Idempotency::resume).
#[derive(Clone, PartialEq, Eq)]
pub struct LeaseToken {
    /// The claimed key.
    pub key: RecordKey,
    /// The owner of the claim.
    pub owner: OwnerId,
    /// The number of the attempt, from 1.
    pub attempt: u64,
    /// The fingerprint of the request. If the store has lost the claim, it stores the result with this fingerprint.
    pub fingerprint: Fingerprint,
    /// The revision of the attempt's last write. A renewal or a checkpoint replaces only this revision. `None`: the
    /// first of these writes has to read the revision from the store, which costs a round trip. In that case, a delayed
    /// write may undo a later write.
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
