//! The outcome of a claim.

use super::blocked::Blocked;

/// The outcome of a claim: the caller holds the key, or something blocks it.
#[derive(Debug)]
pub enum ClaimOutcome<T> {
    /// The caller holds the key. `T` is its [`Lease`](super::Lease), or for a store the [`Grant`](super::store::Grant).
    Claimed(T),
    /// The caller must not run the operation.
    Blocked(Blocked),
}
