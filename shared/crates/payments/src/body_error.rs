//! What is wrong with a body.

use serde::Serialize;

/// What is wrong with one member of a body.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct BodyError {
    /// The member, as a JSON Pointer.
    pub pointer: String,
    /// What is accepted, or what is wrong.
    pub detail: &'static str,
}

impl BodyError {
    pub(super) fn of(pointer: &str, detail: &'static str) -> Self {
        Self {
            pointer: pointer.to_owned(),
            detail,
        }
    }
}
