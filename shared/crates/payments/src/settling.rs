//! What becomes of a payment that nobody asks for any more.
//!
//! The provider is looked at, and what its intent says is written into the ledger. Nothing is confirmed: whoever wanted the
//! payment may have turned away. When it has been open for long, it is closed: cancelled at the provider where it has an
//! intent, by a compare-and-set in the ledger where it has none.

use std::sync::Arc;
use std::time::Duration;

use foundation::Deadline;

use super::anomaly::Anomalies;
use super::ledger::{self, Ledger};
use super::provider::{self, Provider};
use super::steps::{self, PaymentBackends, Purpose, Settled};
use super::{Payment, Setup, Timestamp};

/// Where payments are settled.
pub(super) struct Settling {
    pub(super) ledger: Arc<dyn Ledger>,
    provider: Arc<dyn Provider>,
    pub(super) anomalies: Anomalies,
    cancel_after: Duration,
}

impl Settling {
    /// As configured; `None` where there is no ledger or no provider. Nothing is connected.
    pub(super) fn new(setup: &Setup) -> Option<Self> {
        Some(Self {
            ledger: ledger::open(setup)?,
            provider: provider::open(setup)?,
            anomalies: Anomalies::new(setup.metrics.clone()),
            cancel_after: setup.config.cancel_after,
        })
    }

    /// Settles a payment as the ledger just had it.
    ///
    /// # Cancel safety
    ///
    /// A dropped call leaves the payment open wherever it was.
    pub(super) async fn settle(&self, payment: Payment, deadline: Deadline) -> Settled {
        let purpose = if self.is_due(&payment) {
            Purpose::Close
        } else {
            Purpose::Reconcile
        };
        let backends = PaymentBackends {
            ledger: &*self.ledger,
            provider: &*self.provider,
            anomalies: &self.anomalies,
        };
        steps::settle(backends, payment, purpose, deadline).await
    }

    /// Whether a payment has been open for so long that it is closed.
    pub(super) fn is_due(&self, payment: &Payment) -> bool {
        is_due(payment.created_at, self.cancel_after, Timestamp::now())
    }
}

/// Whether an open payment is closed at `now`, rather than confirmed.
pub(super) fn is_due(created_at: Timestamp, cancel_after: Duration, now: Timestamp) -> bool {
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
