//! Decides the next step of an attempt from the intent's status.
//!
//! The decision is a pure function of the attempt's purpose, the intent's status and the attempt's last request. So a table test covers it.

use crate::payment::{End, State};
use crate::provider::IntentStatus;

/// The purpose of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Purpose {
    /// A client requests the payment: confirm the intent, and advance the payment until it ends or has to wait.
    Pay,
    /// Record the intent's status. Confirm nothing.
    Reconcile,
    /// Record the intent's status, and cancel an intent that is not confirmed yet. Confirm nothing.
    Close,
}

/// The last request of this attempt that could change the intent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LastRequest {
    None,
    /// A confirmation that the provider rejected.
    RejectedConfirmation,
    /// A confirmation that the provider accepted, or whose outcome is unknown.
    Confirmation,
    Cancellation,
}

/// What the attempt does next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum NextStep {
    Confirm,
    Cancel,
    End(End),
    /// Leave the payment open in this state.
    Wait(State),
}

/// The next step of an attempt. `status` is the current status of the intent. `last` is the attempt's last request that could change the
/// intent. `decline_code` is the decline code that the provider gave last.
pub(super) fn next_step(
    purpose: Purpose,
    status: IntentStatus,
    last: LastRequest,
    decline_code: Option<&str>,
) -> NextStep {
    match (status, last) {
        (IntentStatus::Succeeded, _) => NextStep::End(End::Succeeded),
        (IntentStatus::Canceled, _) => NextStep::End(match decline_code {
            Some(code) => End::Declined(Some(code.to_owned())),
            None => End::Failed,
        }),
        (IntentStatus::RequiresAction | IntentStatus::RequiresConfirmation, LastRequest::None)
            if purpose == Purpose::Close =>
        {
            NextStep::Cancel
        }
        (IntentStatus::RequiresAction, _) => NextStep::Wait(State::RequiresAction),
        (IntentStatus::Processing, _) => NextStep::Wait(State::Processing),
        (IntentStatus::RequiresConfirmation, LastRequest::None) => match purpose {
            Purpose::Pay => NextStep::Confirm,
            Purpose::Reconcile | Purpose::Close => NextStep::Wait(State::Confirming),
        },
        // The provider will reject each further confirmation too. Cancelling also fences the confirmations of other attempts.
        (IntentStatus::RequiresConfirmation, LastRequest::RejectedConfirmation) => NextStep::Cancel,
        // A late attempt could confirm a declined intent once more. So the intent is cancelled before the payment ends as declined.
        (
            IntentStatus::RequiresPaymentMethod,
            LastRequest::None | LastRequest::Confirmation | LastRequest::RejectedConfirmation,
        ) => NextStep::Cancel,
        (
            IntentStatus::RequiresConfirmation | IntentStatus::RequiresPaymentMethod,
            LastRequest::Confirmation | LastRequest::Cancellation,
        )
        | (IntentStatus::RequiresCapture | IntentStatus::Other, _) => {
            NextStep::Wait(State::Unknown)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payment_ends_only_when_its_intent_can_no_longer_change() {
        use IntentStatus as Is;
        let declined = End::Declined(Some("generic_decline".to_owned()));
        let cases = [
            (
                Is::RequiresConfirmation,
                LastRequest::None,
                NextStep::Confirm,
            ),
            (
                Is::RequiresConfirmation,
                LastRequest::Confirmation,
                NextStep::Wait(State::Unknown),
            ),
            (
                Is::RequiresConfirmation,
                LastRequest::RejectedConfirmation,
                NextStep::Cancel,
            ),
            (
                Is::RequiresConfirmation,
                LastRequest::Cancellation,
                NextStep::Wait(State::Unknown),
            ),
            (
                Is::RequiresPaymentMethod,
                LastRequest::Confirmation,
                NextStep::Cancel,
            ),
            (
                Is::RequiresPaymentMethod,
                LastRequest::Cancellation,
                NextStep::Wait(State::Unknown),
            ),
            (
                Is::Canceled,
                LastRequest::Cancellation,
                NextStep::End(declined),
            ),
            (
                Is::Succeeded,
                LastRequest::Cancellation,
                NextStep::End(End::Succeeded),
            ),
            (
                Is::Processing,
                LastRequest::Confirmation,
                NextStep::Wait(State::Processing),
            ),
            (
                Is::RequiresAction,
                LastRequest::Confirmation,
                NextStep::Wait(State::RequiresAction),
            ),
            (
                Is::Other,
                LastRequest::Confirmation,
                NextStep::Wait(State::Unknown),
            ),
        ];
        for (status, last, expected) in cases {
            let step = next_step(Purpose::Pay, status, last, Some("generic_decline"));
            assert_eq!(step, expected, "{status:?} after {last:?}");
        }
        let step = next_step(Purpose::Pay, Is::Canceled, LastRequest::None, None);
        assert_eq!(step, NextStep::End(End::Failed));
    }

    #[test]
    fn reconciling_confirms_nothing_and_closing_cancels() {
        use IntentStatus as Is;
        let cases = [
            (
                Purpose::Reconcile,
                Is::RequiresConfirmation,
                NextStep::Wait(State::Confirming),
            ),
            (
                Purpose::Reconcile,
                Is::RequiresAction,
                NextStep::Wait(State::RequiresAction),
            ),
            (
                Purpose::Reconcile,
                Is::RequiresPaymentMethod,
                NextStep::Cancel,
            ),
            (
                Purpose::Reconcile,
                Is::Succeeded,
                NextStep::End(End::Succeeded),
            ),
            (Purpose::Close, Is::RequiresConfirmation, NextStep::Cancel),
            (Purpose::Close, Is::RequiresAction, NextStep::Cancel),
            (
                Purpose::Close,
                Is::Processing,
                NextStep::Wait(State::Processing),
            ),
            (Purpose::Close, Is::Canceled, NextStep::End(End::Failed)),
        ];
        for (purpose, status, expected) in cases {
            let step = next_step(purpose, status, LastRequest::None, None);
            assert_eq!(step, expected, "{purpose:?} {status:?}");
        }
        for status in [Is::RequiresConfirmation, Is::RequiresAction] {
            let step = next_step(Purpose::Close, status, LastRequest::Cancellation, None);
            assert!(matches!(step, NextStep::Wait(_)), "{status:?}");
        }
    }
}
