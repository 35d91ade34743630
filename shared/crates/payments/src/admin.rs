//! What a person at a terminal may ask of payments, whosever they are.

use std::sync::Arc;

use foundation::Deadline;

use super::ledger::{self, Ledger, LedgerError, Queue, QueueOrder};
use super::settling::Settling;
use super::{OpenPayments, Payment, ProviderFinding, Setup, Timestamp};

/// Where an operator asks.
pub struct PaymentAdmin {
    ledger: Option<Arc<dyn Ledger>>,
    settling: Option<Settling>,
}

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PaymentAdminError {
    /// There is no ledger to ask.
    #[error("open the ledger: set MONGODB_URI")]
    NoLedger,
    /// There is no provider to ask.
    #[error("ask the provider: set PAYMENT_PROVIDER, and STRIPE_API_KEY for Stripe")]
    NoProvider,
    /// The ledger did not answer, for the reason with this code.
    #[error("reach the ledger: {0}")]
    Unavailable(&'static str),
    /// The payment has a row, which cannot be read.
    #[error(
        "read the payment: it has a row in the ledger, and the row is damaged; see docs/runbook.md, Unreadable payments"
    )]
    Unreadable,
}

impl PaymentAdmin {
    /// As configured. Nothing is connected, and nothing here fails.
    pub fn new(setup: &Setup) -> Self {
        Self {
            ledger: ledger::open(setup),
            settling: Settling::new(setup),
        }
    }

    /// The oldest open payments, at most `limit`, and the rows that cannot be read among those older than them.
    ///
    /// # Errors
    ///
    /// [`PaymentAdminError`] when the ledger did not say.
    pub async fn open(
        &self,
        limit: u32,
        deadline: Deadline,
    ) -> Result<OpenPayments, PaymentAdminError> {
        let queue = Queue {
            created_before: Timestamp::FAR,
            order: QueueOrder::Oldest,
            limit,
        };
        let open = self.ledger()?.open_payments(queue, deadline);
        Ok(open.await?)
    }

    /// A payment; `None` where there is none.
    ///
    /// # Errors
    ///
    /// [`PaymentAdminError`] when the ledger did not say, or the payment's row cannot be read.
    pub async fn find(
        &self,
        id: &str,
        deadline: Deadline,
    ) -> Result<Option<Payment>, PaymentAdminError> {
        let found = self.ledger()?.read(id, deadline);
        Ok(found.await?)
    }

    /// Asks the provider what has become of a payment that it has named, and writes it into the ledger, as `payments-reconcile`
    /// does: nothing is confirmed, and only what is due is closed. The payment as it then is, and what was found; `None` where there
    /// is none.
    ///
    /// # Errors
    ///
    /// [`PaymentAdminError`] when the ledger did not say, or no provider can be asked.
    ///
    /// # Cancel safety
    ///
    /// A dropped call leaves the payment wherever it was.
    pub async fn settle(
        &self,
        id: &str,
        deadline: Deadline,
    ) -> Result<Option<(Payment, ProviderFinding)>, PaymentAdminError> {
        let Some(payment) = self.find(id, deadline).await? else {
            return Ok(None);
        };
        let settling = self
            .settling
            .as_ref()
            .ok_or(PaymentAdminError::NoProvider)?;
        let settled = settling.settle(payment, deadline).await;
        if !settled.is_acknowledged {
            return Err(PaymentAdminError::Unavailable("not_acknowledged"));
        }
        Ok(Some((settled.payment, settled.found)))
    }

    fn ledger(&self) -> Result<&dyn Ledger, PaymentAdminError> {
        self.ledger.as_deref().ok_or(PaymentAdminError::NoLedger)
    }
}

impl From<LedgerError> for PaymentAdminError {
    fn from(error: LedgerError) -> Self {
        match error {
            LedgerError::Unavailable(code) => Self::Unavailable(code),
            LedgerError::Unreadable { .. } => Self::Unreadable,
        }
    }
}
