//! `POST /api/payments`: charges one payment for each idempotency key.

mod answer;
mod body;

use std::process::ExitCode;
use std::sync::Arc;

use shared::App;
use shared::idempotency::web as idempotent;
use shared::lambda::{self, Invocation};
use shared::payments::{NewPayment, Payments};
use shared::web::{self, Refusal, Response, Tenant};

fn main() -> ExitCode {
    lambda::serve(App::payments, handle)
}

async fn handle(payments: Arc<Payments>, invocation: Invocation) -> Result<Response, Refusal> {
    let request = &invocation.request;
    web::require_post(request.method())?;
    let environment = payments.environment();
    let tenant = Tenant::of(&invocation.caller, environment)?;
    let key = idempotent::key(request.headers())?;
    body::check(request)?;
    let new = NewPayment::parse(tenant, key, request.body(), environment)
        .map_err(|errors| answer::invalid(&errors))?;
    let patience = idempotent::preferred_wait(request.headers());

    let outcome = payments.create(new, patience, invocation.deadline).await;

    let headers = idempotent::AnswerHeaders {
        degraded_to: outcome.degraded_to,
        waited: patience.filter(|_| outcome.has_waited),
    };
    Ok(headers.add_to(answer::of(outcome.answer)))
}
