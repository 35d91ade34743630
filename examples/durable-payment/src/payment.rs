//! The charge of one payment. The idempotency library and the derived key prevent a second charge.

use std::error::Error;
use std::fmt;
use std::time::Duration;

use aws_durable_execution_sdk::{RetryDecision, StepError};
use idempotency::{
    Blocked, Deadline, Failure, Fingerprint, Idempotency, IdempotencyKey, Lease, Operation, Policy,
    RecordKey, Request, RunOutcome, SavedResponse, Scope, StatusCode,
};
use serde_json::Value;

use super::provider::Provider;

/// The provider recognises a derived key for a day, as Stripe does.
const RECOGNISED: Duration = Duration::from_secs(24 * 60 * 60);
/// The delay before a retry after a failure.
const DELAY: Duration = Duration::from_secs(2);
/// The largest number of attempts of the step. After the last attempt, the execution fails.
const ATTEMPTS: u32 = 10;

pub(crate) struct Payments {
    pub(crate) idempotency: Idempotency,
    pub(crate) provider: Provider,
    pub(crate) time_to_charge: Duration,
}

/// Why an attempt of the step has no receipt.
#[derive(Debug)]
pub(crate) enum NotPaid {
    /// A retry after this time may succeed.
    Retry { after: Duration, reason: String },
    /// Every retry would fail.
    Stop { reason: String },
}

impl Payments {
    /// Charges the payment, or returns the receipt of an earlier attempt.
    pub(crate) async fn charge(&self, order: &Value) -> Result<String, NotPaid> {
        let body = order.to_string();
        let payment =
            operation(order, &body, self.time_to_charge).map_err(|error| NotPaid::stop(&error))?;
        let work = async |lease: &mut Lease| {
            let key = lease.derived_key();
            match self.provider.charge(key.as_str(), &body).await {
                Ok(receipt) => Ok(SavedResponse::new(StatusCode::CREATED, receipt)),
                Err(error) => Err(Failure::MayHaveHappened(error)),
            }
        };
        let deadline = Deadline::after(self.time_to_charge);
        let ran = self.idempotency.run(&payment, deadline, work).await;
        // Nothing ran: the store is unavailable, or too little time is left.
        let outcome = ran.map_err(|error| NotPaid::retry(DELAY, &error))?.value;
        match outcome {
            // An unstored result (`NotDurable`) is not lost: durable execution records it as the result of the step.
            RunOutcome::Fresh(receipt)
            | RunOutcome::NotDurable(receipt)
            | RunOutcome::Blocked(Blocked::Replay(receipt)) => Ok(text(&receipt)),
            // Another attempt runs or has crashed. The execution waits until the lease ends, without compute charges.
            RunOutcome::Blocked(Blocked::InProgress { retry_after }) => Err(NotPaid::retry(
                retry_after,
                &"another attempt holds the lease",
            )),
            // The policy permits another attempt, which sends the same derived key.
            RunOutcome::MayHaveHappened(error) | RunOutcome::NothingHappened(error) => {
                Err(NotPaid::retry(DELAY, &error))
            }
            RunOutcome::Overran => Err(NotPaid::retry(
                DELAY,
                &"the provider did not respond in time",
            )),
            RunOutcome::Blocked(Blocked::Mismatch) => {
                Err(NotPaid::stop(&"the payment's id belongs to another order"))
            }
            // The provider no longer recognises the derived key, so an operator has to resolve the key.
            RunOutcome::Blocked(Blocked::Unknown(_)) => {
                Err(NotPaid::stop(&"the outcome is unknown"))
            }
        }
    }
}

/// The retry strategy of the step.
pub(crate) fn retry(error: &StepError, attempt: u32) -> RetryDecision {
    let cause = error.source().and_then(|source| source.downcast_ref());
    match cause {
        Some(NotPaid::Retry { after, .. }) if attempt < ATTEMPTS => {
            RetryDecision::Retry { delay: *after }
        }
        _ => RetryDecision::Stop,
    }
}

/// The key is the payment's id, because executions with different names may be for the same payment. So a second execution for a
/// payment receives the receipt of the first execution.
fn operation(order: &Value, body: &str, time: Duration) -> Result<Operation, Box<dyn Error>> {
    let scope = Scope::function("durable-payment", "shop")?;
    let id = order["payment"].as_str().unwrap_or_default();
    let key = RecordKey::new(&scope, &IdempotencyKey::parse(id)?);
    let request = Request {
        method: "POST",
        route: "/payments",
        tenant: "shop",
        payload: body.as_bytes(),
    };
    let policy = Policy::rerun_within(RECOGNISED, time);
    Ok(Operation::new(key, Fingerprint::of(&request)?).with_policy(policy))
}

fn text(receipt: &SavedResponse) -> String {
    let body = receipt.whole_body().map(|body| body.to_vec());
    String::from_utf8(body.unwrap_or_default()).unwrap_or_default()
}

impl NotPaid {
    fn retry(after: Duration, reason: &dyn fmt::Display) -> Self {
        let reason = reason.to_string();
        Self::Retry { after, reason }
    }

    fn stop(reason: &dyn fmt::Display) -> Self {
        let reason = reason.to_string();
        Self::Stop { reason }
    }
}

impl fmt::Display for NotPaid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::Retry { reason, .. } | Self::Stop { reason }) = self;
        write!(f, "not paid: {reason}")
    }
}

impl Error for NotPaid {}
