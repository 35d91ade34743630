//! The SDK's local runner simulates the durable execution service: it stores checkpoints in memory and invokes the function again.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use aws_durable_execution_sdk::test_util::{LocalRunner, TestResult};
use aws_durable_execution_sdk::{DurableContext, RetryDecision, StepError, StepSemantics};
use idempotency::{Idempotency, IdempotencyConfig, Setup, Stores};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::pay;
use super::payment::Payments;
use super::provider::Provider;

/// The first checkpoint of the step is stored. The second checkpoint, which contains the result, fails. So the invocation ends
/// after the charge, and the runner invokes the function again.
fn a_crash_after_the_step() -> LocalRunner {
    LocalRunner::new().fail_checkpoints_after_retryable(1, 1)
}

struct Requests {
    folder: TempDir,
}

impl Requests {
    fn new() -> Self {
        let folder = TempDir::new().expect("a folder");
        Self { folder }
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("requests.txt")
    }

    /// The effect of each request that the provider received.
    fn effects(&self) -> Vec<String> {
        let text = fs::read_to_string(self.file()).unwrap_or_default();
        let effect = |line: &str| line.split(' ').next().unwrap_or_default().to_owned();
        text.lines().map(effect).collect()
    }
}

fn order(amount: u32) -> Value {
    json!({"payment": "p-1", "amount": amount})
}

fn payments(provider: Provider) -> Arc<Payments> {
    Arc::new(Payments {
        idempotency: Idempotency::in_memory(),
        provider,
        time_to_charge: Duration::from_secs(10),
    })
}

/// Runs one execution.
async fn execute(runner: LocalRunner, payments: &Arc<Payments>, order: Value) -> TestResult<Value> {
    let payments = Arc::clone(payments);
    let handler = move |order, context| pay(Arc::clone(&payments), order, context);
    runner.run(handler, order).await
}

#[tokio::test]
async fn a_step_that_runs_again_sends_no_second_request() {
    let requests = Requests::new();
    let payments = payments(Provider::new(requests.file()));

    let result = execute(a_crash_after_the_step(), &payments, order(1999)).await;

    assert!(result.is_success(), "{result:?}");
    assert_eq!(result.invocation_count(), 2);
    assert_eq!(requests.effects(), ["charged"]);
}

#[tokio::test]
async fn a_second_execution_of_the_payment_gets_the_receipt() {
    let requests = Requests::new();
    let payments = payments(Provider::new(requests.file()));

    let first = execute(LocalRunner::new(), &payments, order(1999)).await;
    let again = execute(LocalRunner::new(), &payments, order(1999)).await;
    let another_order = execute(LocalRunner::new(), &payments, order(1)).await;

    assert!(first.is_success(), "{first:?}");
    assert_eq!(again.output(), first.output());
    assert!(another_order.is_failure());
    assert_eq!(requests.effects(), ["charged"]);
}

/// Simulates a crash after the charge: starts an execution, and drops it before it stores the result. Returns the payments of a new
/// process with the same store.
async fn crash_during_the_charge(requests: &Requests, time_to_charge: Duration) -> Arc<Payments> {
    let idempotency = Idempotency::new(Setup {
        config: IdempotencyConfig {
            lease_grace: Duration::ZERO,
            ..IdempotencyConfig::default()
        },
        ..Setup::of(Stores {
            memory: true,
            ..Stores::default()
        })
    });
    let crashing = Arc::new(Payments {
        idempotency,
        provider: Provider::without_response(requests.file()),
        time_to_charge,
    });
    let execution = execute(LocalRunner::new(), &crashing, order(1999));
    let crashed = tokio::time::timeout(Duration::from_millis(50), execution).await;
    assert!(crashed.is_err());
    let crashed = Arc::into_inner(crashing).expect("no other owner");
    Arc::new(Payments {
        provider: Provider::new(requests.file()),
        ..crashed
    })
}

#[tokio::test]
async fn while_the_lease_of_a_crashed_attempt_runs_the_step_is_retried() {
    let requests = Requests::new();
    let payments = crash_during_the_charge(&requests, Duration::from_secs(10)).await;

    // The runner does not wait for the delays, so each retry comes too early.
    let result = execute(LocalRunner::new(), &payments, order(1999)).await;

    assert!(result.is_failure());
    assert_eq!(result.invocation_count(), 10);
    assert_eq!(requests.effects(), ["charged"]);
}

#[tokio::test]
async fn after_the_lease_of_a_crashed_attempt_the_next_one_sends_the_same_key() {
    let requests = Requests::new();
    let payments = crash_during_the_charge(&requests, Duration::from_millis(300)).await;

    let end = Instant::now() + Duration::from_secs(10);
    let mut result = execute(LocalRunner::new(), &payments, order(1999)).await;
    while !result.is_success() && Instant::now() < end {
        result = execute(LocalRunner::new(), &payments, order(1999)).await;
    }

    assert!(result.is_success(), "{result:?}");
    assert_eq!(requests.effects(), ["charged", "recognised"]);
}

/// The behaviour of the SDK without the library, after the same crash.
#[tokio::test]
async fn without_the_library_only_at_most_once_without_retries_sends_one_request() {
    let cases = [
        (StepSemantics::AtLeastOncePerRetry, 2, 2, true),
        (StepSemantics::AtLeastOncePerRetry, 1, 2, true),
        (StepSemantics::AtMostOncePerRetry, 2, 2, true),
        // One request, but the execution fails although the payment is charged.
        (StepSemantics::AtMostOncePerRetry, 1, 1, false),
    ];
    for (semantics, attempts, sent, succeeds) in cases {
        let requests = Requests::new();
        let provider = Arc::new(Provider::new(requests.file()));
        let handler = move |order: Value, context: DurableContext| {
            let provider = Arc::clone(&provider);
            async move {
                let step = context.step(move |_| async move {
                    Ok(provider.charge("p-1", &order.to_string()).await?)
                });
                let retry = move |_: &StepError, attempt| {
                    let delay = Duration::from_secs(1);
                    if attempt < attempts {
                        RetryDecision::Retry { delay }
                    } else {
                        RetryDecision::Stop
                    }
                };
                Ok(step.semantics(semantics).retry_strategy(retry).await?)
            }
        };
        let result: TestResult<String> = a_crash_after_the_step().run(handler, order(1999)).await;
        assert_eq!(requests.effects().len(), sent, "{semantics:?}");
        assert_eq!(result.is_success(), succeeds, "{semantics:?} {result:?}");
    }
}
