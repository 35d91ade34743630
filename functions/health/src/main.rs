//! `GET /api/health`: is this process alive? No I/O, so no backend can make it wrong.

use std::process::ExitCode;
use std::sync::Arc;

use shared::App;
use shared::health::Liveness;
use shared::lambda::{self, Invocation};
use shared::web::{self, Response};

fn main() -> ExitCode {
    lambda::serve(App::liveness, handle)
}

async fn handle(liveness: Arc<Liveness>, invocation: Invocation) -> Response {
    if let Err(refusal) = web::require_get(invocation.request.method()) {
        return refusal.into();
    }
    web::ok(&*liveness)
}
