//! What a client is answered, by what became of its payment.

use std::time::Duration;

use http::header::{CONTENT_TYPE, LOCATION, RETRY_AFTER};
use http::{HeaderValue, StatusCode};
use serde::Serialize;
use serde_json::{Map, Value};
use shared::idempotency::web as idempotent;
use shared::payments::{Answer, BodyError, Payment, State};
use shared::web::{self, Problem, Response};

/// When it makes sense to ask again for a payment that is on its way.
const ASK_AGAIN: Duration = Duration::from_secs(2);

const VALIDATION_FAILED: Problem = Problem {
    status: StatusCode::BAD_REQUEST,
    slug: "validation-failed",
    title: "The body cannot be used",
    detail: "Correct what `errors` lists; the same Idempotency-Key may be used again.",
};

pub(crate) fn of(answer: Answer) -> Response {
    match answer {
        Answer::Ended {
            answer,
            is_replay: true,
        } => idempotent::replay(&answer),
        Answer::Ended { answer, .. } => idempotent::answer(&answer),
        Answer::Pending { payment, more } => on_its_way(&payment, &more),
        Answer::InvalidBody(faults) => invalid(&faults),
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

/// A 202: where the payment is, what the customer has to do, and if nothing, when to ask again.
fn on_its_way(payment: &Payment, more: &Map<String, Value>) -> Response {
    let mut response = Response::new(payment.to_json(more).into());
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
