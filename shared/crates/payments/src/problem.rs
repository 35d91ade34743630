//! What a payment's client is told when there is no payment.

use http::StatusCode;
use http_api::{Problem, Response};
use serde::Serialize;

use super::fault::Fault;

pub(super) const BODY_TOO_LARGE: Problem = Problem {
    status: StatusCode::PAYLOAD_TOO_LARGE,
    slug: "body-too-large",
    title: "The body is too large",
    detail: "Send a body of at most 64 KiB.",
};

pub(super) const EVENT_TOO_LARGE: Problem = Problem {
    detail: "Send an event of at most 256 KiB.",
    ..BODY_TOO_LARGE
};

pub(super) const SIGNATURE_INVALID: Problem = Problem {
    status: StatusCode::BAD_REQUEST,
    slug: "webhook-signature-invalid",
    title: "The event is not signed as it should be",
    detail: "Send the event as the provider does: with a Stripe-Signature over the body, not older than five minutes.",
};

pub(super) const EVENT_INVALID: Problem = Problem {
    status: StatusCode::BAD_REQUEST,
    slug: "webhook-event-invalid",
    title: "The event cannot be read",
    detail: "Send an event of the provider's, as JSON.",
};

pub(super) const UNSUPPORTED_TYPE: Problem = Problem {
    status: StatusCode::UNSUPPORTED_MEDIA_TYPE,
    slug: "unsupported-media-type",
    title: "The body is not JSON",
    detail: "Send the body as `Content-Type: application/json`.",
};

pub(super) const NOT_FOUND: Problem = Problem {
    status: StatusCode::NOT_FOUND,
    slug: "payment-not-found",
    title: "There is no such payment",
    detail: "Check the id; a payment is seen only by whom it belongs to.",
};

pub(super) const DECLINED: Problem = Problem {
    status: StatusCode::PAYMENT_REQUIRED,
    slug: "payment-declined",
    title: "The payment was declined",
    detail: "It was not charged and will not be. Ask for another payment method, and use a fresh Idempotency-Key.",
};

pub(super) const FAILED: Problem = Problem {
    status: StatusCode::PAYMENT_REQUIRED,
    slug: "payment-failed",
    title: "The payment failed",
    detail: "It was not charged and will not be. To try again, use a fresh Idempotency-Key.",
};

const VALIDATION_FAILED: Problem = Problem {
    status: StatusCode::BAD_REQUEST,
    slug: "validation-failed",
    title: "The body cannot be used",
    detail: "Correct what `errors` lists; the same Idempotency-Key may be used again.",
};

/// The members of a refusal that tell of one payment.
#[derive(Serialize)]
pub(super) struct Declined<'a> {
    pub(super) payment_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) decline_code: Option<&'a str>,
}

pub(super) fn validation_failed(errors: &[Fault]) -> Response {
    #[derive(Serialize)]
    struct Errors<'a> {
        errors: &'a [Fault],
    }
    VALIDATION_FAILED.with(&Errors { errors })
}

/// The body of a problem.
pub(super) fn text(response: &Response) -> String {
    String::from_utf8_lossy(response.body()).into_owned()
}
