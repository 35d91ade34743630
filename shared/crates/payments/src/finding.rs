//! What settling a payment found at the provider.

use parking_lot::Mutex;

use super::provider::{Intent, IntentStatus, NO_SUCH_INTENT, ProviderError};

/// What settling a payment found at the provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProviderFinding {
    /// The payment had ended already: the provider was not asked.
    AlreadyEnded,
    /// The ledger names no intent, so the provider cannot have charged anything.
    NoIntent,
    /// The provider has the intent, in this status, in the provider's words.
    Intent(&'static str),
    /// The provider has the intent, and it is for another amount or currency than the payment.
    AmountMismatch,
    /// The provider has no intent of the name that the ledger has. A key of another account or mode looks like that too.
    NoSuchIntent,
    /// The provider did not say, for the reason with this code.
    Unreachable(&'static str),
}

/// What one attempt has found so far, and whether the ledger has it.
pub(super) struct Findings {
    found: Mutex<ProviderFinding>,
    is_acknowledged: Mutex<bool>,
}

impl Findings {
    pub(super) fn none() -> Self {
        Self {
            found: Mutex::new(ProviderFinding::NoIntent),
            is_acknowledged: Mutex::new(true),
        }
    }

    /// What the provider answered to a look at the intent.
    pub(super) fn note(&self, inspected: Result<&Intent, &ProviderError>) {
        *self.found.lock() = match inspected {
            Ok(intent) => ProviderFinding::Intent(intent.status.name()),
            Err(&NO_SUCH_INTENT) => ProviderFinding::NoSuchIntent,
            Err(failure) => ProviderFinding::Unreachable(failure.code()),
        };
    }

    /// The intent is for another amount or currency than the payment.
    pub(super) fn note_amount_mismatch(&self) {
        *self.found.lock() = ProviderFinding::AmountMismatch;
    }

    /// The ledger did not acknowledge what followed.
    pub(super) fn note_unacknowledged(&self) {
        *self.is_acknowledged.lock() = false;
    }

    pub(super) fn found(&self) -> ProviderFinding {
        *self.found.lock()
    }

    pub(super) fn is_acknowledged(&self) -> bool {
        *self.is_acknowledged.lock()
    }
}

impl ProviderError {
    /// The stable word for the reason.
    pub(super) fn code(self) -> &'static str {
        match self {
            Self::NotProcessed(code) | Self::Rejected(code) | Self::OutcomeUnknown(code) => code,
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
