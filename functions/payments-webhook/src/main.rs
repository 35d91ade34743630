//! `POST /api/payments/webhook`: receives the provider's events. For each event, it reconciles the payment whose id is
//! in the event.

mod answer;

use std::process::ExitCode;
use std::sync::Arc;

use shared::App;
use shared::idempotency::web as idempotent;
use shared::lambda::{self, Invocation};
use shared::payments::Webhook;
use shared::web::{self, Refusal, Response};

/// The longest body of a request with an event, in bytes.
const LONGEST_BODY: usize = 256 * 1024;

fn main() -> ExitCode {
    lambda::serve(App::webhook, handle)
}

async fn handle(webhook: Arc<Webhook>, invocation: Invocation) -> Result<Response, Refusal> {
    let (headers, body) = (invocation.request.headers(), invocation.request.body());
    web::require_post(invocation.request.method())?;
    if body.len() > LONGEST_BODY {
        return Err(answer::TOO_LARGE.into());
    }
    let signature = headers.get("stripe-signature");
    let signature = signature.and_then(|signature| signature.to_str().ok());
    let patience = idempotent::preferred_wait(headers);

    let outcome = webhook
        .receive(signature, body, patience, invocation.deadline)
        .await;

    let headers = idempotent::AnswerHeaders {
        degraded_to: outcome.degraded_to,
        waited: patience.filter(|_| outcome.has_waited),
    };
    Ok(headers.add_to(answer::of(outcome.answer)))
}
