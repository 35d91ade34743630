//! The operation that a caller runs under a key.

use std::time::Duration;

use super::{Fingerprint, Policy, RecordKey};

/// An operation that must not run twice.
#[derive(Clone, Debug)]
pub struct Operation {
    /// The key, with its scope.
    pub key: RecordKey,
    /// Digest of the request. The same key with another fingerprint is refused.
    pub fingerprint: Fingerprint,
    /// Whether another attempt is allowed after an abandoned attempt.
    pub policy: Policy,
    /// The least time to run the operation and store its result. If less time is left, the operation is not started.
    pub least_time: Duration,
}

impl Operation {
    /// Returns an operation that runs at most once, and needs at least 200 ms.
    pub fn new(key: RecordKey, fingerprint: Fingerprint) -> Self {
        Self {
            key,
            fingerprint,
            policy: Policy::AtMostOnce,
            least_time: Duration::from_millis(200),
        }
    }

    /// Returns the operation with this policy.
    #[must_use]
    pub fn with_policy(self, policy: Policy) -> Self {
        Self { policy, ..self }
    }

    /// Returns the operation with this least time.
    #[must_use]
    pub fn needing(self, least_time: Duration) -> Self {
        Self { least_time, ..self }
    }
}
