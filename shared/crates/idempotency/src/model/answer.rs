//! The result of one execution, as the body of a saved response.

use http::StatusCode;

use crate::SavedResponse;
use crate::record::{Record, State};

/// The execution that produced a result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Answer {
    /// The generation of the key in which the operation was executed.
    pub(super) generation: u8,
    /// The client that executed the operation, or a reconciler.
    pub(super) by: u8,
    /// The request that was executed.
    pub(super) request: u8,
}

/// The value of `by` in a reconciler's results.
pub(super) const RECONCILER: u8 = 99;

impl Answer {
    pub(super) fn response(self) -> SavedResponse {
        SavedResponse::new(StatusCode::OK, vec![self.generation, self.by, self.request])
    }

    /// Returns the result in a record, if there is one.
    pub(super) fn of(record: &Record) -> Option<Self> {
        let State::Completed { response, .. } = &record.state else {
            return None;
        };
        match response.whole_body()?.as_ref() {
            &[generation, by, request] => Some(Self {
                generation,
                by,
                request,
            }),
            _ => None,
        }
    }
}
