//! What is safe to do, in a sentence.

use shared::idempotency::Progress;
use shared::payments::State;

/// About a payment in this state.
pub(crate) fn of_payment(state: State) -> &'static str {
    match state {
        State::Created => {
            "Nobody was charged: the provider has not named it. Safe: settle. It is closed once it is older than PAYMENT_CANCEL_AFTER_SECONDS."
        }
        State::Confirming | State::Unknown => {
            "It may have been charged. Safe: settle, which asks the provider; a repetition by the client, with the same key. Not safe: charging it again under another key."
        }
        State::RequiresAction => {
            "The customer has to act. Safe: waiting; settle. It is cancelled once it is older than PAYMENT_CANCEL_AFTER_SECONDS."
        }
        State::Processing => {
            "The provider is at it. Safe: waiting; settle. Not safe: charging it again under another key."
        }
        State::Succeeded => "It was charged, for good. Nothing is to be done.",
        State::Declined | State::Failed => {
            "It was not charged and never will be. Safe: another payment, with a fresh key."
        }
    }
}

/// About a key whose work is so far.
pub(crate) fn of_key(progress: &Progress) -> &'static str {
    match progress {
        Progress::InProgress => {
            "An attempt is at it, or ended without a word. Safe: waiting until its lease is over, and a repetition then."
        }
        Progress::Unknown => {
            "It is not known whether it took effect. Safe: finding out, a payment by `payments settle`. Not safe: another key."
        }
        Progress::Released => "Nothing happened. Safe: a repetition, with the same key or another.",
        Progress::Completed(_) => "It has a result, which every repetition is answered with.",
    }
}
