//! A process that ends at any moment of a payment, and those that come after it.

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
use super::steps::{AttemptOutcome, ConcurrentAttempt, PaymentBackends, Purpose, advance};
use super::{Answer, NewPayment, Order, Payment, Payments, Timestamp};

/// The moment at which a process ends: before or after one of the calls that it makes to the ledger and the provider.
struct Doom {
    at: usize,
    moments: AtomicUsize,
}

/// What is called through it ends with the process.
struct Doomed<T> {
    inner: T,
    doom: Arc<Doom>,
    /// Whether the provider forgets the keys of what it has created.
    is_forgetful: bool,
}

impl Doom {
    async fn moment(&self) {
        if self.moments.fetch_add(1, Ordering::SeqCst) == self.at {
            std::future::pending::<()>().await;
        }
        // Lets others come in between.
        tokio::task::yield_now().await;
    }

    async fn around<T>(&self, call: impl Future<Output = T>) -> T {
        self.moment().await;
        let value = call.await;
        self.moment().await;
        value
    }
}

#[async_trait]
impl Ledger for Doomed<FileLedger> {
    async fn open(&self, payment: &Payment, deadline: Deadline) -> Result<Payment, LedgerError> {
        self.doom.around(self.inner.open(payment, deadline)).await
    }

    async fn change(
        &self,
        payment: &Payment,
        change: &Change,
        deadline: Deadline,
    ) -> Result<ChangeResult, LedgerError> {
        let changing = self.inner.change(payment, change, deadline);
        self.doom.around(changing).await
    }

    async fn read(&self, id: &str, deadline: Deadline) -> Result<Option<Payment>, LedgerError> {
        self.doom.around(self.inner.read(id, deadline)).await
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
impl Provider for Doomed<Sandbox> {
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
        self.doom.around(creating).await
    }

    async fn confirm(
        &self,
        intent: &str,
        order: &Order,
        deadline: Deadline,
    ) -> Result<Intent, ProviderError> {
        let confirming = self.inner.confirm(intent, order, deadline);
        self.doom.around(confirming).await
    }

    async fn inspect(&self, intent: &str, deadline: Deadline) -> Result<Intent, ProviderError> {
        self.doom.around(self.inner.inspect(intent, deadline)).await
    }

    async fn cancel(&self, intent: &str, deadline: Deadline) -> Result<Intent, ProviderError> {
        self.doom.around(self.inner.cancel(intent, deadline)).await
    }
}

/// The order that a body is, also one that is refused now.
fn order_of(body: &[u8]) -> Order {
    let parsed = Order::parse(body, &Environment::laptop());
    parsed.expect("an order").order
}

/// A till whose processes share an engine, a ledger and a provider.
struct World {
    folder: TempDir,
    idempotency: Idempotency,
    is_forgetful: bool,
}

const NEVER: usize = usize::MAX;

/// An engine over memory, whose leases are short.
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

impl World {
    fn new(is_forgetful: bool) -> Self {
        Self {
            folder: TempDir::new().expect("a folder"),
            idempotency: engine(),
            is_forgetful,
        }
    }

    /// A process that ends at a moment.
    fn process(&self, at: usize) -> Payments {
        let doom = Arc::new(Doom {
            at,
            moments: AtomicUsize::new(0),
        });
        let ledger = Doomed {
            inner: FileLedger::new(self.folder.path()),
            doom: Arc::clone(&doom),
            is_forgetful: false,
        };
        let provider = Doomed {
            inner: Sandbox::new(self.folder.path()),
            doom,
            is_forgetful: self.is_forgetful,
        };
        Payments {
            idempotency: self.idempotency.clone(),
            environment: Environment::laptop(),
            ledger: Some(Arc::new(ledger)),
            provider: Some(Arc::new(provider)),
            anomalies: Anomalies::new(Metrics::off()),
            cancel_after: Duration::from_secs(3_600),
        }
    }

    /// The key of every request of this world.
    fn key(&self) -> DerivedKey {
        let scope = Scope::http("payments.create", "local").expect("a scope");
        let key = IdempotencyKey::parse("k-1").expect("a key");
        self.idempotency.derived_key(&RecordKey::new(&scope, &key))
    }

    /// How many intents were charged.
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

    /// Two clients that come until they have a final answer: what they were told.
    async fn settled(&self) -> [ClientAnswer; 2] {
        let processes = [self.process(NEVER), self.process(NEVER)];
        let client = async |process: &Payments, method: &str| loop {
            let answer = process.told(&asked(method)).await;
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

/// A body that a client sends, under the one key of a world.
#[derive(Clone)]
struct ClientRequest(String);

/// What a client is answered, in short.
struct ClientAnswer {
    status: StatusCode,
    body: Bytes,
    is_replay: bool,
}

impl Payments {
    async fn told(&self, asked: &ClientRequest) -> ClientAnswer {
        let ClientRequest(body) = asked;
        let environment = Environment::laptop();
        let tenant = Tenant::of(&Caller::default(), &environment).expect("a laptop's");
        let key = IdempotencyKey::parse("k-1").expect("a key");
        let answer = match NewPayment::parse(tenant, key, body.as_bytes(), &environment) {
            Ok(asked) => self.create(asked, None, Deadline::UNKNOWN).await.answer,
            Err(faults) => Answer::InvalidBody(faults),
        };
        let (status, body, is_replay) = match answer {
            Answer::Ended { answer, is_replay } => {
                let body = answer.whole_body().expect("whole").clone();
                (answer.status, body, is_replay)
            }
            Answer::Pending { payment, more } => {
                (StatusCode::ACCEPTED, payment.to_json(&more).into(), false)
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

fn asked(method: &str) -> ClientRequest {
    asked_of(1000, "EUR", method)
}

fn asked_of(amount: i64, currency: &str, method: &str) -> ClientRequest {
    let order = json!({"amount": amount, "currency": currency, "payment_method": method});
    ClientRequest(order.to_string())
}

/// Lets a process end at every moment of a payment by this method; at each, two clients then come to one answer.
async fn whenever_a_process_ends(method: &str, status: u16, charges: usize, is_forgetful: bool) {
    for moment in 0.. {
        let world = World::new(is_forgetful);
        std::fs::write(world.folder.path().join("method"), method).expect("written");
        let victim = world.process(moment);
        let asked = asked(method);
        let paying = victim.told(&asked);
        let survived = tokio::time::timeout(Duration::from_millis(150), paying).await;

        let [first, second] = world.settled().await;

        let case = format!("{method}, moment {moment}, forgetful {is_forgetful}");
        assert_eq!(first.status.as_u16(), status, "{case}");
        assert_eq!(first.body, second.body, "{case}");
        assert_eq!(world.charges(), charges, "{case}");
        if let Ok(answer) = survived {
            assert!(moment > 6, "{case}: no process ended");
            if answer.status.as_u16() == status {
                assert_eq!(answer.body, first.body, "{case}");
            }
            return;
        }
    }
}

/// As after the loss of every claim: nothing but the ledger and the provider stands between them.
#[tokio::test]
async fn attempts_at_once_charge_one_intent() {
    for is_forgetful in [false, true] {
        let world = World::new(is_forgetful);
        let till = world.process(NEVER);
        let (ledger, provider) = (
            till.ledger.as_deref().expect("a ledger"),
            till.provider.as_deref().expect("a provider"),
        );
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
            let opened = ledger.open(&payment, Deadline::UNKNOWN).await;
            let opened = opened.expect("opened");
            let reached = advance(
                PaymentBackends {
                    ledger,
                    provider,
                    anomalies: &till.anomalies,
                },
                opened,
                &key,
                Purpose::Pay,
                ConcurrentAttempt::Possible,
                Deadline::UNKNOWN,
            )
            .await;
            match reached {
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
                whenever_a_process_ends($method, $status, $charges, is_forgetful).await;
            }
        }
    )* };
}

methods! {
    a_charge_is_made_once_whenever_a_process_ends: "pm_card_visa", 201, 1;
    a_decline_stays_one_whenever_a_process_ends: "pm_card_chargeDeclined", 402, 0;
    a_lost_confirmation_is_repeated_whenever_a_process_ends: "pm_sandbox_timeout_before", 201, 1;
    a_lost_answer_is_found_whenever_a_process_ends: "pm_sandbox_timeout_after", 201, 1;
    an_error_of_the_providers_is_looked_into_whenever_a_process_ends: "pm_sandbox_5xx", 201, 1;
    a_customer_acts_once_whenever_a_process_ends: "pm_sandbox_requires_action", 201, 1;
}
