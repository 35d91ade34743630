//! `GET /api/payments/{id}`: a tenant's payment, as the ledger has it.

use std::process::ExitCode;
use std::sync::Arc;

use shared::App;
use shared::lambda::{self, Invocation};
use shared::payments::PaymentView;
use shared::web::Response;

fn main() -> ExitCode {
    lambda::serve(App::payment_view, handle)
}

async fn handle(payments: Arc<PaymentView>, invocation: Invocation) -> Response {
    payments.show(&invocation).await
}
