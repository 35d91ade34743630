//! `POST /api/payments/webhook`: the provider's events, each a hint to look at one payment.

use std::process::ExitCode;
use std::sync::Arc;

use http::StatusCode;
use shared::App;
use shared::idempotency::web::{self as idempotent, unavailable};
use shared::lambda::{self, Invocation};
use shared::payments::{Received, Webhook};
use shared::web::{self, Problem, Refusal, Response};

const LONGEST_BODY: usize = 256 * 1024;

const TOO_LARGE: Problem = Problem {
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

fn main() -> ExitCode {
    lambda::serve(App::webhook, handle)
}

async fn handle(webhook: Arc<Webhook>, invocation: Invocation) -> Result<Response, Refusal> {
    let (headers, body) = (invocation.request.headers(), invocation.request.body());
    web::require_post(invocation.request.method())?;
    if body.len() > LONGEST_BODY {
        return Err(TOO_LARGE.into());
    }
    let signature = headers.get("stripe-signature");
    let signature = signature.and_then(|signature| signature.to_str().ok());
    let patience = idempotent::preferred_wait(headers);

    let receipt = webhook
        .receive(signature, body, patience, invocation.deadline)
        .await;

    let manner = idempotent::Manner {
        stand_in: receipt.stand_in,
        waited: patience.filter(|_| receipt.has_waited),
    };
    Ok(manner.on(answer(receipt.received)))
}

fn answer(received: Received) -> Response {
    match received {
        Received::Followed {
            answer,
            is_replay: true,
        } => idempotent::replay(&answer),
        Received::Followed { answer, .. } => idempotent::answer(&answer),
        Received::NotYet => unavailable(),
        Received::InProgress(retry_after) => idempotent::in_progress(retry_after),
        Received::IdReused => idempotent::key_reused(),
        Received::NotSigned => SIGNATURE_INVALID.into(),
        Received::Invalid => INVALID.into(),
    }
}
