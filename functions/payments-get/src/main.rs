//! `GET /api/payments/{id}`: returns a payment of the caller from the ledger.

use std::process::ExitCode;
use std::sync::Arc;

use http::StatusCode;
use serde_json::Map;
use shared::App;
use shared::idempotency::web::unavailable;
use shared::lambda::{self, Invocation};
use shared::payments::{PaymentView, ViewError};
use shared::web::{self, Problem, Refusal, Response, Tenant};

const NOT_FOUND: Problem = Problem {
    status: StatusCode::NOT_FOUND,
    slug: "payment-not-found",
    title: "Payment not found",
    detail: "Check the id. A payment is visible only to its owner.",
};

fn main() -> ExitCode {
    lambda::serve(App::payment_view, handle)
}

async fn handle(payments: Arc<PaymentView>, invocation: Invocation) -> Result<Response, Refusal> {
    let request = &invocation.request;
    web::require_get(request.method())?;
    let tenant = Tenant::of(&invocation.caller, payments.environment())?;
    let id = request.uri().path().rsplit('/').next().unwrap_or_default();

    let shown = payments.show(id, &tenant, invocation.deadline).await;

    match shown {
        Ok(payment) => Ok(web::json_text(payment.to_json(&Map::new()))),
        Err(ViewError::NotFound) => Err(NOT_FOUND.into()),
        Err(ViewError::Unreadable) => Err(web::INTERNAL.into()),
        Err(ViewError::Unavailable) => Ok(unavailable()),
    }
}
