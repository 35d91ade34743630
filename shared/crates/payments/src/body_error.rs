//! A validation error in a request body.

use serde::Serialize;

/// A validation error in one member of a body.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct BodyError {
    /// The member, as a JSON Pointer.
    pub pointer: String,
    /// What is accepted, or what is wrong with the value.
    pub detail: &'static str,
}

impl BodyError {
    pub(super) fn new(pointer: &str, detail: &'static str) -> Self {
        Self {
            pointer: pointer.to_owned(),
            detail,
        }
    }
}
