//! `GET /api/health/detailed`: the health of Redis, MongoDB and this process, and the overall status.

use std::process::ExitCode;
use std::sync::Arc;

use shared::App;
use shared::health::DetailedHealth;
use shared::lambda::{self, Invocation};
use shared::web::{self, Refusal, Response};

fn main() -> ExitCode {
    lambda::serve(App::detailed_health, handle)
}

async fn handle(health: Arc<DetailedHealth>, invocation: Invocation) -> Result<Response, Refusal> {
    let request = invocation.request;
    web::require_get(request.method())?;
    Ok(health.answer(request.headers(), invocation.deadline).await)
}
