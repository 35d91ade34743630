//! What has become of each payment, for good.
//!
//! A payment's row outlives every claim: it says which intent at the provider stands for it, and once the payment has ended, with
//! which bytes everybody is answered. Each write names the state that it expects (a compare-and-set); whoever comes second
//! reads what the first one wrote, and goes on from there.

mod file_ledger;
pub(super) mod files;
mod mongo_ledger;
#[cfg(test)]
pub(super) mod tests;

use std::sync::Arc;

use async_trait::async_trait;

pub(super) use file_ledger::FileLedger;
pub(super) use mongo_ledger::MongoLedger;

use foundation::Deadline;

use super::{Payment, Setup, State, Timestamp};

/// Where payments are kept.
#[async_trait]
pub(super) trait Ledger: Send + Sync {
    /// Opens a payment, unless it is there: the row as it then is.
    async fn open(&self, payment: &Payment, deadline: Deadline) -> Result<Payment, LedgerError>;

    /// Changes a payment if it is as the change expects.
    async fn change(
        &self,
        payment: &Payment,
        change: &Change,
        deadline: Deadline,
    ) -> Result<ChangeResult, LedgerError>;

    /// A payment, whosever it is.
    async fn read(&self, id: &str, deadline: Deadline) -> Result<Option<Payment>, LedgerError>;

    /// Open payments, in the order and as many as `queue` says, and the rows among them that cannot be read.
    async fn open_payments(
        &self,
        queue: Queue,
        deadline: Deadline,
    ) -> Result<OpenPayments, LedgerError>;

    /// How many open payments there are that were first heard of before this.
    async fn count_open(
        &self,
        created_before: Timestamp,
        deadline: Deadline,
    ) -> Result<u64, LedgerError>;

    /// Makes what the two above need to be quick. Doing it again costs next to nothing.
    async fn prepare(&self, deadline: Deadline) -> Result<(), LedgerError>;
}

/// Which open payments are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Queue {
    /// First heard of before this.
    pub(super) created_before: Timestamp,
    pub(super) order: QueueOrder,
    /// At most so many.
    pub(super) limit: u32,
}

/// In which order open payments are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum QueueOrder {
    /// The oldest first.
    Oldest,
    /// Those not looked at since `looked_before`, by how long they have waited for it: since the last look, or since they were
    /// first heard of. So every one has its turn, whatever becomes of the others, and however many are new.
    LongestWaiting {
        /// Looked at before this, or never.
        looked_before: Timestamp,
    },
}

/// What a change expects, and what it does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// An open payment without an intent gets one.
    Attach { intent: String, livemode: bool },
    /// An open payment is on its way in another state.
    Move(State),
    /// An open payment is looked at.
    Look,
    /// An open payment ends, with its answer.
    End(Box<Payment>),
    /// An open payment that the provider has never named ends: nobody will confirm anything for it any more.
    EndWithoutIntent(Box<Payment>),
}

/// A payment whose change was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ChangeResult {
    /// As this call has changed it.
    Applied(Payment),
    /// As it was: not what the change expects. A call whose reply was lost may have changed it so.
    Conflict(Payment),
}

/// Open payments, as the ledger has them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OpenPayments {
    /// Those that can be read.
    pub payments: Vec<Payment>,
    /// The ids of rows that cannot be read. Each may be of an open payment.
    pub unreadable: Vec<String>,
}

/// Why the ledger gave no payment.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum LedgerError {
    /// It did not answer. What was to be written may have been.
    #[error("ledger unavailable: {0}")]
    Unavailable(&'static str),
    /// The payment has a row, which cannot be read. The payment may have been charged.
    #[error("ledger row unreadable")]
    Unreadable {
        /// Whose payment it is, where the row still says so.
        tenant: Option<String>,
    },
}

/// The ledger; `None`: payments are refused.
pub(super) fn open(setup: &Setup) -> Option<Arc<dyn Ledger>> {
    match &setup.mongodb {
        Some(mongodb) => Some(Arc::new(MongoLedger::new(mongodb.clone()))),
        None if setup.environment.is_development() => {
            Some(Arc::new(FileLedger::new(&setup.config.ledger_dir)))
        }
        None => None,
    }
}

impl Change {
    /// The payment after this change; `None` where it is not as the change expects.
    pub(super) fn apply(&self, payment: &Payment, now: Timestamp) -> Option<Payment> {
        if !payment.state.is_open() {
            return None;
        }
        match self {
            Self::Attach { .. } | Self::EndWithoutIntent(_) if payment.intent.is_some() => None,
            Self::Attach { intent, livemode } => Some(Payment {
                intent: Some(intent.clone()),
                livemode: *livemode,
                state: State::Confirming,
                status_since: now,
                ..payment.clone()
            }),
            Self::Move(state) if payment.state == *state => None,
            Self::Move(state) => Some(Payment {
                state: *state,
                status_since: now,
                ..payment.clone()
            }),
            Self::Look => Some(Payment {
                looked_at: Some(now),
                ..payment.clone()
            }),
            Self::End(ended) | Self::EndWithoutIntent(ended) => Some(Payment {
                state: ended.state,
                status_since: ended.status_since,
                decline_code: ended.decline_code.clone(),
                answer: ended.answer.clone(),
                ..payment.clone()
            }),
        }
    }
}

impl ChangeResult {
    /// The row as it is, changed or not.
    pub(super) fn into_payment(self) -> Payment {
        match self {
            Self::Applied(payment) | Self::Conflict(payment) => payment,
        }
    }
}

impl Queue {
    /// Whether a payment stands in it.
    fn takes(&self, payment: &Payment) -> bool {
        let is_unseen = match self.order {
            QueueOrder::Oldest => true,
            QueueOrder::LongestWaiting { looked_before } => payment
                .looked_at
                .is_none_or(|looked_at| looked_at < looked_before),
        };
        payment.state.is_open() && payment.created_at < self.created_before && is_unseen
    }

    /// What it is sorted by.
    fn rank(&self, payment: &Payment) -> Timestamp {
        match self.order {
            QueueOrder::Oldest => payment.created_at,
            QueueOrder::LongestWaiting { .. } => payment.looked_at.unwrap_or(payment.created_at),
        }
    }
}
