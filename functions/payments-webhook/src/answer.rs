//! Turns the answer to an event of the provider into an HTTP response.

use http::StatusCode;
use shared::idempotency::web as idempotent;
use shared::payments::EventAnswer;
use shared::web::{Problem, Response};

pub(crate) const TOO_LARGE: Problem = Problem {
    status: StatusCode::PAYLOAD_TOO_LARGE,
    slug: "body-too-large",
    title: "The body is too large",
    detail: "Send an event of at most 256 KiB.",
};

const SIGNATURE_INVALID: Problem = Problem {
    status: StatusCode::BAD_REQUEST,
    slug: "webhook-signature-invalid",
    title: "The signature of the event is invalid",
    detail: "Nothing was changed. Send a Stripe-Signature of this body, made with the webhook secret at most five minutes ago.",
};

const INVALID: Problem = Problem {
    status: StatusCode::BAD_REQUEST,
    slug: "webhook-event-invalid",
    title: "The body is not an event",
    detail: "Nothing was changed. Send an event of Stripe as JSON.",
};

pub(crate) fn of(answer: EventAnswer) -> Response {
    match answer {
        EventAnswer::Processed {
            response,
            is_replay: true,
        } => idempotent::replay(&response),
        EventAnswer::Processed { response, .. } => idempotent::answer(&response),
        EventAnswer::RetryLater => idempotent::unavailable(),
        EventAnswer::InProgress(retry_after) => idempotent::in_progress(retry_after),
        EventAnswer::IdReused => idempotent::key_reused(),
        EventAnswer::InvalidSignature => SIGNATURE_INVALID.into(),
        EventAnswer::InvalidEvent => INVALID.into(),
    }
}
