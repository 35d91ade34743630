//! A payment Lambda that is invoked directly. The event `{"key": "order-1", "amount": 1999}` charges once, even if it
//! is sent several times.
//!
//! `REDIS_URL` selects the Redis (or Valkey) server that stores the keys. Without this variable, the memory of the
//! process stores the keys. Use that only for a first try.

mod provider;

use std::time::Duration;

use idempotency::redis_client::{RedisClient, RedisConfig};
use idempotency::secret::Secrets;
use idempotency::{
    Blocked, Deadline, Failure, Fingerprint, Idempotency, IdempotencyKey, Lease, Operation,
    RecordKey, Request, RunOutcome, SavedResponse, Scope, Setup, StatusCode, Stores,
};
use lambda_runtime::{Error, LambdaEvent, service_fn};
use serde_json::{Value, json};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let url = std::env::var("REDIS_URL").ok();
    let redis = url.map(|url| RedisClient::new(&RedisConfig::at(url), &Secrets::without_store()));
    let idempotency = Idempotency::new(Setup::of(Stores {
        memory: redis.is_none(),
        redis,
        ..Stores::default()
    }));
    lambda_runtime::run(service_fn(|event| handle(&idempotency, event))).await
}

async fn handle(idempotency: &Idempotency, event: LambdaEvent<Value>) -> Result<Value, Error> {
    let body = event.payload.to_string();
    let key = event.payload["key"].as_str().unwrap_or_default();
    Ok(match pay(idempotency, key, body.as_bytes()).await? {
        RunOutcome::Fresh(receipt) => json!({"charged": true, "receipt": text(&receipt)}),
        RunOutcome::Blocked(Blocked::Replay(receipt)) => {
            json!({"charged": false, "receipt": text(&receipt)})
        }
        RunOutcome::Blocked(Blocked::InProgress { retry_after }) => {
            json!({"retry_after_ms": retry_after.as_millis()})
        }
        other => json!({"not_paid": format!("{other:?}")}),
    })
}

async fn pay(
    idempotency: &Idempotency,
    key: &str,
    body: &[u8],
) -> Result<RunOutcome<String>, Error> {
    let scope = Scope::http("payments.create", "shop")?;
    let key = RecordKey::new(&scope, &IdempotencyKey::parse(key)?);
    let request = Request {
        method: "POST",
        route: "/payments",
        tenant: "shop",
        payload: body,
    };
    let payment = Operation::new(key, Fingerprint::of(&request)?);
    let work = async |lease: &mut Lease| {
        // The derived key is the same for every attempt, so the provider recognises a repeated request.
        match provider::charge(lease.derived_key().as_str(), body).await {
            Ok(receipt) => Ok(SavedResponse::new(StatusCode::CREATED, receipt)),
            Err(error) => Err(Failure::MayHaveHappened(error.to_string())),
        }
    };
    let deadline = Deadline::after(Duration::from_secs(10));
    Ok(idempotency.run(&payment, deadline, work).await?.value)
}

fn text(receipt: &SavedResponse) -> String {
    let body = receipt.whole_body().map(|body| body.to_vec());
    String::from_utf8(body.unwrap_or_default()).unwrap_or_default()
}
