//! A durable payment function. `{"payment": "p-1", "amount": 1999}` charges once, even if it is sent several times or a process
//! crashes.
//!
//! Three layers protect a payment:
//!
//! 1. Durable execution invokes the function again after a crash, and returns the recorded result of each finished step. If the
//!    result of a step is not recorded, the step runs again.
//! 2. The idempotency library stores the receipt under the payment's id. A step that runs again receives this receipt, and does not
//!    charge. The same holds for another execution of the same payment.
//! 3. The provider recognises the derived key. After a crash between the charge and the receipt, only the provider has a record of
//!    the charge. The next attempt sends the same derived key, so the provider does not charge again.
//!
//! `REDIS_URL` selects the Redis (or Valkey) server that stores the keys. Without this variable, the memory of the process stores
//! the keys. Use that only for a first try.

mod payment;
mod provider;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use aws_durable_execution_sdk::{self as durable, BoxError, DurableContext};
use idempotency::redis_client::{RedisClient, RedisConfig};
use idempotency::secret::Secrets;
use idempotency::{Idempotency, Setup, Stores};
use serde_json::{Value, json};

use payment::Payments;
use provider::Provider;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), BoxError> {
    let url = std::env::var("REDIS_URL").ok();
    let redis = url.map(|url| RedisClient::new(&RedisConfig::at(url), &Secrets::without_store()));
    let idempotency = Idempotency::new(Setup::of(Stores {
        memory: redis.is_none(),
        redis,
        ..Stores::default()
    }));
    let file = std::env::var("CHARGES").unwrap_or_else(|_| "charges.txt".to_owned());
    let payments = Arc::new(Payments {
        idempotency,
        provider: Provider::new(file),
        time_to_charge: Duration::from_secs(10),
    });
    durable::run(move |order, context| pay(Arc::clone(&payments), order, context)).await
}

async fn pay(
    payments: Arc<Payments>,
    order: Value,
    context: DurableContext,
) -> Result<Value, BoxError> {
    // The step may run more than once (`AtLeastOncePerRetry`). `AtMostOncePerRetry` would not help. The retry strategy is called
    // for an interrupted attempt too, and each retry runs the step again.
    let receipt = context
        .step(move |_| async move { Ok(payments.charge(&order).await?) })
        .name("charge")
        .retry_strategy(payment::retry)
        .await?;
    // Later steps follow here. A crash in one of them does not run the step `charge` again.
    Ok(json!({"receipt": receipt}))
}
