//! The requests in flight, what they do to the key's record, and what their senders hear.

use super::behaviour::{Ask, Reply};
use super::row::{Answer, Row};

/// How a request fares.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Delivery {
    Answered,
    /// It is carried out, and its reply is lost; a provider answers 500.
    ReplyLost,
    /// It is not carried out, and times out.
    Lost,
    /// It is carried out later, after its sender has given up; a provider answers a copy of it with 409.
    Late,
    /// The provider does nothing and answers 429.
    TooMany,
}

/// A request to the ledger, the provider or the idempotency store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Message {
    /// Opens the row, or finds it.
    Open,
    Ask {
        from: usize,
        ask: Ask,
    },
    Key {
        from: usize,
        write: KeyWrite,
    },
}

/// A write on the key's record, by the holder of its lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum KeyWrite {
    /// The final answer.
    Complete(Answer),
    /// Where to look for the payment, which is on its way.
    Refer,
    MarkUnknown,
    Release,
}

/// The key's record in the idempotency store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Key {
    Absent,
    /// In progress or marked unknown. Either is taken over; the lease may be over at any time.
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
    /// Whether its record has a TTL: only finished ones do.
    pub(super) fn can_expire(self) -> bool {
        !matches!(self, Self::Absent | Self::Held { .. })
    }
}

/// What the sender of a message hears.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Heard {
    Reply(Reply),
    /// The row, and whether it was there already; `None`: the ledger did not answer.
    Opened(Option<(Row, bool)>),
    Key(Written),
}

/// What has become of a write on the key's record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Written {
    Done,
    Superseded,
}
