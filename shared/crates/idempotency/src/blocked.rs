//! Why a claim does not start an attempt.

use std::time::Duration;

use super::SavedResponse;

/// The reason why a key cannot be claimed now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Blocked {
    /// The operation has completed. Every retry receives this response.
    Replay(SavedResponse),
    /// The key belongs to a request with another fingerprint.
    Mismatch,
    /// Another attempt holds the lease.
    InProgress {
        /// Time until the lease of that attempt ends. The attempt may renew the lease before that.
        retry_after: Duration,
    },
    /// The operation may have taken effect, and the policy allows no further attempt. The key stays blocked until the
    /// key is resolved.
    Unknown(UnknownCause),
}

/// Why the outcome of an operation is unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnknownCause {
    /// The attempt was abandoned (crash, freeze, partition), or it marked its outcome as unknown.
    Abandoned,
    /// The stored value is damaged, is not a record, or is a result without a valid MAC. The value may have been a
    /// result.
    Unreadable,
}
