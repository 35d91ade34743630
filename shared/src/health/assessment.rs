//! The outcome of a check: a status and, if there is a problem, a text for people and a stable code for programs.

use super::Status;

/// The outcome of one check.
#[derive(Clone, Debug)]
pub(super) struct Assessment {
    pub(super) status: Status,
    /// A text for people: what failed and what to do.
    pub(super) error: Option<String>,
    /// A code for programs, which never changes.
    pub(super) error_code: Option<&'static str>,
}

impl Assessment {
    pub(super) fn new(status: Status, error_code: &'static str, error: impl ToString) -> Self {
        Self {
            status,
            error: Some(error.to_string()),
            error_code: Some(error_code),
        }
    }

    pub(super) fn working(status: Status) -> Self {
        Self {
            status,
            error: None,
            error_code: None,
        }
    }

    /// The outcome of a check that panicked.
    pub(super) fn internal_error() -> Self {
        Self::new(
            Status::Unhealthy,
            "internal_error",
            "the health check panicked; see the log",
        )
    }
}
