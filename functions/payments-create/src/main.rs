//! `POST /api/payments`: charges a payment, once however often it is asked for.

use std::process::ExitCode;
use std::sync::Arc;

use shared::App;
use shared::lambda::{self, Invocation};
use shared::payments::Payments;
use shared::web::Response;

fn main() -> ExitCode {
    lambda::serve(App::payments, handle)
}

async fn handle(payments: Arc<Payments>, invocation: Invocation) -> Response {
    payments.create(&invocation).await
}
