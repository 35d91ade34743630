//! The state of a client.

use super::message::{Reply, Won};
use super::protocol::{Layout, Protocol};
use crate::decision::Start;
use crate::record::{Record, Version};

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Client {
    pub(super) phase: Phase,
    /// The reply that has not arrived yet.
    pub(super) pending: Option<Pending>,
    /// The attempt of the client; `None`: the client does not hold the key.
    pub(super) held: Option<Held>,
    /// How often the current request was sent without a reply.
    pub(super) unanswered: u8,
    /// The time at which the client started the current call, if renewals are modelled.
    pub(super) asked: u64,
}

/// A reply in flight.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Pending {
    pub(super) reply: Reply,
    /// Whether a majority has acknowledged the write of this reply.
    pub(super) is_acknowledged: bool,
}

/// The attempt of a holder, as far as the holder has received the store's replies.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Held {
    pub(super) attempt: u64,
    pub(super) generation: u8,
    /// The revision of the holder's last acknowledged write; zero: unknown.
    pub(super) rev: u64,
    /// The time at which the holder expects the lease to end, if renewals are modelled.
    pub(super) ends: u64,
    /// How many checkpoints the holder can still send.
    pub(super) notes_left: u8,
    /// How many renewals the holder can still send.
    pub(super) renewals_left: u8,
}

/// The next request of a client.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Phase {
    Hint,
    Insert,
    Read,
    Swap {
        how: Start,
        judged: Box<Record>,
    },
    Decide,
    Running,
    Write {
        kind: Kind,
        /// The revision that the write follows; zero: unknown.
        rev: u64,
        step: Step,
    },
    /// With `Bug::CompleteToBothAtOnce`: the result goes to Redis before MongoDB has acknowledged the result.
    KeepFirst,
    /// The result is copied to Redis.
    Keep(Box<Record>),
    TakeBack,
    Over,
}

/// A holder's write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Kind {
    Checkpoint(u8),
    Renew,
    Complete,
    Release,
    MarkUnknown,
}

/// The next request of a holder's write. A write takes one request, or three in MongoDB if the first request matches
/// nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Step {
    Write,
    Read,
    Swap(Version),
}

impl Client {
    pub(super) fn new(protocol: &Protocol) -> Self {
        Self {
            phase: match protocol.layout {
                Layout::Tiered => Phase::Hint,
                Layout::MongoDb => Phase::Insert,
                Layout::RedisAlone => Phase::Decide,
            },
            pending: None,
            held: None,
            unanswered: 0,
            asked: 0,
        }
    }

    pub(super) fn end(&mut self) {
        *self = Self {
            phase: Phase::Over,
            pending: None,
            held: None,
            unanswered: 0,
            asked: 0,
        };
    }

    pub(super) fn is_over(&self) -> bool {
        self.phase == Phase::Over
    }

    pub(super) fn is_running(&self) -> bool {
        self.phase == Phase::Running
    }

    pub(super) fn acknowledge(&mut self) {
        if let Some(pending) = &mut self.pending {
            pending.is_acknowledged = true;
        }
    }

    /// Drops the reply to a write that no majority has acknowledged. Returns whether there was such a reply.
    pub(super) fn forget_unacknowledged(&mut self) -> bool {
        self.pending
            .take_if(|pending| !pending.is_acknowledged)
            .is_some()
    }
}

impl Kind {
    /// Returns the first request of a write. If the write needs a revision that the holder does not have, this request
    /// reads the revision.
    pub(super) fn first_step(self, protocol: &Protocol, rev: u64) -> Step {
        let follows = matches!(self, Self::Checkpoint(_) | Self::Renew);
        if follows && rev == 0 && protocol.layout != Layout::RedisAlone {
            Step::Read
        } else {
            Step::Write
        }
    }
}

impl Held {
    pub(super) fn new(protocol: &Protocol, won: Won, asked: u64) -> Self {
        Self {
            attempt: won.attempt,
            generation: won.generation,
            rev: won.rev,
            ends: if protocol.renewals > 0 {
                asked + won.lease_left
            } else {
                0
            },
            notes_left: protocol.notes,
            renewals_left: protocol.renewals,
        }
    }
}
