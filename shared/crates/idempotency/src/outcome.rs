//! The outcome of a claim.

use super::blocked::Blocked;

/// The outcome of a claim: the caller holds the key, or the key is blocked.
#[derive(Debug)]
pub enum ClaimOutcome<T> {
    /// The caller holds the key. `T` is the [`Lease`](super::Lease), or the [`Grant`](super::store::Grant) in the reply
    /// of a store.
    Claimed(T),
    /// The caller must not run the operation.
    Blocked(Blocked),
}
