//! The dependencies of all work on payments.
//!
//! The functions that create payments, process events, reconcile on a schedule and serve operators share this service.

use std::sync::Arc;
use std::time::Duration;

use super::anomaly::Anomalies;
use super::ledger::{self, Ledger};
use super::provider::{self, Provider};
use super::{Payment, Setup, Timestamp};

/// The ledger and the provider of one process, and the age from which a payment is closed.
#[derive(Clone)]
pub(super) struct PaymentService {
    pub(super) ledger: Arc<dyn Ledger>,
    pub(super) provider: Arc<dyn Provider>,
    pub(super) anomalies: Anomalies,
    /// The age from which an open payment is cancelled and no longer confirmed.
    pub(super) cancel_after: Duration,
}

/// A part of a [`PaymentService`] that is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum NotConfigured {
    #[error("no ledger is configured; set MONGODB_URI")]
    Ledger,
    #[error("no provider is configured; set PAYMENT_PROVIDER, and STRIPE_API_KEY for Stripe")]
    Provider,
}

impl PaymentService {
    /// The service with the configured ledger and provider. Opens no connection.
    ///
    /// # Errors
    ///
    /// The missing parts. The error text of each part contains the settings to add.
    pub(super) fn new(setup: &Setup) -> Result<Self, Vec<NotConfigured>> {
        let (ledger, provider) = (ledger::open(setup), provider::open(setup));
        let missing = [
            ledger.is_none().then_some(NotConfigured::Ledger),
            provider.is_none().then_some(NotConfigured::Provider),
        ];
        let (Some(ledger), Some(provider)) = (ledger, provider) else {
            return Err(missing.into_iter().flatten().collect());
        };
        Ok(Self {
            ledger,
            provider,
            anomalies: Anomalies::new(setup.metrics.clone()),
            cancel_after: setup.config.cancel_after,
        })
    }

    /// The service with the configured ledger and provider; `None`: a part is missing. Calls `log` with each missing part, because only the
    /// caller knows the consequence for payments.
    pub(super) fn or_log(setup: &Setup, log: impl Fn(&NotConfigured)) -> Option<Self> {
        Self::new(setup)
            .inspect_err(|missing| missing.iter().for_each(log))
            .ok()
    }

    /// Whether the payment is old enough to be closed.
    pub(super) fn is_due_for_closing(&self, payment: &Payment) -> bool {
        is_due(payment.created_at, self.cancel_after, Timestamp::now())
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
