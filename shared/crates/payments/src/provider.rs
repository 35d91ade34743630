//! Who charges.
//!
//! A provider keeps one *intent* for each payment, which is created without charging anybody and charged once, when it is
//! confirmed. Its own state machine is the fence: it takes one of two confirmations, and none after it was cancelled. So
//! what became of a payment is never guessed from an answer that did not come; it is read off its intent.

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

/// A provider's side of payments.
#[async_trait]
pub(super) trait Provider: Send + Sync {
    /// Its name in a payment.
    fn name(&self) -> &'static str;

    /// Creates an intent for a payment, unconfirmed. The same key makes the same one.
    async fn create(
        &self,
        payment: &Payment,
        key: &str,
        deadline: Deadline,
    ) -> Result<Intent, ProviderError>;

    /// Charges an intent, if it has not been.
    async fn confirm(
        &self,
        intent: &str,
        order: &Order,
        deadline: Deadline,
    ) -> Result<Intent, ProviderError>;

    /// What has become of an intent.
    async fn inspect(&self, intent: &str, deadline: Deadline) -> Result<Intent, ProviderError>;

    /// Lets an intent never be charged, if it has not been.
    async fn cancel(&self, intent: &str, deadline: Deadline) -> Result<Intent, ProviderError>;
}

/// A payment, as the provider sees it. Not `Debug`: its secret opens the payment to a browser.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Intent {
    /// The provider's name for it.
    pub(super) id: String,
    pub(super) status: IntentStatus,
    /// In minor units of ISO 4217, whatever the provider's own unit is.
    pub(super) amount: i64,
    /// ISO 4217, in lower case.
    pub(super) currency: String,
    /// Whether real money moves.
    pub(super) livemode: bool,
    /// With which a customer's browser goes on.
    pub(super) client_secret: Option<String>,
    /// What the customer has to do.
    pub(super) next_action: Option<Value>,
    /// Why it was declined last.
    pub(super) last_payment_error: Option<PaymentError>,
}

/// Why an intent was declined.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct PaymentError {
    pub(super) code: Option<String>,
    pub(super) decline_code: Option<String>,
}

/// How far an intent is, in Stripe's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum IntentStatus {
    /// It was declined, or never had a payment method.
    RequiresPaymentMethod,
    /// Nobody was charged yet.
    RequiresConfirmation,
    /// The customer has to do something first.
    RequiresAction,
    /// It will be charged, or not.
    Processing,
    /// The money is reserved and has to be taken.
    RequiresCapture,
    /// It will never be charged.
    Canceled,
    /// It was charged.
    Succeeded,
    /// A word of a later version.
    #[serde(other)]
    Other,
}

/// Why a request to the provider brought no intent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum ProviderError {
    /// Nothing was sent, or the provider says so before it does anything: no credentials, too many requests.
    #[error("have the provider do anything: {0}")]
    NotProcessed(&'static str),
    /// The provider understood and will not, however often it is asked.
    #[error("have the provider agree: {0}")]
    Rejected(&'static str),
    /// It is not known what the provider did.
    #[error("learn what the provider did: {0}")]
    OutcomeUnknown(&'static str),
}

/// The provider's intent has an amount that no payment has in its currency.
pub(super) const UNEXPECTED_AMOUNT: ProviderError =
    ProviderError::OutcomeUnknown("unexpected_amount");

/// Why an intent is not used: it is of the other mode, live or test, than is configured.
pub(super) const OTHER_LIVEMODE: &str = "other_livemode";

/// The provider has no intent of the name that it was asked for.
pub(super) const NO_SUCH_INTENT: ProviderError = ProviderError::Rejected("no_such_intent");

/// The provider; `None`: payments are refused.
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
    /// Whether it stands for this order.
    pub(super) fn is_of(&self, order: &Order) -> bool {
        self.amount == order.amount && self.currency.eq_ignore_ascii_case(&order.currency)
    }

    /// The provider's word for why it was declined, if it was.
    pub(super) fn decline_code(&self) -> Option<&str> {
        let error = self.last_payment_error.as_ref()?;
        error.decline_code.as_deref().or(error.code.as_deref())
    }
}
