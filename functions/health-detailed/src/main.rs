//! `GET /api/health/detailed`: how are Redis, MongoDB and this process, and what do they come to together?

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
