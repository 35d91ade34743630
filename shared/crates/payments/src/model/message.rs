//! The requests in flight, their effects on the key's record, and the replies to their senders.

use super::behaviour::{Reply, Request};
use super::row::{Answer, Row};

/// How a request is delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Delivery {
    Answered,
    /// The request is carried out and its reply is lost. If the receiver is the provider, the sender gets 500; otherwise the sender gets
    /// no answer.
    ReplyLost,
    /// The request is not carried out and times out.
    Lost,
    /// The request is carried out after its sender has timed out. If the receiver is the provider, the sender gets 409, as if a copy of the
    /// request were being processed.
    Late,
    /// The provider does nothing and answers 429.
    TooMany,
}

/// A request to the ledger, the provider or the idempotency store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Message {
    /// Opens the row, or finds it.
    Open,
    Request {
        from: usize,
        request: Request,
    },
    Key {
        from: usize,
        write: KeyWrite,
    },
}

/// A write on the key's record, by the holder of its lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum KeyWrite {
    /// Stores the final response.
    Complete(Answer),
    /// Stores a reference to the pending payment.
    Refer,
    MarkUnknown,
    Release,
}

/// The key's record in the idempotency store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Key {
    Absent,
    /// The record is in progress or marked as unknown. In both states, another attempt can take over, because the lease can
    /// end at any time.
    Held {
        by: usize,
        took_over: bool,
        is_unknown: bool,
    },
    Released,
    Reopened,
    Referred,
    Completed(Answer),
}

impl Key {
    /// Whether the key's record can expire. Only finished records expire.
    pub(super) fn can_expire(self) -> bool {
        !matches!(self, Self::Absent | Self::Held { .. })
    }
}

/// What the sender of a message receives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Received {
    Reply(Reply),
    /// The ledger's row, and whether the row existed before; `None`: the ledger did not answer.
    Opened(Option<(Row, bool)>),
    Key(Written),
}

/// The result of a write on the key's record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Written {
    Done,
    Superseded,
}
