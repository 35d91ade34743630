//! The work alone: `lambda_http` without idempotency and without `shared`. The benchmark compares the costs of all contestants
//! with the costs of this contestant.

use lambda_http::{Body, Error, Request, Response, run, service_fn};

use self::contract::ContestantSettings;

#[path = "../contract.rs"]
#[expect(dead_code, reason = "it uses fewer settings than the others")]
mod contract;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let settings = ContestantSettings::read();
    run(service_fn(|request| answer(&settings, request))).await
}

async fn answer(settings: &ContestantSettings, request: Request) -> Result<Response<Body>, Error> {
    let key = request.headers().get("idempotency-key");
    let key = key.and_then(|key| key.to_str().ok()).unwrap_or_default();
    let answer = settings.work(key, request.body().as_ref()).await?;
    let response = Response::builder()
        .status(201)
        .header("content-type", "application/json");
    Ok(response.body(answer.into())?)
}
