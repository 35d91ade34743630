//! A payment, as the ledger keeps it.

use std::fmt;

use idempotency::{DerivedKey, Fingerprint};
use serde::{Deserialize, Serialize};

use super::{Order, Timestamp};

/// A row of the ledger.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Payment {
    /// `pay_` and 32 hexadecimal digits, made of the derived key: the same for every attempt.
    #[serde(rename = "_id")]
    pub id: String,
    /// Whose it is.
    pub tenant: String,
    /// The request's, in hexadecimal: another request under the same key is another payment, and refused.
    pub fingerprint: String,
    /// How far it is.
    pub state: State,
    /// What is to be paid.
    pub order: Order,
    /// Who charges.
    pub provider: String,
    /// The provider's name for it, from when it has one.
    pub intent: Option<String>,
    /// Whether real money moves.
    pub livemode: bool,
    /// The provider's code for why it was declined. The payer may see a more general one.
    pub decline_code: Option<String>,
    /// When it was first heard of.
    pub created_at: Timestamp,
    /// Since when the state is what it is.
    pub status_since: Timestamp,
    /// When it was last looked at to be settled, by nobody's request.
    pub looked_at: Option<Timestamp>,
    /// What everybody is answered once the state is final: the body, byte for byte.
    pub answer: Option<String>,
}

/// How far a payment is. Only the last three are final.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// The provider has not named it yet.
    Created,
    /// The provider has named it, and it may have been told to charge.
    Confirming,
    /// The customer has to do something.
    RequiresAction,
    /// The provider is at it.
    Processing,
    /// It is not known whether it was charged.
    Unknown,
    /// It was charged.
    Succeeded,
    /// The provider declined it, and it can no longer be charged.
    Declined,
    /// It was not charged, and no longer can be.
    Failed,
}

/// What ends a payment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// It was charged.
    Succeeded,
    /// It was declined, with the provider's word for why.
    Declined(Option<String>),
    /// It can no longer be charged.
    Failed,
}

impl Payment {
    /// A payment that nothing has been done for.
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

    /// What `text` has to be to be an id.
    pub fn is_id(text: &str) -> bool {
        is_id(text)
    }
}

/// A person's purchase is not for the log.
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
    /// The states from which a payment can still go anywhere.
    pub const OPEN: [Self; 5] = [
        Self::Created,
        Self::Confirming,
        Self::RequiresAction,
        Self::Processing,
        Self::Unknown,
    ];

    /// The states in which a payment has ended.
    pub const FINAL: [Self; 3] = [Self::Succeeded, Self::Declined, Self::Failed];

    /// Whether it can still go anywhere.
    pub fn is_open(self) -> bool {
        Self::OPEN.contains(&self)
    }

    /// The word for it.
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

/// The id of the payment that a derived key stands for.
pub(super) fn id_of(key: &DerivedKey) -> String {
    let digits = key.step("payment id");
    format!("pay_{}", &digits.as_str()[..32])
}

/// Whether a text can be an id.
pub(super) fn is_id(text: &str) -> bool {
    text.strip_prefix("pay_").is_some_and(|digits| {
        digits.len() == 32
            && digits
                .bytes()
                .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    })
}
