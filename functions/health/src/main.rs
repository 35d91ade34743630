//! `GET /api/health`: whether this process runs. The function does no I/O, so it also responds
//! during an outage of a backend.

use std::process::ExitCode;
use std::sync::Arc;

use shared::App;
use shared::health::Liveness;
use shared::lambda::{self, Invocation};
use shared::web::{self, Refusal, Response};

fn main() -> ExitCode {
    lambda::serve(App::liveness, handle)
}

async fn handle(liveness: Arc<Liveness>, invocation: Invocation) -> Result<Response, Refusal> {
    web::require_get(invocation.request.method())?;
    Ok(web::ok(&*liveness))
}
