//! What the sender of an event is answered.

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
    title: "The event is not signed as it should be",
    detail: "Send the event as the provider does: with a Stripe-Signature over the body, not older than five minutes.",
};

const INVALID: Problem = Problem {
    status: StatusCode::BAD_REQUEST,
    slug: "webhook-event-invalid",
    title: "The event cannot be read",
    detail: "Send an event of the provider's, as JSON.",
};

pub(crate) fn of(received: EventAnswer) -> Response {
    match received {
        EventAnswer::Processed {
            answer,
            is_replay: true,
        } => idempotent::replay(&answer),
        EventAnswer::Processed { answer, .. } => idempotent::answer(&answer),
        EventAnswer::RetryLater => idempotent::unavailable(),
        EventAnswer::InProgress(retry_after) => idempotent::in_progress(retry_after),
        EventAnswer::IdReused => idempotent::key_reused(),
        EventAnswer::InvalidSignature => SIGNATURE_INVALID.into(),
        EventAnswer::InvalidEvent => INVALID.into(),
    }
}
