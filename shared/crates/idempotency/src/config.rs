//! How long results count, how long an attempt may take, how much is kept.

use std::time::Duration;

/// How keys are kept.
#[derive(Clone, Debug)]
pub struct IdempotencyConfig {
    /// For how long what finished counts, from when it finished.
    pub retention: Duration,
    /// How long an attempt may take where the invocation's deadline is not known.
    pub lease: Duration,
    /// By how much a lease outlasts the invocation.
    pub lease_grace: Duration,
    /// The longest body of a response that is kept whole, in bytes.
    pub max_response_bytes: usize,
    /// The most keys that the memory of a process holds.
    pub memory_entries: usize,
    /// The most bytes that the memory of a process holds, about.
    pub memory_bytes: usize,
}

/// The longest a lease lasts, as the longest an invocation does.
pub(super) const LONGEST_LEASE: Duration = Duration::from_secs(900);
/// The longest checkpoint, in bytes.
pub(super) const LONGEST_NOTE: usize = 64 * 1024;

impl Default for IdempotencyConfig {
    /// A day, 30 seconds, 2 seconds, 1 MiB, 10 000 keys, 64 MiB.
    fn default() -> Self {
        Self {
            retention: Duration::from_secs(86_400),
            lease: Duration::from_secs(30),
            lease_grace: Duration::from_secs(2),
            max_response_bytes: 1024 * 1024,
            memory_entries: 10_000,
            memory_bytes: 64 << 20,
        }
    }
}
