//! Charges and intents at the provider that contradict the ledger.
//!
//! Our own steps never cause an anomaly, so an operator has to look at each anomaly. Each anomaly is logged and counted. There is an alarm
//! for each kind, and the runbook describes the remedy. The ledger is not changed.

use telemetry::metrics::{Metric, Metrics, Unit};
use tracing::error;

/// How a charge or an intent contradicts the ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Anomaly {
    /// In the ledger, the payment ended as not charged, but its intent was charged later.
    ChargedAfterFailed,
    /// An intent was charged, but the payment's row has another intent, or no intent.
    ChargedIntentUnnamed,
    /// An intent was charged, but its payment has no row.
    ChargedWithoutRow,
    /// The amount or the currency of the intent differs from the payment.
    AmountMismatch,
    /// The mode (live or test) of the intent or of the API key is not the mode that `PAYMENT_LIVEMODE` sets.
    LivemodeMismatch,
}

/// Reports anomalies to the log and the metrics.
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
                "the customer was charged after the payment ended as not charged; refund the intent; see docs/runbook.md, Payment anomalies"
            }
            Self::ChargedIntentUnnamed => {
                "the customer was charged by an intent that the ledger does not name; refund that intent; see docs/runbook.md, Payment anomalies"
            }
            Self::ChargedWithoutRow => {
                "the customer was charged for a payment that is not in the ledger; restore the row or refund the intent; see docs/runbook.md, Payment anomalies"
            }
            Self::AmountMismatch => {
                "the intent has another amount or currency than its payment; this backend does not confirm the intent; see docs/runbook.md, Payment anomalies"
            }
            Self::LivemodeMismatch => {
                "the provider's mode, live or test, is not PAYMENT_LIVEMODE; nothing is confirmed; correct the API key or PAYMENT_LIVEMODE; see docs/runbook.md, Payment anomalies"
            }
        }
    }
}
