//! An operator's access to the payments of all tenants.

use std::sync::Arc;

use foundation::Deadline;

use super::ledger::{self, Ledger, LedgerError, Queue, QueueOrder};
use super::service::PaymentService;
use super::{OpenPayments, Payment, ProviderFinding, Setup, Timestamp};

/// Lists, shows and reconciles payments for an operator.
pub struct PaymentAdmin {
    /// The ledger; `None`: no ledger is configured. Listing and showing payments needs a ledger, but no provider.
    ledger: Option<Arc<dyn Ledger>>,
    /// The service that reconciles payments; `None`: no ledger or no provider is configured.
    service: Option<PaymentService>,
}

/// Why an operator's request failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PaymentAdminError {
    /// No ledger is configured.
    #[error("no ledger is configured; set MONGODB_URI")]
    NoLedger,
    /// No provider is configured.
    #[error("no provider is configured; set PAYMENT_PROVIDER, and STRIPE_API_KEY for Stripe")]
    NoProvider,
    /// The ledger did not answer. The value is the error code of the reason.
    #[error("ledger unavailable: {0}")]
    Unavailable(&'static str),
    /// The payment has a row, but the row cannot be read.
    #[error(
        "the ledger row of the payment is damaged; the payment may have been charged; see docs/runbook.md, Unreadable payments"
    )]
    Unreadable,
}

impl PaymentAdmin {
    /// An operator's access, with the configured ledger and provider. Opens no connection.
    pub fn new(setup: &Setup) -> Self {
        Self {
            ledger: ledger::open(setup),
            service: PaymentService::new(setup).ok(),
        }
    }

    /// The oldest open payments, at most `limit`, and the unreadable rows that this query found.
    ///
    /// # Errors
    ///
    /// [`PaymentAdminError`] when no ledger is configured, or the ledger does not answer.
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

    /// The payment with this id, if there is one.
    ///
    /// # Errors
    ///
    /// [`PaymentAdminError`] when the ledger does not answer, or the payment's row cannot be read.
    pub async fn find(
        &self,
        id: &str,
        deadline: Deadline,
    ) -> Result<Option<Payment>, PaymentAdminError> {
        let found = self.ledger()?.read(id, deadline);
        Ok(found.await?)
    }

    /// Reconciles one payment now, in the same way as a scheduled run of `payments-reconcile`. This call confirms no intent. It closes the
    /// payment only if the payment is due for closing. Returns the reconciled payment and what was found at the provider; `None`: there is
    /// no such payment.
    ///
    /// # Errors
    ///
    /// [`PaymentAdminError`] when the ledger does not answer, or no provider is configured.
    ///
    /// # Cancel safety
    ///
    /// A dropped call leaves the payment open.
    pub async fn reconcile(
        &self,
        id: &str,
        deadline: Deadline,
    ) -> Result<Option<(Payment, ProviderFinding)>, PaymentAdminError> {
        let Some(payment) = self.find(id, deadline).await? else {
            return Ok(None);
        };
        let service = self.service.as_ref().ok_or(PaymentAdminError::NoProvider)?;
        let reconciled = service.reconcile(payment, deadline).await;
        if !reconciled.is_recorded {
            return Err(PaymentAdminError::Unavailable("not_acknowledged"));
        }
        Ok(Some((reconciled.payment, reconciled.finding)))
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
