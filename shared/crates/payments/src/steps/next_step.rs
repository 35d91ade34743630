//! What follows from what the provider says of an intent.

use crate::payment::{End, State};
use crate::provider::IntentStatus;

/// What an attempt is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Purpose {
    /// Somebody asks for the payment: it goes as far as it can.
    Pay,
    /// Nobody does: it is found out what has become of it. Nothing is confirmed.
    Reconcile,
    /// The same, and what nobody has confirmed by now never will be.
    Close,
}

/// What this attempt has done to the intent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LastRequest {
    None,
    /// To confirm it, and the provider would not.
    RejectedConfirmation,
    /// To confirm it, and it is not known what became of that, or it is what the status says.
    Confirmation,
    Cancellation,
}

/// What to do next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    Confirm,
    Cancel,
    End(End),
    /// Nothing more can be done now.
    Wait(State),
}

/// What follows from an intent's status and from what this attempt has tried.
pub(super) fn decide(
    purpose: Purpose,
    status: IntentStatus,
    tried: LastRequest,
    decline_code: Option<&str>,
) -> Step {
    match (status, tried) {
        (IntentStatus::Succeeded, _) => Step::End(End::Succeeded),
        (IntentStatus::Canceled, _) => Step::End(match decline_code {
            Some(code) => End::Declined(Some(code.to_owned())),
            None => End::Failed,
        }),
        (IntentStatus::RequiresAction | IntentStatus::RequiresConfirmation, LastRequest::None)
            if purpose == Purpose::Close =>
        {
            Step::Cancel
        }
        (IntentStatus::RequiresAction, _) => Step::Wait(State::RequiresAction),
        (IntentStatus::Processing, _) => Step::Wait(State::Processing),
        (IntentStatus::RequiresConfirmation, LastRequest::None) => match purpose {
            Purpose::Pay => Step::Confirm,
            Purpose::Reconcile | Purpose::Close => Step::Wait(State::Confirming),
        },
        // The provider will never take it; cancelled, no other attempt's confirmation is taken either.
        (IntentStatus::RequiresConfirmation, LastRequest::RejectedConfirmation) => Step::Cancel,
        // A declined intent can be confirmed again, by an attempt that is late: "declined" is said when it cannot.
        (
            IntentStatus::RequiresPaymentMethod,
            LastRequest::None | LastRequest::Confirmation | LastRequest::RejectedConfirmation,
        ) => Step::Cancel,
        (
            IntentStatus::RequiresConfirmation | IntentStatus::RequiresPaymentMethod,
            LastRequest::Confirmation | LastRequest::Cancellation,
        )
        | (IntentStatus::RequiresCapture | IntentStatus::Other, _) => Step::Wait(State::Unknown),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_final_but_what_the_provider_cannot_change() {
        use IntentStatus as Is;
        let declined = End::Declined(Some("generic_decline".to_owned()));
        let cases = [
            (Is::RequiresConfirmation, LastRequest::None, Step::Confirm),
            (
                Is::RequiresConfirmation,
                LastRequest::Confirmation,
                Step::Wait(State::Unknown),
            ),
            (
                Is::RequiresConfirmation,
                LastRequest::RejectedConfirmation,
                Step::Cancel,
            ),
            (
                Is::RequiresConfirmation,
                LastRequest::Cancellation,
                Step::Wait(State::Unknown),
            ),
            (
                Is::RequiresPaymentMethod,
                LastRequest::Confirmation,
                Step::Cancel,
            ),
            (
                Is::RequiresPaymentMethod,
                LastRequest::Cancellation,
                Step::Wait(State::Unknown),
            ),
            (Is::Canceled, LastRequest::Cancellation, Step::End(declined)),
            (
                Is::Succeeded,
                LastRequest::Cancellation,
                Step::End(End::Succeeded),
            ),
            (
                Is::Processing,
                LastRequest::Confirmation,
                Step::Wait(State::Processing),
            ),
            (
                Is::RequiresAction,
                LastRequest::Confirmation,
                Step::Wait(State::RequiresAction),
            ),
            (
                Is::Other,
                LastRequest::Confirmation,
                Step::Wait(State::Unknown),
            ),
        ];
        for (status, tried, expected) in cases {
            let step = decide(Purpose::Pay, status, tried, Some("generic_decline"));
            assert_eq!(step, expected, "{status:?} after {tried:?}");
        }
        let step = decide(Purpose::Pay, Is::Canceled, LastRequest::None, None);
        assert_eq!(step, Step::End(End::Failed));
    }

    #[test]
    fn settling_confirms_nothing_and_closing_cancels() {
        use IntentStatus as Is;
        let cases = [
            (
                Purpose::Reconcile,
                Is::RequiresConfirmation,
                Step::Wait(State::Confirming),
            ),
            (
                Purpose::Reconcile,
                Is::RequiresAction,
                Step::Wait(State::RequiresAction),
            ),
            (Purpose::Reconcile, Is::RequiresPaymentMethod, Step::Cancel),
            (Purpose::Reconcile, Is::Succeeded, Step::End(End::Succeeded)),
            (Purpose::Close, Is::RequiresConfirmation, Step::Cancel),
            (Purpose::Close, Is::RequiresAction, Step::Cancel),
            (
                Purpose::Close,
                Is::Processing,
                Step::Wait(State::Processing),
            ),
            (Purpose::Close, Is::Canceled, Step::End(End::Failed)),
        ];
        for (purpose, status, expected) in cases {
            let step = decide(purpose, status, LastRequest::None, None);
            assert_eq!(step, expected, "{purpose:?} {status:?}");
        }
        for status in [Is::RequiresConfirmation, Is::RequiresAction] {
            let step = decide(Purpose::Close, status, LastRequest::Cancellation, None);
            assert!(matches!(step, Step::Wait(_)), "{status:?}");
        }
    }
}
