//! `GET /api/health/redis`: whether Redis accepts writes and reads.

use std::process::ExitCode;
use std::sync::Arc;

use shared::App;
use shared::health::RedisHealth;
use shared::lambda::{self, Invocation};
use shared::web::{self, Refusal, Response};

fn main() -> ExitCode {
    lambda::serve(App::redis_health, handle)
}

async fn handle(health: Arc<RedisHealth>, invocation: Invocation) -> Result<Response, Refusal> {
    let request = invocation.request;
    web::require_get(request.method())?;
    Ok(health.answer(request.headers(), invocation.deadline).await)
}
