//! Messages between clients, stores and the reconciler.

use super::stored::Stored;
use crate::OwnerId;
use crate::decision::{Change, Fence, Resolution, Start};
use crate::record::{Record, Version};
use crate::store_time::StoreTime;

/// The fate of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Delivery {
    /// The request is applied, and the reply arrives.
    Answered,
    /// The request is applied, and the reply arrives later.
    Slow,
    /// The request is applied, and the reply is lost.
    ReplyLost,
    /// The request is lost.
    Lost,
    /// The request is applied at some later time, after its sender has given up.
    Late,
}

/// A request to a store.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Message {
    /// Redis cache: store a claim, or reply to it.
    Hint { id: u8 },
    /// Redis cache: remove a claim.
    TakeBack { id: u8 },
    /// Redis cache: store a result.
    Keep(Box<Record>),
    /// MongoDB: insert a claim if there is no record.
    Insert { id: u8 },
    /// MongoDB: read the record.
    Read,
    /// MongoDB: a holder's write that is sent without reading the record.
    Update(Box<HeldWrite>),
    /// MongoDB: a compare-and-set on the record that was read.
    Swap { judged: Judged, write: Box<Swap> },
    /// Redis alone: claim the key.
    Decide { id: u8 },
    /// Redis alone: change the holder's record.
    Change(Box<HeldWrite>),
    /// Redis alone: resolve the record.
    Resolve {
        seen: Version,
        finding: Box<Finding>,
    },
}

/// The parts of a record that a compare-and-set may compare.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Judged {
    pub(super) version: Version,
    /// Compared only with `Bug::ClaimByAttempt`.
    pub(super) attempt: u64,
}

/// The write of a compare-and-set.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Swap {
    Claim { how: Start, next: Record },
    Change(HeldWrite),
    Resolve(Finding),
}

/// A holder's write.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct HeldWrite {
    pub(super) id: u8,
    pub(super) attempt: u64,
    pub(super) rev: u64,
    pub(super) change: Change,
}

/// A reconciler's finding, and its fresh owner.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Finding {
    pub(super) owner: OwnerId,
    pub(super) resolution: Resolution,
    /// The generation to which the finding applies.
    pub(super) generation: u8,
}

/// A store's reply.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Reply {
    /// The Redis cache cannot answer the claim: ask MongoDB.
    Ask,
    InProgress,
    Mismatch,
    Unknown,
    /// The completed record.
    Result(Box<Record>),
    /// The claim is acknowledged.
    Won(Won),
    /// No record matched.
    Lost,
    Found {
        stored: Box<Stored>,
        now: StoreTime,
    },
    Done,
    /// The write is already stored. `lease_left` is the time until the lease ends, for a renewal.
    Already {
        lease_left: u64,
    },
    TooLate,
    /// The holder's record is at this revision, not at the revision that the write follows.
    Moved {
        rev: u64,
    },
    Superseded(Box<Reply>),
}

/// The grant for a successful claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Won {
    pub(super) attempt: u64,
    pub(super) rev: u64,
    /// Time until the lease ends.
    pub(super) lease_left: u64,
    pub(super) generation: u8,
}

impl HeldWrite {
    pub(super) fn fence(&self, protocol: &super::Protocol) -> Fence {
        Fence {
            claim: super::identity::claim(protocol, self.id),
            attempt: self.attempt,
            rev: self.rev,
            checkpoint: None,
        }
    }
}

impl Message {
    /// Whether the message creates a record if there is none.
    pub(super) fn is_claim(&self) -> bool {
        matches!(self, Self::Insert { .. } | Self::Decide { .. })
    }

    /// Whether a majority of MongoDB's servers has to acknowledge the message.
    pub(super) fn is_write(&self) -> bool {
        matches!(
            self,
            Self::Insert { .. } | Self::Update(_) | Self::Swap { .. }
        )
    }
}
