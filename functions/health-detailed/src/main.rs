//! `GET /api/health/detailed`: how are Redis, MongoDB and this process, and what do they come to together?

use std::process::ExitCode;
use std::sync::Arc;

use shared::App;
use shared::health::DetailedHealth;
use shared::lambda::{self, Invocation};
use shared::web::{self, Response};

fn main() -> ExitCode {
    lambda::serve(App::detailed_health, handle)
}

async fn handle(health: Arc<DetailedHealth>, invocation: Invocation) -> Response {
    let request = invocation.request;
    if let Err(refusal) = web::require_get(request.method()) {
        return refusal.into();
    }
    health.answer(request.headers(), invocation.deadline).await
}
