//! What is safe to do, in a sentence.

use shared::idempotency::Progress;
use shared::payments::{Payment, State};

/// About a payment, in the state that it is in.
pub(crate) fn of_payment(payment: &Payment) -> &'static str {
    match payment.state {
        // Only an intent that the ledger names is ever confirmed.
        open if open.is_open() && payment.intent.is_none() => {
            "Nobody was charged: the ledger names no intent. Safe: a repetition by the client, with the same key; waiting. It is closed once it is older than PAYMENT_CANCEL_AFTER_SECONDS."
        }
        State::Created | State::Confirming | State::Unknown => {
            "It may have been charged. Safe: settle, which asks the provider; a repetition by the client, with the same key. Not safe: charging it again under another key."
        }
        State::RequiresAction => {
            "The customer has to act. Safe: waiting; settle. It is cancelled once it is older than PAYMENT_CANCEL_AFTER_SECONDS."
        }
        State::Processing => {
            "The provider is still processing it. Safe: waiting; settle. Not safe: charging it again under another key."
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
        Progress::InProgress { .. } => {
            "An attempt is running. Safe: waiting until its lease ends, and looking again."
        }
        Progress::Abandoned => {
            "The attempt was abandoned. Safe: a repetition with the same key, which takes over and resumes."
        }
        Progress::Unknown => {
            "It is not known whether it took effect. Safe: finding out first; for a payment, `payments settle ID`. Not safe: another key."
        }
        Progress::Released => "Nothing happened. Safe: a repetition, with the same key or another.",
        Progress::Completed(_) => "It has a result, which every repetition is answered with.",
    }
}
