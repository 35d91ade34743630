//! What a caller asks of the engine.

use std::time::Duration;

use super::{Fingerprint, Policy, RecordKey};

/// One piece of work that must not run twice.
#[derive(Clone, Debug)]
pub struct Operation {
    /// Whose key it is, and which.
    pub key: RecordKey,
    /// What is to be done. The same key with another one is refused.
    pub fingerprint: Fingerprint,
    /// What happens when an attempt ends without a word.
    pub policy: Policy,
    /// The least time in which the work can be done and its result stored. With less, nothing is begun.
    pub least_time: Duration,
}

impl Operation {
    /// Work that runs at most once, whatever happens, and needs a moment.
    pub fn new(key: RecordKey, fingerprint: Fingerprint) -> Self {
        Self {
            key,
            fingerprint,
            policy: Policy::AtMostOnce,
            least_time: Duration::from_millis(200),
        }
    }

    /// The same work under another policy.
    #[must_use]
    pub fn with_policy(self, policy: Policy) -> Self {
        Self { policy, ..self }
    }

    /// The same work, which is not begun with less time than this.
    #[must_use]
    pub fn needing(self, least_time: Duration) -> Self {
        Self { least_time, ..self }
    }
}
