//! The result that an operator gets about the provider after reconciling a payment.

use parking_lot::Mutex;

use super::provider::{Intent, IntentStatus, NO_SUCH_INTENT, ProviderError};

/// What reconciling a payment found at the provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProviderFinding {
    /// The payment had already ended, so no request was sent to the provider.
    AlreadyEnded,
    /// The ledger has no intent for the payment, so the provider cannot have charged anything.
    NoIntent,
    /// The provider has the intent. The value is the provider's name for the status of the intent.
    Intent(&'static str),
    /// The amount or the currency of the intent differs from the payment.
    AmountMismatch,
    /// The provider does not have the intent whose id is in the ledger. The API key may belong to another account or
    /// mode.
    NoSuchIntent,
    /// The provider gave no usable answer. The value is the error code of the reason.
    Unreachable(&'static str),
}

/// What one attempt has found at the provider so far, and whether the ledger acknowledged the attempt's writes.
pub(super) struct Findings {
    latest: Mutex<ProviderFinding>,
    is_recorded: Mutex<bool>,
}

impl Findings {
    pub(super) fn none() -> Self {
        Self {
            latest: Mutex::new(ProviderFinding::NoIntent),
            is_recorded: Mutex::new(true),
        }
    }

    /// Notes the result of an inspection: the intent, or the provider's error.
    pub(super) fn note(&self, inspected: Result<&Intent, &ProviderError>) {
        *self.latest.lock() = match inspected {
            Ok(intent) => ProviderFinding::Intent(intent.status.name()),
            Err(&NO_SUCH_INTENT) => ProviderFinding::NoSuchIntent,
            Err(error) => ProviderFinding::Unreachable(error.code()),
        };
    }

    /// Notes that the amount or the currency of the intent differs from the payment.
    pub(super) fn note_amount_mismatch(&self) {
        *self.latest.lock() = ProviderFinding::AmountMismatch;
    }

    /// Notes that the ledger did not acknowledge a write.
    pub(super) fn note_unrecorded(&self) {
        *self.is_recorded.lock() = false;
    }

    pub(super) fn latest(&self) -> ProviderFinding {
        *self.latest.lock()
    }

    /// Whether the ledger acknowledged every write.
    pub(super) fn is_recorded(&self) -> bool {
        *self.is_recorded.lock()
    }
}

impl ProviderError {
    /// The stable code of the error's reason.
    pub(super) fn code(self) -> &'static str {
        match self {
            Self::NotProcessed(code) | Self::Rejected(code) | Self::OutcomeUnknown(code) => code,
        }
    }
}

impl IntentStatus {
    /// Stripe's name for the status.
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
