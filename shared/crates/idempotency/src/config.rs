//! Retention, lease and size limits.

use std::time::Duration;

/// Limits for keys and results.
#[derive(Clone, Debug)]
pub struct IdempotencyConfig {
    /// How long a result is kept after it was stored.
    pub retention: Duration,
    /// The length of a lease if the deadline of the invocation is unknown.
    pub lease: Duration,
    /// The time from the deadline of an invocation to the end of the lease. No lease is longer than `LONGEST_LEASE`.
    pub lease_grace: Duration,
    /// The longest response body that is stored whole, in bytes.
    pub max_response_bytes: usize,
    /// The largest number of keys that the memory store holds.
    pub memory_entries: usize,
    /// The largest number of bytes that the memory store holds, approximately.
    pub memory_bytes: usize,
}

/// The longest lease. No Lambda invocation lasts longer.
pub(super) const LONGEST_LEASE: Duration = Duration::from_secs(900);
/// The longest checkpoint, in bytes.
pub(super) const LONGEST_CHECKPOINT: usize = 64 * 1024;

impl Default for IdempotencyConfig {
    /// Keeps results for one day. A lease lasts until 2 seconds after the deadline of the invocation, or 30 seconds if
    /// that deadline is unknown. A response body is stored whole up to 1 MiB. The memory store has at most 10 000 keys
    /// and 64 MiB.
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
