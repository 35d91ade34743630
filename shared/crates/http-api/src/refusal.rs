//! Lets a handler end early with `?` and the response for the client.

use crate::{MethodNotAllowed, Problem, Response, Unauthenticated};

/// The response to a request that a handler rejects.
#[derive(Debug)]
pub struct Refusal(Box<Response>);

/// A result of a handler that becomes a response.
pub trait IntoResponse {
    /// Converts the result into the response.
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
