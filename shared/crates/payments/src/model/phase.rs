//! How far the client's attempts, the reconciler and a webhook event are.

use std::ops::Range;

use super::Protocol;
use super::behaviour::Node;
use super::message::KeyWrite;
use super::row::IntentNumber;
use crate::steps::{ConcurrentAttempt, Purpose};

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Actor {
    pub(super) phase: Phase,
    /// How often it can begin yet.
    pub(super) runs: u8,
    /// Only where a bug is planted: the intent that it has created.
    pub(super) created: Option<IntentNumber>,
    /// Only where a bug is planted: it takes the intent for canceled.
    pub(super) believes_canceled: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Phase {
    Idle,
    /// A client's attempt has claimed the key.
    Opening {
        others: ConcurrentAttempt,
        /// Whether the store of keys knows of no earlier attempt.
        is_first: bool,
        purpose: Purpose,
    },
    Running {
        node: Node,
        has_lease: bool,
    },
    /// A client's attempt writes the key's record.
    Keeping {
        write: KeyWrite,
        /// Whether it answers that nothing was done, once the write is acknowledged.
        says_nothing: bool,
    },
}

/// The client's attempts. The second one begins after the first, at any time: the first may have crashed (then it never acts
/// again) or be frozen, its lease over.
pub(super) const ATTEMPTS: Range<usize> = 0..2;
pub(super) const RECONCILER: usize = 2;

impl Actor {
    pub(super) fn all(protocol: &Protocol) -> Vec<Self> {
        let actor = |runs| Self {
            phase: Phase::Idle,
            runs,
            created: None,
            believes_canceled: false,
        };
        let runs = [1, 1, protocol.reconciler_runs, protocol.events];
        runs.into_iter().map(actor).collect()
    }

    pub(super) fn has_begun(&self) -> bool {
        self.runs == 0
    }
}
