//! The crate `idempotent` with its Valkey store, on bare `lambda_http`. It claims, runs and caches in one call, as in its README.
//!
//! The store connects at the start, as its builder does. Its README answers a mismatch with 400; this function answers 422, like
//! all contestants.

use std::time::Duration;

use bytes::Bytes;
use idempotent::valkey::ValkeyStore;
use idempotent::{
    CachedResponse, ExecutionError, ExecutionOutcome, IdempotencyKey, IdempotencyStore, Metadata,
};
use lambda_http::{Body, Error, Request, Response, run, service_fn};

use self::contract::{ContestantSettings, variable};

#[path = "../../../src/contract.rs"]
mod contract;

/// The retention of a result.
const WINDOW: Duration = Duration::from_secs(3_600);
/// The default lease of a claim. The documentation of `idempotent` says: "a minute is typical".
const LEASE: Duration = Duration::from_secs(60);

struct State {
    /// `None` if the function runs without idempotency.
    store: Option<ValkeyStore>,
    lease: Duration,
    settings: ContestantSettings,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let settings = ContestantSettings::read();
    let store = match variable("REDIS_URL").filter(|_| settings.is_idempotent) {
        Some(url) => Some(ValkeyStore::with_url(url).prefix("bench").try_build().await?),
        None => None,
    };
    let lease = variable("BENCH_LEASE_SECONDS").and_then(|seconds| seconds.parse().ok());
    let state = State {
        store,
        lease: lease.map_or(LEASE, Duration::from_secs),
        settings,
    };
    run(service_fn(|request| answer(&state, request))).await
}

async fn answer(state: &State, request: Request) -> Result<Response<Body>, Error> {
    let key = request.headers().get("idempotency-key");
    let key = key.and_then(|key| key.to_str().ok()).unwrap_or_default();
    let body = request.body().as_ref();
    let Some(store) = &state.store else {
        return created(state.settings.work(key, body).await?.into());
    };
    let claimed = IdempotencyKey::new(key)?;
    let charge = store
        .claim(&claimed, state.lease)
        .fingerprint("POST /bench", body)
        .execute_or_replay(WINDOW, |_| async {
            let answer = state.settings.work(key, body).await?;
            Ok(CachedResponse::new(201, Metadata::new(), answer.into()))
        });
    match charge.await {
        Ok(ExecutionOutcome::Executed(saved) | ExecutionOutcome::Replayed(saved)) => {
            created(saved.body)
        }
        Ok(ExecutionOutcome::Fenced { .. }) => refused(409, "the claim was lost"),
        Ok(ExecutionOutcome::InFlight) => refused(409, "in flight"),
        Ok(ExecutionOutcome::FingerprintMismatch) => refused(422, "mismatch"),
        Err(ExecutionError::Store(_)) => refused(503, "undecided"),
        Err(error) => Err(error.into()),
    }
}

fn created(body: Bytes) -> Result<Response<Body>, Error> {
    let response = Response::builder()
        .status(201)
        .header("content-type", "application/json");
    Ok(response.body(String::from_utf8(body.into())?.into())?)
}

fn refused(status: u16, why: &str) -> Result<Response<Body>, Error> {
    let response = Response::builder().status(status);
    Ok(response.body(why.to_owned().into())?)
}
