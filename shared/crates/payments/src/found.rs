//! What settling a payment found at the provider.

use parking_lot::Mutex;

use super::provider::{Failure, Intent, IntentStatus, NO_SUCH_INTENT};

/// What settling a payment found at the provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// The payment had ended already: the provider was not asked.
    Ended,
    /// The ledger names no intent, so the provider cannot have charged anything.
    NoIntent,
    /// The provider has the intent, in this status, in the provider's words.
    Intent(&'static str),
    /// The provider has the intent, and it is for another amount or currency than the payment.
    OtherAmount,
    /// The provider has no intent of the name that the ledger has. A key of another account or mode looks like that too.
    NoSuchIntent,
    /// The provider did not say, for the reason with this code.
    Unreachable(&'static str),
}

/// What one attempt has found so far, and whether the ledger has it.
pub(super) struct Findings {
    found: Mutex<Found>,
    is_acknowledged: Mutex<bool>,
}

impl Findings {
    pub(super) fn none() -> Self {
        Self {
            found: Mutex::new(Found::NoIntent),
            is_acknowledged: Mutex::new(true),
        }
    }

    /// What the provider answered to a look at the intent.
    pub(super) fn note(&self, inspected: Result<&Intent, &Failure>) {
        *self.found.lock() = match inspected {
            Ok(intent) => Found::Intent(intent.status.name()),
            Err(&NO_SUCH_INTENT) => Found::NoSuchIntent,
            Err(failure) => Found::Unreachable(failure.code()),
        };
    }

    /// The intent is for another amount or currency than the payment.
    pub(super) fn note_other_amount(&self) {
        *self.found.lock() = Found::OtherAmount;
    }

    /// The ledger did not acknowledge what followed.
    pub(super) fn note_unacknowledged(&self) {
        *self.is_acknowledged.lock() = false;
    }

    pub(super) fn found(&self) -> Found {
        *self.found.lock()
    }

    pub(super) fn is_acknowledged(&self) -> bool {
        *self.is_acknowledged.lock()
    }
}

impl Failure {
    /// The stable word for the reason.
    pub(super) fn code(self) -> &'static str {
        match self {
            Self::NothingDone(code) | Self::Refused(code) | Self::Unclear(code) => code,
        }
    }
}

impl IntentStatus {
    /// Stripe's word for it.
    fn name(self) -> &'static str {
        match self {
            Self::RequiresPaymentMethod => "requires_payment_method",
            Self::RequiresConfirmation => "requires_confirmation",
            Self::RequiresAction => "requires_action",
            Self::Processing => "processing",
            Self::RequiresCapture => "requires_capture",
            Self::Canceled => "canceled",
            Self::Succeeded => "succeeded",
            Self::Other => "a status of a later version",
        }
    }
}
