//! The payment provider, which charges the customer.
//!
//! A provider keeps one *payment intent* per payment. Creating the intent charges nothing; confirming it charges once. The states of the
//! intent prevent a second charge: the intent accepts only one confirmation. After a cancellation, the intent accepts no confirmation.
//!
//! If the reply to a request is lost, the outcome is read from the intent's status.

mod sandbox;
mod stripe;

use std::sync::Arc;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use serde_json::Value;

pub(super) use sandbox::Sandbox;
pub(super) use stripe::Stripe;
#[cfg(test)]
pub(super) use stripe::read as read_stripe;

use foundation::Deadline;

use super::{Order, Payment, ProviderConfig, Setup};

/// A payment provider.
#[async_trait]
pub(super) trait Provider: Send + Sync {
    /// The provider's name in the ledger and in responses.
    fn name(&self) -> &'static str;

    /// Creates an unconfirmed intent for a payment. A repeated call with the same key returns the same intent.
    async fn create(
        &self,
        payment: &Payment,
        key: &str,
        deadline: Deadline,
    ) -> Result<Intent, ProviderError>;

    /// Confirms an intent, which charges the customer. A charged or cancelled intent rejects the confirmation.
    async fn confirm(
        &self,
        intent: &str,
        order: &Order,
        deadline: Deadline,
    ) -> Result<Intent, ProviderError>;

    /// Reads an intent.
    async fn inspect(&self, intent: &str, deadline: Deadline) -> Result<Intent, ProviderError>;

    /// Cancels an intent, so that it can never be charged. A charged intent rejects the cancellation.
    async fn cancel(&self, intent: &str, deadline: Deadline) -> Result<Intent, ProviderError>;
}

/// A payment at the provider. This type has no `Debug`, because the intent's secret gives a browser access to the
/// payment.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Intent {
    /// The provider's id of the intent.
    pub(super) id: String,
    pub(super) status: IntentStatus,
    /// The amount in minor units of ISO 4217, even if the provider counts in another unit.
    pub(super) amount: i64,
    /// The ISO 4217 code in lower case.
    pub(super) currency: String,
    /// Whether real money moves (live mode) or not (test mode).
    pub(super) livemode: bool,
    /// The secret that the customer's browser needs to continue the payment.
    pub(super) client_secret: Option<String>,
    /// What the customer has to do, in the form that the customer's browser needs.
    pub(super) next_action: Option<Value>,
    /// Why the provider last declined the intent; `None`: the provider has not declined the intent.
    pub(super) last_payment_error: Option<PaymentError>,
}

/// Why the provider declined an intent.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct PaymentError {
    pub(super) code: Option<String>,
    pub(super) decline_code: Option<String>,
}

/// The status of an intent, with Stripe's names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum IntentStatus {
    /// The provider declined the intent, or the intent never had a payment method.
    RequiresPaymentMethod,
    /// No confirmation has reached the intent yet.
    RequiresConfirmation,
    /// The customer has to act, for example to authenticate with 3-D Secure.
    RequiresAction,
    /// The charge is in progress and may still fail.
    Processing,
    /// The amount is authorised but not captured. This backend creates no such intents.
    RequiresCapture,
    /// The intent can never be charged.
    Canceled,
    /// The customer was charged.
    Succeeded,
    /// Any other status.
    #[serde(other)]
    Other,
}

/// Why the provider returned no intent. Each variant has a code of the reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum ProviderError {
    /// The request had no effect. The request was not sent, or the provider refused it before processing (credentials,
    /// rate limit).
    #[error("provider did not process the request: {0}")]
    NotProcessed(&'static str),
    /// The provider processed the request and rejected it. The provider would also reject each repetition of the
    /// request.
    #[error("provider rejected the request: {0}")]
    Rejected(&'static str),
    /// The request may have taken effect.
    #[error("provider outcome unknown: {0}")]
    OutcomeUnknown(&'static str),
}

/// The error for an intent whose amount is not possible in the intent's currency.
pub(super) const UNEXPECTED_AMOUNT: ProviderError =
    ProviderError::OutcomeUnknown("unexpected_amount");

/// The error code if the mode (live or test) of an intent or of the API key is not the configured mode.
pub(super) const OTHER_LIVEMODE: &str = "other_livemode";

/// The error if the provider has no intent with the requested id.
pub(super) const NO_SUCH_INTENT: ProviderError = ProviderError::Rejected("no_such_intent");

/// The configured provider; `None`: no provider is configured, or its settings are unusable.
pub(super) fn open(setup: &Setup) -> Option<Arc<dyn Provider>> {
    match &setup.config.provider {
        ProviderConfig::Sandbox => Some(Arc::new(Sandbox::new(&setup.config.ledger_dir))),
        ProviderConfig::Stripe {
            api_key: Some(api_key),
            api_base,
        } => Some(Arc::new(Stripe::new(api_key, api_base, setup)?)),
        ProviderConfig::Stripe { api_key: None, .. } | ProviderConfig::Missing => None,
    }
}

impl Intent {
    /// Whether the intent has the amount and currency of this order.
    pub(super) fn is_of(&self, order: &Order) -> bool {
        self.amount == order.amount && self.currency.eq_ignore_ascii_case(&order.currency)
    }

    /// The provider's code of the last decline, if there was one.
    pub(super) fn decline_code(&self) -> Option<&str> {
        let error = self.last_payment_error.as_ref()?;
        error.decline_code.as_deref().or(error.code.as_deref())
    }
}
