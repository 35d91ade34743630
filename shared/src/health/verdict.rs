//! What a check comes to: a status, and where something is wrong, a sentence and a code for it.

use super::Status;

/// The judgement of one check.
#[derive(Clone, Debug)]
pub(super) struct Verdict {
    pub(super) status: Status,
    /// A fixed sentence for people.
    pub(super) error: Option<String>,
    /// The same for machines; it never changes.
    pub(super) error_code: Option<&'static str>,
}

impl Verdict {
    pub(super) fn new(status: Status, error_code: &'static str, error: impl ToString) -> Self {
        Self {
            status,
            error: Some(error.to_string()),
            error_code: Some(error_code),
        }
    }

    pub(super) fn well(status: Status) -> Self {
        Self {
            status,
            error: None,
            error_code: None,
        }
    }

    /// A check that panicked: nothing is known.
    pub(super) fn internal_error() -> Self {
        Self::new(
            Status::Unhealthy,
            "internal_error",
            "the check itself failed",
        )
    }
}
