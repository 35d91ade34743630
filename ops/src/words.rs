//! What is safe to do, in a sentence.

use std::time::Duration;

use shared::idempotency::{Lookup, Progress};
use shared::payments::{Payment, ProviderFinding, State};

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

/// What settling a payment found at the provider.
pub(crate) fn found(found: ProviderFinding) -> String {
    match found {
        ProviderFinding::AlreadyEnded => "not asked: the payment had ended already".to_owned(),
        ProviderFinding::NoIntent => {
            "not asked: the ledger names no intent, so nothing was charged".to_owned()
        }
        ProviderFinding::Intent(status) => format!("the intent is {status}"),
        ProviderFinding::AmountMismatch => {
            "the intent is for another amount or currency".to_owned()
        }
        ProviderFinding::NoSuchIntent => {
            "the provider has no such intent: is its key of another account or mode?".to_owned()
        }
        ProviderFinding::Unreachable(reason) => format!("no answer: {reason}"),
    }
}

/// What will end an open payment, and when; `None`: it has ended.
pub(crate) fn end_of_payment(payment: &Payment, cancel_after: Duration) -> Option<String> {
    let closed_at = payment.created_at.after(cancel_after);
    match payment.state {
        State::Created | State::Confirming | State::RequiresAction => Some(format!(
            "when the client repeats it or the customer completes it; else payments-reconcile closes it from {closed_at} on"
        )),
        State::Unknown => Some(format!(
            "when the provider answers payments-reconcile or the client's repetition; what is unconfirmed then is closed from {closed_at} on"
        )),
        State::Processing => Some(
            "when the provider has processed it; payments-reconcile asks at every run".to_owned(),
        ),
        State::Succeeded | State::Declined | State::Failed => None,
    }
}
/// About a payment whose row cannot be read.
pub(crate) const OF_UNREADABLE_PAYMENT: &str = "The row in the ledger is damaged. The payment may be open, and may have been charged. Repair the row: follow \"Unreadable payments\" in docs/runbook.md. Not safe: deleting the row; charging the payment again under another key.";

/// Where keys cannot be seen.
pub(crate) const NO_STORE_OF_KEYS: &str = "no store is configured: set REDIS_URL or MONGODB_URI as the functions have them. Without both, each function keeps its keys in the memory of its process, which no other process can read. Payments are in the ledger: `payments show ID`.";

/// How far the work under a key is, where the key itself cannot be seen.
pub(crate) const PROGRESS_UNSEEN: &str =
    "not visible: without REDIS_URL and MONGODB_URI it is in the memory of the function's process";

/// The result that a payment's key has.
pub(crate) const REFERENCE: &str = "a reference to the payment, which answers repetitions";

/// About a key that refers to a payment, where the ledger has no such payment.
pub(crate) const OF_LOST_REFERENCE: &str = "It refers to a payment that this ledger does not have; check ENVIRONMENT, MONGODB_DATABASE and LEDGER_DIR. If they are those of the functions, the row is lost, and the payment may have been charged: follow \"Restoring\" in docs/runbook.md.";

/// About a key.
pub(crate) fn of_key(lookup: &Lookup) -> &'static str {
    match lookup {
        Lookup::Absent => "Nothing is stored. Safe: a repetition, with the same key or another.",
        Lookup::Unreadable => OF_DAMAGED_KEY,
        Lookup::Found(entry) => match entry.progress {
            Progress::InProgress { .. } => {
                "An attempt is running. Safe: waiting until its lease ends, and looking again."
            }
            Progress::Abandoned => {
                "The attempt was abandoned, or does not know its outcome: it may have taken effect, or may still. Safe: a repetition with the same key, which takes over and resumes. Not safe: another key."
            }
            Progress::Unknown => {
                "It is not known whether the work took effect, and no repetition will run it. Find out at its provider or from its owner; then `key resolve`. Not safe: another key."
            }
            Progress::Released => {
                "The work had no effect. Safe: a repetition, with the same key or another."
            }
            Progress::Completed(_) => "There is a result, which every repetition is answered with.",
        },
    }
}

/// About a value that cannot be read.
pub(crate) const OF_DAMAGED_KEY: &str = "The stored value is damaged, or not a record. It may have been a result, so no repetition runs. Find out whether the work took effect; then follow \"Damaged keys\" in docs/runbook.md.";

/// About the unknown keys that `key list --unknown` shows.
pub(crate) const OF_UNKNOWN_KEYS: &str =
    "unknown: find out whether the work took effect, then `key resolve`.";

/// About the abandoned ones.
pub(crate) const OF_ABANDONED_KEYS: &str = "abandoned: the next request with the key takes over; those of payments are finished by payments-reconcile.";

/// How far the work under a key is.
pub(crate) fn progress_of(lookup: &Lookup) -> &'static str {
    match lookup {
        Lookup::Found(entry) => progress(&entry.progress),
        Lookup::Unreadable => "damaged",
        Lookup::Absent => "absent",
    }
}

/// The word for how far work is.
pub(crate) fn progress(progress: &Progress) -> &'static str {
    match progress {
        Progress::InProgress { .. } => "in progress",
        Progress::Abandoned => "abandoned",
        Progress::Unknown => "unknown",
        Progress::Released => "released",
        Progress::Completed(_) => "completed",
    }
}
