//! What a caller is told that claims a key.

use std::time::Duration;

use super::SavedResponse;
use super::lease::Lease;
use super::store::{Backend, Doubt, Standing};

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
