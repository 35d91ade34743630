//! Charges and intents that contradict the ledger.
//!
//! None of the steps of a payment leads to one, so each is for an operator to look at: it is logged and counted where it is
//! found, an alarm watches each kind, and the runbook says what to do. The ledger keeps what it says.

use telemetry::metrics::{Metric, Metrics, Unit};
use tracing::error;

/// How a charge or an intent contradicts the ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Anomaly {
    /// The client was answered that the payment is not charged.
    ChargedAfterFailed,
    /// The payment's row names another intent, or none.
    ChargedIntentUnnamed,
    /// The payment has no row.
    ChargedWithoutRow,
    /// The intent has another amount or currency than its payment.
    AmountMismatch,
    /// The intent is of the other mode, live or test, than `PAYMENT_LIVEMODE` says.
    LivemodeMismatch,
}

/// Where anomalies are reported.
#[derive(Clone, Debug)]
pub(super) struct Anomalies {
    metrics: Metrics,
}

impl Anomalies {
    pub(super) fn new(metrics: Metrics) -> Self {
        Self { metrics }
    }

    /// Logs and counts an anomaly of a payment.
    pub(super) fn report(&self, anomaly: Anomaly, payment_id: &str, intent: Option<&str>) {
        error!(
            payment.id = payment_id,
            payment.anomaly = anomaly.name(),
            stripe.intent = intent,
            "{}",
            anomaly.message()
        );
        let found = Metric {
            name: "PaymentAnomalies",
            unit: Unit::Count,
            value: 1.0,
        };
        self.metrics.record(("anomaly", anomaly.name()), &[found]);
    }
}

impl Anomaly {
    fn name(self) -> &'static str {
        match self {
            Self::ChargedAfterFailed => "charged_after_failed",
            Self::ChargedIntentUnnamed => "charged_intent_unnamed",
            Self::ChargedWithoutRow => "charged_without_row",
            Self::AmountMismatch => "amount_mismatch",
            Self::LivemodeMismatch => "livemode_mismatch",
        }
    }

    fn message(self) -> &'static str {
        match self {
            Self::ChargedAfterFailed => {
                "an intent was charged whose payment was reported as not charged"
            }
            Self::ChargedIntentUnnamed => "an intent was charged that the ledger does not name",
            Self::ChargedWithoutRow => "an intent was charged whose payment is not in the ledger",
            Self::AmountMismatch => {
                "the provider's intent has another amount or currency than its payment"
            }
            Self::LivemodeMismatch => {
                "the provider's intent is of the other mode, live or test, than PAYMENT_LIVEMODE says"
            }
        }
    }
}
