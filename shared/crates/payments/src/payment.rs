//! A payment in the ledger.

use std::fmt;

use idempotency::{DerivedKey, Fingerprint};
use serde::{Deserialize, Serialize};

use super::{Order, Timestamp};

/// A row of the ledger.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Payment {
    /// The id: `pay_` and 32 hexadecimal digits. It is derived from the idempotency key, so every attempt computes the
    /// same id.
    #[serde(rename = "_id")]
    pub id: String,
    /// The tenant that the payment belongs to.
    pub tenant: String,
    /// The fingerprint of the client's request, in hexadecimal. Another request with the same key is refused.
    pub fingerprint: String,
    /// The state of the payment.
    pub state: State,
    /// What the client ordered.
    pub order: Order,
    /// The name of the provider.
    pub provider: String,
    /// The id of the payment intent at the provider; `None`: no intent is attached yet.
    pub intent: Option<String>,
    /// Whether real money moves (live mode) or not (test mode).
    pub livemode: bool,
    /// The provider's decline code. The payer may see a more general code.
    pub decline_code: Option<String>,
    /// When the first attempt opened the payment.
    pub created_at: Timestamp,
    /// When the state last changed.
    pub status_since: Timestamp,
    /// When the reconciler last looked at the payment.
    pub looked_at: Option<Timestamp>,
    /// The body of the final response, byte for byte; `None`: the payment is open.
    pub answer: Option<String>,
}

/// The state of a payment. `Succeeded`, `Declined` and `Failed` are final; the other states are open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// The payment has no intent yet, so nothing was charged.
    Created,
    /// The payment has an intent, and a confirmation may have been sent.
    Confirming,
    /// The customer has to act.
    RequiresAction,
    /// The provider is processing the charge.
    Processing,
    /// The customer may have been charged.
    Unknown,
    /// The customer was charged.
    Succeeded,
    /// The provider declined the payment, and the payment can no longer be charged.
    Declined,
    /// The payment was not charged, and can no longer be charged.
    Failed,
}

/// How a payment ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// The customer was charged.
    Succeeded,
    /// The provider declined the payment. Contains the provider's decline code, if there is one.
    Declined(Option<String>),
    /// The payment can no longer be charged.
    Failed,
}

impl Payment {
    /// A new payment, before any request to the provider.
    pub fn new(
        key: &DerivedKey,
        tenant: &str,
        fingerprint: &Fingerprint,
        order: Order,
        provider: &str,
        now: Timestamp,
    ) -> Self {
        Self {
            id: id_of(key),
            tenant: tenant.to_owned(),
            fingerprint: fingerprint.to_string(),
            state: State::Created,
            order,
            provider: provider.to_owned(),
            intent: None,
            livemode: false,
            decline_code: None,
            created_at: now,
            status_since: now,
            looked_at: None,
            answer: None,
        }
    }

    /// Whether `text` has the form of a payment id.
    pub fn is_id(text: &str) -> bool {
        is_id(text)
    }
}

/// Does not show the order, so that a person's purchase does not reach a log.
impl fmt::Debug for Payment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Payment")
            .field("id", &self.id)
            .field("state", &self.state)
            .field("intent", &self.intent)
            .finish_non_exhaustive()
    }
}

impl State {
    /// The states that can still change.
    pub const OPEN: [Self; 5] = [
        Self::Created,
        Self::Confirming,
        Self::RequiresAction,
        Self::Processing,
        Self::Unknown,
    ];

    /// The states that never change.
    pub const FINAL: [Self; 3] = [Self::Succeeded, Self::Declined, Self::Failed];

    /// Whether the state can still change.
    pub fn is_open(self) -> bool {
        Self::OPEN.contains(&self)
    }

    /// The state's name in the ledger and in responses.
    pub fn name(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Confirming => "confirming",
            Self::RequiresAction => "requires_action",
            Self::Processing => "processing",
            Self::Unknown => "unknown",
            Self::Succeeded => "succeeded",
            Self::Declined => "declined",
            Self::Failed => "failed",
        }
    }
}

/// The id of the payment that belongs to a derived key.
pub(super) fn id_of(key: &DerivedKey) -> String {
    let digits = key.step("payment id");
    format!("pay_{}", &digits.as_str()[..32])
}

/// Whether a text has the form of a payment id.
pub(super) fn is_id(text: &str) -> bool {
    text.strip_prefix("pay_").is_some_and(|digits| {
        digits.len() == 32
            && digits
                .bytes()
                .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    })
}
