//! The progress of the client's attempts, the reconciler and a webhook event.

use std::ops::Range;

use super::Protocol;
use super::behaviour::Node;
use super::message::KeyWrite;
use super::row::IntentNumber;
use crate::steps::{ConcurrentAttempt, Purpose};

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Actor {
    pub(super) phase: Phase,
    /// How often the actor can still begin a run.
    pub(super) runs: u8,
    /// The intent that the actor created. Used only with a planted bug.
    pub(super) created: Option<IntentNumber>,
    /// Whether the actor assumes that the intent is canceled. Used only with a planted bug.
    pub(super) assumes_canceled: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Phase {
    Idle,
    /// A client's attempt has claimed the key.
    Opening {
        others: ConcurrentAttempt,
        /// Whether the idempotency store has no record of an earlier attempt for this key.
        is_first: bool,
        purpose: Purpose,
    },
    Running {
        node: Node,
        has_lease: bool,
    },
    /// A client's attempt writes the key's record.
    WritingKey {
        write: KeyWrite,
        /// Whether the attempt answers that nothing was done. It sends this answer only after the write is
        /// acknowledged.
        answers_nothing_done: bool,
    },
}

/// The numbers of the client's attempts among the actors. The second attempt begins at any time after the first. When it begins, the
/// first attempt may have crashed, or may be frozen with an expired lease.
pub(super) const ATTEMPTS: Range<usize> = 0..2;
pub(super) const RECONCILER: usize = 2;

impl Actor {
    pub(super) fn all(protocol: &Protocol) -> Vec<Self> {
        let actor = |runs| Self {
            phase: Phase::Idle,
            runs,
            created: None,
            assumes_canceled: false,
        };
        let runs = [1, 1, protocol.reconciler_runs, protocol.events];
        runs.into_iter().map(actor).collect()
    }

    pub(super) fn has_begun(&self) -> bool {
        self.runs == 0
    }
}
