//! What follows from what the provider says of an intent.

use crate::payment::{End, State};
use crate::provider::IntentStatus;

/// What an attempt is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Purpose {
    /// Somebody asks for the payment: it goes as far as it can.
    Pay,
    /// Nobody does: it is found out what has become of it. Nothing is confirmed.
    Settle,
    /// The same, and what nobody has confirmed by now never will be.
    Close,
}

/// What this attempt has done to the intent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tried {
    Nothing,
    /// To confirm it, and the provider would not.
    RefusedConfirmation,
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
    tried: Tried,
    decline_code: Option<&str>,
) -> Step {
    match (status, tried) {
        (IntentStatus::Succeeded, _) => Step::End(End::Succeeded),
        (IntentStatus::Canceled, _) => Step::End(match decline_code {
            Some(code) => End::Declined(Some(code.to_owned())),
            None => End::Failed,
        }),
        (IntentStatus::RequiresAction | IntentStatus::RequiresConfirmation, Tried::Nothing)
            if purpose == Purpose::Close =>
        {
            Step::Cancel
        }
        (IntentStatus::RequiresAction, _) => Step::Wait(State::RequiresAction),
        (IntentStatus::Processing, _) => Step::Wait(State::Processing),
        (IntentStatus::RequiresConfirmation, Tried::Nothing) => match purpose {
            Purpose::Pay => Step::Confirm,
            Purpose::Settle | Purpose::Close => Step::Wait(State::Confirming),
        },
        // The provider will never take it; cancelled, no other attempt's confirmation is taken either.
        (IntentStatus::RequiresConfirmation, Tried::RefusedConfirmation) => Step::Cancel,
        // A declined intent can be confirmed again, by an attempt that is late: "declined" is said when it cannot.
        (
            IntentStatus::RequiresPaymentMethod,
            Tried::Nothing | Tried::Confirmation | Tried::RefusedConfirmation,
        ) => Step::Cancel,
        (
            IntentStatus::RequiresConfirmation | IntentStatus::RequiresPaymentMethod,
            Tried::Confirmation | Tried::Cancellation,
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
            (Is::RequiresConfirmation, Tried::Nothing, Step::Confirm),
            (
                Is::RequiresConfirmation,
                Tried::Confirmation,
                Step::Wait(State::Unknown),
            ),
            (
                Is::RequiresConfirmation,
                Tried::RefusedConfirmation,
                Step::Cancel,
            ),
            (
                Is::RequiresConfirmation,
                Tried::Cancellation,
                Step::Wait(State::Unknown),
            ),
            (Is::RequiresPaymentMethod, Tried::Confirmation, Step::Cancel),
            (
                Is::RequiresPaymentMethod,
                Tried::Cancellation,
                Step::Wait(State::Unknown),
            ),
            (Is::Canceled, Tried::Cancellation, Step::End(declined)),
            (
                Is::Succeeded,
                Tried::Cancellation,
                Step::End(End::Succeeded),
            ),
            (
                Is::Processing,
                Tried::Confirmation,
                Step::Wait(State::Processing),
            ),
            (
                Is::RequiresAction,
                Tried::Confirmation,
                Step::Wait(State::RequiresAction),
            ),
            (Is::Other, Tried::Confirmation, Step::Wait(State::Unknown)),
        ];
        for (status, tried, expected) in cases {
            let step = decide(Purpose::Pay, status, tried, Some("generic_decline"));
            assert_eq!(step, expected, "{status:?} after {tried:?}");
        }
        let step = decide(Purpose::Pay, Is::Canceled, Tried::Nothing, None);
        assert_eq!(step, Step::End(End::Failed));
    }

    #[test]
    fn settling_confirms_nothing_and_closing_cancels() {
        use IntentStatus as Is;
        let cases = [
            (
                Purpose::Settle,
                Is::RequiresConfirmation,
                Step::Wait(State::Confirming),
            ),
            (
                Purpose::Settle,
                Is::RequiresAction,
                Step::Wait(State::RequiresAction),
            ),
            (Purpose::Settle, Is::RequiresPaymentMethod, Step::Cancel),
            (Purpose::Settle, Is::Succeeded, Step::End(End::Succeeded)),
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
            let step = decide(purpose, status, Tried::Nothing, None);
            assert_eq!(step, expected, "{purpose:?} {status:?}");
        }
        for status in [Is::RequiresConfirmation, Is::RequiresAction] {
            let step = decide(Purpose::Close, status, Tried::Cancellation, None);
            assert!(matches!(step, Step::Wait(_)), "{status:?}");
        }
    }
}
