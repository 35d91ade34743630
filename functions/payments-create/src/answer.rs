//! Turns the answer to a client's request for a payment into an HTTP response.

use std::time::Duration;

use http::header::{CONTENT_TYPE, LOCATION, RETRY_AFTER};
use http::{HeaderValue, StatusCode};
use serde::Serialize;
use serde_json::{Map, Value};
use shared::idempotency::web as idempotent;
use shared::payments::{Answer, BodyError, Payment, State};
use shared::web::{self, Problem, Response};

/// The time after which a client should repeat the request for a pending payment.
const ASK_AGAIN: Duration = Duration::from_secs(2);

const VALIDATION_FAILED: Problem = Problem {
    status: StatusCode::BAD_REQUEST,
    slug: "validation-failed",
    title: "The body is invalid",
    detail: "This request charged nothing. Correct what `errors` lists and send it again; the same Idempotency-Key may be used.",
};

pub(crate) fn of(answer: Answer) -> Response {
    match answer {
        Answer::Ended {
            response,
            is_replay: true,
        } => idempotent::replay(&response),
        Answer::Ended { response, .. } => idempotent::answer(&response),
        Answer::Pending { payment, extra } => pending(&payment, &extra),
        Answer::InvalidBody(errors) => invalid(&errors),
        Answer::InProgress(retry_after) => idempotent::in_progress(retry_after),
        Answer::KeyReused => idempotent::key_reused(),
        Answer::OutcomeUnknown => idempotent::outcome_unknown(),
        Answer::Unavailable => idempotent::unavailable(),
    }
}

pub(crate) fn invalid(errors: &[BodyError]) -> Response {
    #[derive(Serialize)]
    struct Errors<'a> {
        errors: &'a [BodyError],
    }
    VALIDATION_FAILED.with(&Errors { errors })
}

/// A 202 with the payment's location. The response contains what the customer has to do. If the customer has nothing to
/// do, `Retry-After` contains the time after which the client should repeat the request.
fn pending(payment: &Payment, extra: &Map<String, Value>) -> Response {
    let mut response = Response::new(payment.to_json(extra).into());
    *response.status_mut() = StatusCode::ACCEPTED;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.extend(
        HeaderValue::try_from(payment.location())
            .ok()
            .map(|location| (LOCATION, location)),
    );
    if payment.state != State::RequiresAction {
        headers.insert(RETRY_AFTER, web::retry_after(ASK_AGAIN));
    }
    response
}
