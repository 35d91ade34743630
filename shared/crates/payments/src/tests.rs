//! A process crashes at any step of a payment, and other processes continue the payment.

mod amount;
mod answers;
mod events;
mod keys;
mod older_version;
mod others;
mod reconciling;
mod refusals;
mod signing;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use foundation::{Deadline, Environment};
use futures_util::future::join_all;
use http::StatusCode;
use http_api::{Caller, Tenant};
use idempotency::{
    self, DerivedKey, Fingerprint, Idempotency, IdempotencyConfig, IdempotencyKey, RecordKey,
    Scope, Stores,
};
use serde_json::{Value, json};
use telemetry::metrics::Metrics;
use tempfile::TempDir;

use super::anomaly::Anomalies;
use super::ledger::{Change, ChangeResult, FileLedger, Ledger, LedgerError, OpenPayments, Queue};
use super::provider::{Intent, Provider, ProviderError, Sandbox};
use super::service::PaymentService;
use super::steps::{Attempt, AttemptOutcome, ConcurrentAttempt, Purpose};
use super::{Answer, NewPayment, Order, Payment, Payments, Timestamp};

/// The point at which a process crashes. There is one point before each call to the ledger or the provider, and one
/// point after each call.
struct Crash {
    at: usize,
    passed: AtomicUsize,
}

/// A ledger or a provider. After the process has crashed, its calls never return.
struct Crashing<T> {
    inner: T,
    crash: Arc<Crash>,
    /// Whether the provider forgets idempotency keys, so that each creation makes another intent.
    is_forgetful: bool,
}

impl Crash {
    async fn point(&self) {
        if self.passed.fetch_add(1, Ordering::SeqCst) == self.at {
            std::future::pending::<()>().await;
        }
        // Lets other tasks run before this task continues.
        tokio::task::yield_now().await;
    }

    async fn around<T>(&self, call: impl Future<Output = T>) -> T {
        self.point().await;
        let value = call.await;
        self.point().await;
        value
    }
}

#[async_trait]
impl Ledger for Crashing<FileLedger> {
    async fn open(&self, payment: &Payment, deadline: Deadline) -> Result<Payment, LedgerError> {
        self.crash.around(self.inner.open(payment, deadline)).await
    }

    async fn change(
        &self,
        payment: &Payment,
        change: &Change,
        deadline: Deadline,
    ) -> Result<ChangeResult, LedgerError> {
        let changing = self.inner.change(payment, change, deadline);
        self.crash.around(changing).await
    }

    async fn read(&self, id: &str, deadline: Deadline) -> Result<Option<Payment>, LedgerError> {
        self.crash.around(self.inner.read(id, deadline)).await
    }

    async fn open_payments(
        &self,
        queue: Queue,
        deadline: Deadline,
    ) -> Result<OpenPayments, LedgerError> {
        self.inner.open_payments(queue, deadline).await
    }

    async fn count_open(
        &self,
        created_before: Timestamp,
        deadline: Deadline,
    ) -> Result<u64, LedgerError> {
        self.inner.count_open(created_before, deadline).await
    }

    async fn prepare(&self, deadline: Deadline) -> Result<(), LedgerError> {
        self.inner.prepare(deadline).await
    }
}

#[async_trait]
impl Provider for Crashing<Sandbox> {
    fn name(&self) -> &'static str {
        self.inner.name()
    }

    async fn create(
        &self,
        payment: &Payment,
        key: &str,
        deadline: Deadline,
    ) -> Result<Intent, ProviderError> {
        static CREATED: AtomicUsize = AtomicUsize::new(0);
        let key = if self.is_forgetful {
            format!("{:024}", CREATED.fetch_add(1, Ordering::SeqCst))
        } else {
            key.to_owned()
        };
        let creating = self.inner.create(payment, &key, deadline);
        self.crash.around(creating).await
    }

    async fn confirm(
        &self,
        intent: &str,
        order: &Order,
        deadline: Deadline,
    ) -> Result<Intent, ProviderError> {
        let confirming = self.inner.confirm(intent, order, deadline);
        self.crash.around(confirming).await
    }

    async fn inspect(&self, intent: &str, deadline: Deadline) -> Result<Intent, ProviderError> {
        self.crash
            .around(self.inner.inspect(intent, deadline))
            .await
    }

    async fn cancel(&self, intent: &str, deadline: Deadline) -> Result<Intent, ProviderError> {
        self.crash.around(self.inner.cancel(intent, deadline)).await
    }
}

/// The order in a body, even if only older versions accepted that order.
fn order_of(body: &[u8]) -> Order {
    let parsed = Order::parse(body, &Environment::laptop());
    parsed.expect("an order").order
}

/// Processes that share an engine, a ledger and a provider.
struct World {
    folder: TempDir,
    idempotency: Idempotency,
    is_forgetful: bool,
}

/// A point that is never reached, so the process does not crash.
const NEVER: usize = usize::MAX;

/// An engine in memory with short leases.
fn engine() -> Idempotency {
    let stores = Stores {
        memory: true,
        ..Stores::default()
    };
    Idempotency::new(idempotency::Setup {
        config: IdempotencyConfig {
            lease: Duration::from_millis(30),
            ..IdempotencyConfig::default()
        },
        ..idempotency::Setup::of(stores)
    })
}

fn service(ledger: impl Ledger + 'static, provider: impl Provider + 'static) -> PaymentService {
    PaymentService {
        ledger: Arc::new(ledger),
        provider: Arc::new(provider),
        anomalies: Anomalies::new(Metrics::off()),
        cancel_after: Duration::from_secs(3_600),
    }
}

impl World {
    fn new(is_forgetful: bool) -> Self {
        Self {
            folder: TempDir::new().expect("a folder"),
            idempotency: engine(),
            is_forgetful,
        }
    }

    /// A process that crashes at the point with the number `at`.
    fn process(&self, at: usize) -> Payments {
        let crash = Arc::new(Crash {
            at,
            passed: AtomicUsize::new(0),
        });
        let ledger = Crashing {
            inner: FileLedger::new(self.folder.path()),
            crash: Arc::clone(&crash),
            is_forgetful: false,
        };
        let provider = Crashing {
            inner: Sandbox::new(self.folder.path()),
            crash,
            is_forgetful: self.is_forgetful,
        };
        self.payments(service(ledger, provider))
    }

    /// A process that uses this provider.
    fn process_with(&self, provider: impl Provider + 'static) -> Payments {
        self.payments(service(FileLedger::new(self.folder.path()), provider))
    }

    fn payments(&self, service: PaymentService) -> Payments {
        Payments {
            idempotency: self.idempotency.clone(),
            environment: Environment::laptop(),
            service: Some(service),
        }
    }

    /// The derived key of every request in these tests.
    fn key(&self) -> DerivedKey {
        let scope = Scope::http("payments.create", "local").expect("a scope");
        let key = IdempotencyKey::parse("k-1").expect("a key");
        self.idempotency.derived_key(&RecordKey::new(&scope, &key))
    }

    /// The number of charged intents.
    fn charges(&self) -> usize {
        let files = std::fs::read_dir(self.folder.path().join("sandbox")).expect("intents");
        files
            .map(|file| std::fs::read(file.expect("readable").path()).expect("readable"))
            .filter(|text| {
                let kept: Value = serde_json::from_slice(text).unwrap_or_default();
                kept["intent"]["status"] == "succeeded"
            })
            .count()
    }

    /// The final answers to two clients. Each client repeats its request until it gets a final answer.
    async fn final_answers(&self) -> [ClientAnswer; 2] {
        let processes = [self.process(NEVER), self.process(NEVER)];
        let client = async |process: &Payments, method: &str| loop {
            let answer = process.answer(&request(method)).await;
            if [201, 402].contains(&answer.status.as_u16()) {
                return answer;
            }
            assert_ne!(answer.status, StatusCode::UNPROCESSABLE_ENTITY);
            tokio::time::sleep(Duration::from_millis(7)).await;
        };
        let method = std::fs::read_to_string(self.folder.path().join("method")).expect("written");
        let (first, second) = tokio::join!(
            client(&processes[0], &method),
            client(&processes[1], &method)
        );
        [first, second]
    }
}

/// The body of a client's request. All requests have the same key.
#[derive(Clone)]
struct ClientRequest(String);

/// The answer to a client, reduced to the parts that the tests compare.
struct ClientAnswer {
    status: StatusCode,
    body: Bytes,
    is_replay: bool,
}

impl Payments {
    async fn answer(&self, request: &ClientRequest) -> ClientAnswer {
        let ClientRequest(body) = request;
        let environment = Environment::laptop();
        let tenant = Tenant::of(&Caller::default(), &environment).expect("a laptop's");
        let key = IdempotencyKey::parse("k-1").expect("a key");
        let answer = match NewPayment::parse(tenant, key, body.as_bytes(), &environment) {
            Ok(new) => self.create(new, None, Deadline::UNKNOWN).await.answer,
            Err(errors) => Answer::InvalidBody(errors),
        };
        let (status, body, is_replay) = match answer {
            Answer::Ended {
                response,
                is_replay,
            } => {
                let body = response.whole_body().expect("whole").clone();
                (response.status, body, is_replay)
            }
            Answer::Pending { payment, extra } => {
                (StatusCode::ACCEPTED, payment.to_json(&extra).into(), false)
            }
            Answer::InvalidBody(_) => (StatusCode::BAD_REQUEST, Bytes::new(), false),
            Answer::InProgress(_) | Answer::OutcomeUnknown => {
                (StatusCode::CONFLICT, Bytes::new(), false)
            }
            Answer::KeyReused => (StatusCode::UNPROCESSABLE_ENTITY, Bytes::new(), false),
            Answer::Unavailable => (StatusCode::SERVICE_UNAVAILABLE, Bytes::new(), false),
        };
        ClientAnswer {
            status,
            body,
            is_replay,
        }
    }
}

fn request(method: &str) -> ClientRequest {
    request_of(1000, "EUR", method)
}

fn request_of(amount: i64, currency: &str, method: &str) -> ClientRequest {
    let order = json!({"amount": amount, "currency": currency, "payment_method": method});
    ClientRequest(order.to_string())
}

/// A process crashes at each point of a payment with this payment method. After each crash, two other clients get the
/// same final answer.
async fn crash_at_each_point(method: &str, status: u16, charges: usize, is_forgetful: bool) {
    for point in 0.. {
        let world = World::new(is_forgetful);
        std::fs::write(world.folder.path().join("method"), method).expect("written");
        let victim = world.process(point);
        let request = request(method);
        let paying = victim.answer(&request);
        let survived = tokio::time::timeout(Duration::from_millis(150), paying).await;

        let [first, second] = world.final_answers().await;

        let case = format!("{method}, point {point}, forgetful {is_forgetful}");
        assert_eq!(first.status.as_u16(), status, "{case}");
        assert_eq!(first.body, second.body, "{case}");
        assert_eq!(world.charges(), charges, "{case}");
        if let Ok(answer) = survived {
            assert!(point > 6, "{case}: no process crashed");
            if answer.status.as_u16() == status {
                assert_eq!(answer.body, first.body, "{case}");
            }
            return;
        }
    }
}

/// The attempts have no claims, as if the idempotency store had lost its data. Only the ledger and the provider prevent
/// a second charge.
#[tokio::test]
async fn concurrent_attempts_without_claims_charge_once() {
    for is_forgetful in [false, true] {
        let world = World::new(is_forgetful);
        let service = world.process(NEVER).service.expect("configured");
        let order = json!({
            "amount": 1000, "currency": "EUR", "payment_method": "pm_card_visa",
            "description": null, "metadata": [], "return_url": null,
        });
        let key = world.key();
        let fingerprint = Fingerprint::of(&idempotency::Request {
            method: "POST",
            route: "/api/payments",
            tenant: "local",
            payload: b"{}",
        });
        let payment = Payment::new(
            &key,
            "local",
            &fingerprint.expect("unambiguous"),
            serde_json::from_value(order).expect("an order"),
            "sandbox",
            Timestamp::EPOCH,
        );
        let attempts = (0..8).map(async |_| {
            let opened = service.ledger.open(&payment, Deadline::UNKNOWN).await;
            let opened = opened.expect("opened");
            let attempt = Attempt::new(
                &service,
                Purpose::Pay,
                ConcurrentAttempt::Possible,
                Deadline::UNKNOWN,
            );
            match attempt.pay(opened, &key).await {
                AttemptOutcome::Ended(ended) => ended.answer,
                AttemptOutcome::Pending(..) | AttemptOutcome::NothingDone(_) => None,
            }
        });

        let answers = join_all(attempts).await;

        assert_eq!(world.charges(), 1);
        assert!(answers[0].is_some() && answers.iter().all(|answer| *answer == answers[0]));
    }
}

macro_rules! methods {
    ($($name:ident: $method:literal, $status:literal, $charges:literal;)*) => { $(
        #[tokio::test]
        async fn $name() {
            for is_forgetful in [false, true] {
                crash_at_each_point($method, $status, $charges, is_forgetful).await;
            }
        }
    )* };
}

methods! {
    a_charge_is_made_once_if_a_process_crashes: "pm_card_visa", 201, 1;
    a_decline_stays_declined_if_a_process_crashes: "pm_card_chargeDeclined", 402, 0;
    a_lost_confirmation_is_repeated_if_a_process_crashes: "pm_sandbox_timeout_before", 201, 1;
    a_charge_with_a_lost_reply_is_found_if_a_process_crashes: "pm_sandbox_timeout_after", 201, 1;
    a_provider_error_is_resolved_if_a_process_crashes: "pm_sandbox_5xx", 201, 1;
    a_customers_action_charges_once_if_a_process_crashes: "pm_sandbox_requires_action", 201, 1;
}
