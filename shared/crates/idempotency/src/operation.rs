//! What a caller asks of the engine, and what it is told.

use std::time::Duration;

use super::store::{Backend, Standing};
use super::{Doubt, Fingerprint, Lease, Policy, RecordKey, SavedResponse};

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

/// What becomes of a claim.
#[derive(Debug)]
pub struct Answered {
    /// Whether the work may run, or why not.
    pub outcome: Outcome,
    /// The store that answered alone, where not all that are configured could take part: then the answer is degraded.
    pub stand_in: Option<Backend>,
}

/// Whether the work may run, or why not.
#[derive(Debug)]
pub enum Outcome {
    /// It may, and only the holder of this lease can finish it.
    Started(Lease),
    /// It has run: this is its result.
    Replay(SavedResponse),
    /// The key stands for another request.
    Mismatch,
    /// Somebody is at it.
    InProgress {
        /// When it makes sense to ask again: when their lease is over, at the latest.
        retry_after: Duration,
    },
    /// It is not known whether it took effect, and it will not be done again by itself.
    Unknown(Doubt),
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

impl Outcome {
    pub(super) fn of(standing: Standing) -> Self {
        match standing {
            Standing::Replay(response) => Self::Replay(response),
            Standing::Mismatch => Self::Mismatch,
            Standing::InProgress { retry_after } => Self::InProgress { retry_after },
            Standing::Unknown(doubt) => Self::Unknown(doubt),
            // No store says so to a claim; if it did, another claim would start.
            Standing::Free => Self::InProgress {
                retry_after: Duration::ZERO,
            },
        }
    }
}
