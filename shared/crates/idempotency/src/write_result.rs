//! The result of a write by the holder of a lease.

use super::blocked::Blocked;

/// The result of a write to a record: complete, release, renew, and so on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WriteResult<T = ()> {
    /// The authoritative store has acknowledged the write.
    Stored(T),
    /// Nothing was written: another attempt took the key over, or the key was resolved. Contains what blocks the key
    /// now; `None`: the key is free.
    Superseded(Option<Blocked>),
    /// Nothing was written: another write of this attempt came first. That write may be an earlier try of this call
    /// whose reply was lost. Contains the current revision, which a repeated call replaces.
    Outdated(u64),
    /// Nothing was written: the provider may have forgotten the derived key by the end of the renewed lease. Do not
    /// send a request with that key again.
    TooLate,
    /// Nothing was written: a checkpoint is limited to 64 KiB.
    TooLarge,
    /// The authoritative store did not acknowledge the write in time. The write may or may not be stored.
    NotDurable,
}

impl<T> WriteResult<T> {
    /// Applies the function `value` to the content of [`Stored`](Self::Stored). Returns every other result unchanged.
    pub(super) fn map<U>(self, value: impl FnOnce(T) -> U) -> WriteResult<U> {
        match self {
            Self::Stored(stored) => WriteResult::Stored(value(stored)),
            Self::Superseded(blocked) => WriteResult::Superseded(blocked),
            Self::Outdated(rev) => WriteResult::Outdated(rev),
            Self::TooLate => WriteResult::TooLate,
            Self::TooLarge => WriteResult::TooLarge,
            Self::NotDurable => WriteResult::NotDurable,
        }
    }
}
