//! `POST /api/payments/webhook`: the provider's events, each a hint to look at one payment.

use std::process::ExitCode;
use std::sync::Arc;

use shared::App;
use shared::lambda::{self, Invocation};
use shared::payments::Webhook;
use shared::web::Response;

fn main() -> ExitCode {
    lambda::serve(App::webhook, handle)
}

async fn handle(webhook: Arc<Webhook>, invocation: Invocation) -> Response {
    webhook.receive(&invocation).await
}
