//! The work between two round trips to Redis, the minimum of idempotency: `lambda_http`, and redis-rs without `shared`.
//!
//! `BENCH_PINGS` is the number of `PING`s: one before the work, and with 2 another one after it.

use lambda_http::{Body, Error, Request, Response, run, service_fn};
use redis::aio::MultiplexedConnection;

use self::contract::{ContestantSettings, variable};

#[path = "../contract.rs"]
#[expect(dead_code, reason = "it uses fewer settings than the others")]
mod contract;

struct State {
    settings: ContestantSettings,
    redis: MultiplexedConnection,
    pings_after: usize,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let url = variable("REDIS_URL").ok_or("REDIS_URL is not set")?;
    let pings: usize = variable("BENCH_PINGS").unwrap_or_default().parse()?;
    let client = redis::Client::open(url)?;
    let state = State {
        settings: ContestantSettings::read(),
        redis: client.get_multiplexed_async_connection().await?,
        pings_after: pings.saturating_sub(1),
    };
    run(service_fn(|request| answer(&state, request))).await
}

async fn answer(state: &State, request: Request) -> Result<Response<Body>, Error> {
    let key = request.headers().get("idempotency-key");
    let key = key.and_then(|key| key.to_str().ok()).unwrap_or_default();
    ping(state).await?;
    let answer = state.settings.work(key, request.body().as_ref()).await?;
    for _ in 0..state.pings_after {
        ping(state).await?;
    }
    let response = Response::builder()
        .status(201)
        .header("content-type", "application/json");
    Ok(response.body(answer.into())?)
}

async fn ping(state: &State) -> Result<(), Error> {
    let mut redis = state.redis.clone();
    Ok(redis::cmd("PING").exec_async(&mut redis).await?)
}
