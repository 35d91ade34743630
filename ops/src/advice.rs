//! What the operator reads about a payment or a key: its state, what that means for money, and which actions are safe.

use std::time::Duration;

use shared::idempotency::{Lookup, Progress};
use shared::payments::{Payment, ProviderFinding, State};

/// Advice for a payment in its current state.
pub(crate) fn for_payment(payment: &Payment) -> &'static str {
    match payment.state {
        // Only an intent whose id is in the ledger is ever confirmed.
        open if open.is_open() && payment.intent.is_none() => {
            "The customer was not charged: the ledger names no payment intent. Safe: wait; let the client retry with the same key. payments-reconcile closes the payment once it is older than PAYMENT_CANCEL_AFTER_SECONDS."
        }
        State::Created | State::Confirming | State::Unknown => {
            "The customer may have been charged. Safe: `payments settle`, which asks the provider; let the client retry with the same key. Not safe: charge again with another key."
        }
        State::RequiresAction => {
            "The customer is not charged before completing an action, such as 3-D Secure. Safe: wait; `payments settle`. payments-reconcile cancels the payment once it is older than PAYMENT_CANCEL_AFTER_SECONDS."
        }
        State::Processing => {
            "The provider is processing the payment and may charge the customer. Safe: wait; `payments settle`. Not safe: charge again with another key."
        }
        State::Succeeded => "The customer was charged. The state is final: nothing to do.",
        State::Declined | State::Failed => {
            "The customer was not charged, and the state is final. Safe: a new payment with a fresh key."
        }
    }
}

/// The text about what `payments settle` found at the provider.
pub(crate) fn found(found: ProviderFinding) -> String {
    match found {
        ProviderFinding::AlreadyEnded => "not asked: the payment had already ended".to_owned(),
        ProviderFinding::NoIntent => {
            "not asked: the ledger names no intent, so nothing was charged".to_owned()
        }
        ProviderFinding::Intent(status) => format!("the intent is {status}"),
        ProviderFinding::AmountMismatch => "the intent has another amount or currency".to_owned(),
        ProviderFinding::NoSuchIntent => {
            "the provider has no such intent; check that its API key belongs to the same account and mode"
                .to_owned()
        }
        ProviderFinding::Unreachable(reason) => format!("the provider did not answer: {reason}"),
    }
}

/// The text about what ends an open payment, and when; `None`: the payment has ended.
pub(crate) fn end_of_payment(payment: &Payment, cancel_after: Duration) -> Option<String> {
    let closed_at = payment.created_at.after(cancel_after);
    match payment.state {
        State::Created | State::Confirming | State::RequiresAction => Some(format!(
            "when the client retries or the customer completes the payment; otherwise payments-reconcile closes the payment after {closed_at}"
        )),
        State::Unknown => Some(format!(
            "when payments-reconcile or a retry gets the provider's answer; an unconfirmed intent is closed after {closed_at}"
        )),
        State::Processing => Some(
            "when the provider has processed it; payments-reconcile asks on every run".to_owned(),
        ),
        State::Succeeded | State::Declined | State::Failed => None,
    }
}

/// Advice for a payment whose ledger row is damaged.
pub(crate) const UNREADABLE_PAYMENT: &str = "The row in the ledger is damaged. The payment may be open, and the customer may have been charged. Repair the row: see \"Unreadable payments\" in docs/runbook.md. Not safe: delete the row; charge again with another key.";

/// The error if no store of keys is configured.
pub(crate) const NO_STORE: &str = "no idempotency store is configured: without REDIS_URL and MONGODB_URI each function keeps its keys in the memory of its process, which no other process can read. Set the variables as the functions have them. Payments are in the ledger: `payments show ID`";

/// The text that replaces the progress if no store of keys is configured.
pub(crate) const PROGRESS_NOT_VISIBLE: &str =
    "not visible: without REDIS_URL and MONGODB_URI it is in the memory of the function's process";

/// The text for the result of a payment's key. The record holds a reference, and the ledger holds the response.
pub(crate) const REFERENCE: &str = "a reference to the payment; the ledger answers retries";

/// Advice for a key that refers to a payment that is not in the ledger.
pub(crate) const LOST_REFERENCE: &str = "The key refers to a payment that this ledger does not have. Check ENVIRONMENT, MONGODB_DATABASE and LEDGER_DIR. If they are those of the functions, the row is lost and the customer may have been charged: see \"Restoring\" in docs/runbook.md.";

/// Advice for a key.
pub(crate) fn for_key(lookup: &Lookup) -> &'static str {
    match lookup {
        Lookup::Absent => "Nothing is stored. Safe: a request with this key or another.",
        Lookup::Unreadable => DAMAGED_KEY,
        Lookup::Found(entry) => match entry.progress {
            Progress::InProgress { .. } => {
                "An attempt is running. Safe: wait until its lease ends, then look again."
            }
            Progress::Abandoned => {
                "The attempt was abandoned or reported an unknown outcome. The work may have taken effect, or may take effect later. Safe: a retry with the same key, which takes over and resumes. Not safe: another key."
            }
            Progress::Unknown => {
                "The outcome is unknown, and no retry runs the work. Find out from the provider or the caller's team whether it took effect; then `key resolve`. Not safe: another key."
            }
            Progress::Released => "The work had no effect. Safe: a retry with this key or another.",
            Progress::Completed(_) => "The work is completed. Every retry gets the stored result.",
        },
    }
}

/// Advice for a key whose stored value is damaged.
pub(crate) const DAMAGED_KEY: &str = "The stored value is damaged or is not a record. It may have been a result, so no retry runs the work. Find out whether the work took effect; then see \"Damaged keys\" in docs/runbook.md.";

/// Advice below `key list --unknown`, for the keys in progress `unknown`.
pub(crate) const UNKNOWN_KEYS: &str =
    "unknown: find out whether the work took effect, then `key resolve`.";

/// Advice below `key list --unknown`, for the keys in progress `abandoned`.
pub(crate) const ABANDONED_KEYS: &str = "abandoned: the next request with the key takes over. payments-reconcile finishes the keys of payments.";

/// The name of a key's progress; `absent` if there is no record, and `damaged` if the record cannot be read.
pub(crate) fn progress_of(lookup: &Lookup) -> &'static str {
    match lookup {
        Lookup::Found(entry) => progress(&entry.progress),
        Lookup::Unreadable => "damaged",
        Lookup::Absent => "absent",
    }
}

/// The name of a key's progress.
pub(crate) fn progress(progress: &Progress) -> &'static str {
    match progress {
        Progress::InProgress { .. } => "in progress",
        Progress::Abandoned => "abandoned",
        Progress::Unknown => "unknown",
        Progress::Released => "released",
        Progress::Completed(_) => "completed",
    }
}
