//! The permanent record of each payment.
//!
//! The idempotency engine forgets a key after the key's retention, and the engine's store can lose a key. A payment's row stays. The row
//! has the id of the payment's intent at the provider. Once the payment has ended, the row also has the bytes of the final response.
//!
//! Each write is a compare-and-set: it is applied only if the row has the expected state. If two attempts write, the second attempt reads
//! the row that the first one wrote, and continues from there.

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

/// A store of payments.
#[async_trait]
pub(super) trait Ledger: Send + Sync {
    /// Inserts the payment if the ledger has no payment with this id. Returns the row that is then in the ledger.
    async fn open(&self, payment: &Payment, deadline: Deadline) -> Result<Payment, LedgerError>;

    /// Applies a change if the row meets the conditions of the change. Returns the row, and whether the change was
    /// applied.
    async fn change(
        &self,
        payment: &Payment,
        change: &Change,
        deadline: Deadline,
    ) -> Result<ChangeResult, LedgerError>;

    /// The payment with this id, of any tenant.
    async fn read(&self, id: &str, deadline: Deadline) -> Result<Option<Payment>, LedgerError>;

    /// The first open payments of a queue, and the ids of the unreadable rows that this query found.
    async fn open_payments(
        &self,
        queue: Queue,
        deadline: Deadline,
    ) -> Result<OpenPayments, LedgerError>;

    /// The number of open payments that were created before this time.
    async fn count_open(
        &self,
        created_before: Timestamp,
        deadline: Deadline,
    ) -> Result<u64, LedgerError>;

    /// Creates the indexes for `open_payments` and `count_open`. A repeated call is cheap.
    async fn prepare(&self, deadline: Deadline) -> Result<(), LedgerError>;
}

/// A query for open payments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Queue {
    /// The queue has only payments that were created before this time.
    pub(super) created_before: Timestamp,
    pub(super) order: QueueOrder,
    /// The largest number of payments to return.
    pub(super) limit: u32,
}

/// The order of a [`Queue`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum QueueOrder {
    /// The oldest payment comes first.
    Oldest,
    /// The payment that has waited longest comes first. Payments that the reconciler has looked at since `looked_before` are left out.
    ///
    /// The wait begins when the reconciler last looked at the payment, or when the payment was created. So every payment comes first
    /// at some time, even if other payments never end and new payments keep arriving.
    LongestWaiting {
        /// The queue has only payments that the reconciler looked at before this time, or has never looked at.
        looked_before: Timestamp,
    },
}

/// A change of a row. A change is applied only if the payment is open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// Sets the intent of a payment without an intent.
    Attach { intent: String, livemode: bool },
    /// Changes the state to another open state.
    Move(State),
    /// Records that the reconciler looked at the payment.
    Look,
    /// Ends the payment, with its final response.
    End(Box<Payment>),
    /// Ends a payment that has no intent. After that, no intent can be attached to the payment, so no intent is
    /// confirmed.
    EndWithoutIntent(Box<Payment>),
}

/// The result of [`Ledger::change`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ChangeResult {
    /// The row after this call changed it.
    Applied(Payment),
    /// The unchanged row. The row does not meet the conditions of the change. For example, an earlier call has made the same change,
    /// but the reply to that call was lost.
    Conflict(Payment),
}

/// Open payments in the ledger.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OpenPayments {
    /// The payments.
    pub payments: Vec<Payment>,
    /// The ids of rows that cannot be read. Each of these rows may be an open payment.
    pub unreadable: Vec<String>,
}

/// Why the ledger did not read or write a payment.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum LedgerError {
    /// The ledger did not answer. The value is the error code of the reason. A write may have taken effect.
    #[error("ledger unavailable: {0}")]
    Unavailable(&'static str),
    /// The payment has a row, but the row cannot be read. The payment may have been charged.
    #[error("ledger row unreadable")]
    Unreadable {
        /// The payment's tenant, if the row still has it.
        tenant: Option<String>,
    },
}

/// The configured ledger. If MongoDB is configured, the ledger is in MongoDB. Otherwise, it consists of files in
/// development, and is `None` in other environments.
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
    /// The payment after this change; `None`: the payment does not meet the conditions of the change.
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
    /// The row after the call, whether this call changed it or not.
    pub(super) fn into_payment(self) -> Payment {
        match self {
            Self::Applied(payment) | Self::Conflict(payment) => payment,
        }
    }
}

impl Queue {
    /// Whether the payment belongs to the queue.
    fn contains(&self, payment: &Payment) -> bool {
        let is_in_turn = match self.order {
            QueueOrder::Oldest => true,
            QueueOrder::LongestWaiting { looked_before } => payment
                .looked_at
                .is_none_or(|looked_at| looked_at < looked_before),
        };
        payment.state.is_open() && payment.created_at < self.created_before && is_in_turn
    }

    /// The time by which the queue is sorted.
    fn sort_key(&self, payment: &Payment) -> Timestamp {
        match self.order {
            QueueOrder::Oldest => payment.created_at,
            QueueOrder::LongestWaiting { .. } => payment.looked_at.unwrap_or(payment.created_at),
        }
    }
}
