//! How a handler ends early: with `?`, and the answer that says why.

use crate::{MethodNotAllowed, Problem, Response, Unauthenticated};

/// Why a request is not served, as its client is answered.
#[derive(Debug)]
pub struct Refusal(Box<Response>);

/// What a handler may return.
pub trait IntoResponse {
    /// The answer.
    fn into_response(self) -> Response;
}

impl IntoResponse for Response {
    fn into_response(self) -> Response {
        self
    }
}

impl IntoResponse for Result<Response, Refusal> {
    fn into_response(self) -> Response {
        self.unwrap_or_else(|Refusal(response)| *response)
    }
}

impl From<Response> for Refusal {
    fn from(response: Response) -> Self {
        Self(Box::new(response))
    }
}

impl From<Problem> for Refusal {
    fn from(problem: Problem) -> Self {
        Response::from(problem).into()
    }
}

impl From<MethodNotAllowed> for Refusal {
    fn from(refusal: MethodNotAllowed) -> Self {
        Response::from(refusal).into()
    }
}

impl From<Unauthenticated> for Refusal {
    fn from(refusal: Unauthenticated) -> Self {
        Response::from(refusal).into()
    }
}
