//! Processes of the function `tests/examples/pays.rs` under the Runtime API. The processes are killed or frozen in the
//! middle of a payment, or their clocks are wrong.

use std::path::Path;
use std::time::Duration;

use futures_util::future::join_all;
use harness::{Answer, Lambda, LambdaBuilder, MongoServer, RedisServer, TestRequest, eventually};
use jiff::SignedDuration;
use mongodb::bson::doc;
use serde_json::json;
use tempfile::NamedTempFile;

/// One payment: the stores that all processes share, and the file with one line for each charge.
struct Payment {
    redis: RedisServer,
    database: String,
    ledger: NamedTempFile,
}

const LIMIT: Duration = Duration::from_secs(20);

impl Payment {
    async fn new() -> Self {
        Self {
            redis: RedisServer::start().await,
            database: MongoServer::shared().await.fresh_database(),
            ledger: NamedTempFile::new().expect("a file"),
        }
    }

    /// Starts another process. The process gets the deadline that `cargo lambda watch` sends, which is in 1970. So the
    /// variable `IDEMPOTENCY_LEASE_MS` determines the length of the lease.
    async fn process(&self) -> Lambda {
        let process = self.builder().await.env("IDEMPOTENCY_LEASE_MS", "400");
        process.local_deadlines().start().await
    }

    /// Starts another process whose clock is wrong by this many seconds. The deadlines of its requests are wrong by the
    /// same time.
    async fn process_off_by(&self, seconds: i64) -> Lambda {
        let process = self
            .builder()
            .await
            .env("IDEMPOTENCY_LEASE_GRACE_MS", "100");
        let process = process.clock_off_by(SignedDuration::from_secs(seconds));
        process.timeout(Duration::from_secs(2)).start().await
    }

    async fn builder(&self) -> LambdaBuilder {
        Lambda::example("pays")
            .env("REDIS_URL", &self.redis.url())
            .env("MONGODB_URI", &MongoServer::shared().await.uri())
            .env("MONGODB_DATABASE", &self.database)
    }

    /// Waits until the key is claimed in MongoDB.
    async fn claimed(&self) {
        let server = MongoServer::shared().await;
        let records = server.collection(&self.database, "idempotency").await;
        eventually(LIMIT, async || {
            records
                .find_one(doc! {})
                .await
                .expect("reachable")
                .is_some()
        })
        .await;
    }

    fn request(&self, before_ms: u64, after_ms: u64) -> TestRequest {
        let path = self.ledger.path().to_str().expect("UTF-8");
        TestRequest::post("/pay")
            .header("idempotency-key", "K-1")
            .header("x-ledger", path)
            .header("x-before-ms", &before_ms.to_string())
            .header("x-after-ms", &after_ms.to_string())
            .json(&json!({ "amount": 10 }))
    }

    fn charges(&self) -> usize {
        charges(self.ledger.path())
    }

    /// Repeats the request until the answer is no longer `in progress`. Returns the last answer.
    async fn final_answer(&self, lambda: &Lambda) -> Answer {
        let mut last = None;
        eventually(LIMIT, async || {
            let answer = lambda.request(self.request(0, 0)).await;
            let is_final = answer.json() != "in progress";
            last = Some(answer);
            is_final
        })
        .await;
        last.expect("asked")
    }
}

fn charges(ledger: &Path) -> usize {
    std::fs::read_to_string(ledger)
        .expect("readable")
        .lines()
        .count()
}

#[tokio::test]
async fn a_payment_survives_its_process() {
    let payment = Payment::new().await;
    let first = payment.process().await;
    assert_eq!(first.request(payment.request(0, 0)).await.json(), "charged");
    first.stop().await;

    let second = payment.process().await;

    let answer = second.request(payment.request(0, 0)).await;
    assert_eq!(answer.json(), "charged before");
    assert_eq!(payment.charges(), 1);
}

/// The process is killed before the claim, before the charge, before the result, or after the result.
#[tokio::test]
async fn a_killed_process_leads_to_no_second_charge() {
    let deaths = [0, 10, 20, 30, 45, 60, 80, 100, 120].map(async |milliseconds| {
        let payment = Payment::new().await;
        let (victim, other) = (payment.process().await, payment.process().await);
        let pending = victim.queue(payment.request(40, 40)).await;
        tokio::time::sleep(Duration::from_millis(milliseconds)).await;
        victim.stop().await;
        drop(pending);

        let answer = payment.final_answer(&other).await;

        let charges = payment.charges();
        assert!(charges <= 1, "{milliseconds} ms: {charges} charges");
        if charges == 0 {
            assert_eq!(answer.json(), "unknown", "{milliseconds} ms");
        }
    });
    join_all(deaths).await;
}

/// The process is frozen before the charge. Long after the end of its lease, when other callers have already claimed
/// the key, the process is thawed.
#[tokio::test]
async fn a_process_frozen_past_its_lease_charges_once() {
    let payment = Payment::new().await;
    let (frozen, other) = (payment.process().await, payment.process().await);
    let pending = frozen.queue(payment.request(1_000, 0)).await;
    payment.claimed().await;
    frozen.suspend().await;
    assert_eq!(payment.final_answer(&other).await.json(), "unknown");
    assert_eq!(payment.charges(), 0);

    frozen.thaw().await;
    let late = pending.await;

    assert!(payment.charges() <= 1);
    let again = payment.final_answer(&other).await;
    match late.text() {
        r#""charged""# => assert_eq!(again.json(), "charged before"),
        r#""unknown""# => assert_eq!(again.json(), "unknown"),
        other => panic!("{other}"),
    }
    other.assert_logs_are_well_formed();
    other.plant_secret("K-1");
    other.assert_no_secret_in_logs();
}

/// The clocks of the two processes differ by a minute. The lease ends by the clock of the store.
#[tokio::test]
async fn wrong_clocks_end_no_lease_early_or_late() {
    for (first, second) in [(30, -30), (-30, 30)] {
        let payment = Payment::new().await;
        let victim = payment.process_off_by(first).await;
        let other = payment.process_off_by(second).await;
        let pending = victim.queue(payment.request(1_500, 0)).await;
        payment.claimed().await;
        victim.stop().await;
        drop(pending);

        let answer = other.request(payment.request(0, 0)).await;
        assert_eq!(answer.json(), "in progress", "{first} {second}");
        // If the lease ended half a minute late, `final_answer` would time out.
        assert_eq!(payment.final_answer(&other).await.json(), "unknown");
        assert_eq!(payment.charges(), 0);
    }
}

#[tokio::test]
async fn a_wrong_clock_prevents_no_payment() {
    for (first, second) in [(30, -30), (-30, 30)] {
        let payment = Payment::new().await;
        let one = payment.process_off_by(first).await;
        let other = payment.process_off_by(second).await;

        assert_eq!(one.request(payment.request(0, 0)).await.json(), "charged");
        let again = other.request(payment.request(0, 0)).await;

        assert_eq!(again.json(), "charged before");
        assert_eq!(payment.charges(), 1);
    }
}

#[tokio::test]
async fn of_many_processes_one_charges() {
    let payment = Payment::new().await;
    let processes = join_all((0..4).map(|_| payment.process())).await;

    let answers = processes
        .iter()
        .map(|lambda| async { lambda.request(payment.request(30, 30)).await });
    let answers = join_all(answers).await;

    assert_eq!(payment.charges(), 1);
    const EXPECTED: [&str; 3] = [r#""charged""#, r#""charged before""#, r#""in progress""#];
    let fresh = answers.iter().filter(|answer| answer.json() == "charged");
    assert_eq!(fresh.count(), 1);
    for answer in answers {
        assert!(EXPECTED.contains(&answer.text()), "{}", answer.text());
    }
}
