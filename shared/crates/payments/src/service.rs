//! The dependencies of work on payments, bundled once.
//!
//! The functions that create payments, process events, reconcile on a schedule and serve operators share this service. It also
//! decides in one place whether a run on a payment may still confirm it, or closes it because it is too old.

use std::sync::Arc;
use std::time::Duration;

use foundation::Deadline;
use idempotency::DerivedKey;

use super::anomaly::Anomalies;
use super::ledger::{self, Ledger};
use super::provider::{self, Provider};
use super::steps::{Attempt, AttemptOutcome, ConcurrentAttempt, Purpose, Reconciliation};
use super::{Payment, Setup, Timestamp};

/// The ledger and the provider of one process, and the age at which a payment is closed.
#[derive(Clone)]
pub(super) struct PaymentService {
    pub(super) ledger: Arc<dyn Ledger>,
    pub(super) provider: Arc<dyn Provider>,
    pub(super) anomalies: Anomalies,
    /// An open payment of this age is cancelled and no longer confirmed.
    pub(super) cancel_after: Duration,
}

/// Why there is no [`PaymentService`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum NotConfigured {
    #[error("no ledger is configured; set MONGODB_URI")]
    Ledger,
    #[error("no provider is configured; set PAYMENT_PROVIDER, and STRIPE_API_KEY for Stripe")]
    Provider,
}

impl PaymentService {
    /// The service as configured. Opens no connection.
    ///
    /// # Errors
    ///
    /// [`NotConfigured`] names the settings to add.
    pub(super) fn new(setup: &Setup) -> Result<Self, NotConfigured> {
        Ok(Self {
            ledger: ledger::open(setup).ok_or(NotConfigured::Ledger)?,
            provider: provider::open(setup).ok_or(NotConfigured::Provider)?,
            anomalies: Anomalies::new(setup.metrics.clone()),
            cancel_after: setup.config.cancel_after,
        })
    }

    /// Takes a client's payment as far as it goes: confirms it, or closes it if it is due for closing.
    ///
    /// # Cancel safety
    ///
    /// A dropped call leaves the payment open; the next attempt continues from the ledger's row.
    pub(super) async fn pay(
        &self,
        payment: Payment,
        key: &DerivedKey,
        concurrent: ConcurrentAttempt,
        deadline: Deadline,
    ) -> AttemptOutcome {
        let purpose = self.purpose(&payment, Purpose::Pay);
        let attempt = Attempt::new(self, purpose, concurrent, deadline);
        attempt.pay(payment, key).await
    }

    /// Reads the payment's intent at the provider and records its state. Closes the payment if it is due for closing.
    ///
    /// Reconciling never confirms: the customer may have given up the purchase.
    ///
    /// # Cancel safety
    ///
    /// A dropped call leaves the payment open.
    pub(super) async fn reconcile(&self, payment: Payment, deadline: Deadline) -> Reconciliation {
        let purpose = self.purpose(&payment, Purpose::Reconcile);
        // The attempt that opened the payment may still run.
        let attempt = Attempt::new(self, purpose, ConcurrentAttempt::Possible, deadline);
        attempt.reconcile(payment).await
    }

    /// Whether the payment is old enough to be closed.
    pub(super) fn is_due_for_closing(&self, payment: &Payment) -> bool {
        is_due(payment.created_at, self.cancel_after, Timestamp::now())
    }

    /// The purpose of a run on this payment; `requested` applies until the payment is due for closing.
    fn purpose(&self, payment: &Payment, requested: Purpose) -> Purpose {
        if self.is_due_for_closing(payment) {
            Purpose::Close
        } else {
            requested
        }
    }
}

fn is_due(created_at: Timestamp, cancel_after: Duration, now: Timestamp) -> bool {
    created_at.age(now) >= cancel_after
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payment_is_closed_once_it_is_as_old_as_configured() {
        let after = Duration::from_secs(60);
        for (age_ms, expected) in [(0, false), (59_999, false), (60_000, true), (60_001, true)] {
            let now = Timestamp::EPOCH.after(Duration::from_millis(age_ms));
            assert_eq!(
                is_due(Timestamp::EPOCH, after, now),
                expected,
                "{age_ms} ms"
            );
        }
    }
}
