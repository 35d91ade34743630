//! Runs of the reconciler on payments that their clients abandoned.

use std::path::Path;
use std::time::{Duration, Instant};

use foundation::Deadline;
use foundation::secret::Secrets;
use harness::{MongoServer, eventually};
use idempotency::{
    ClaimOutcome, Fingerprint, Idempotency, IdempotencyConfig, IdempotencyKey, Operation, Policy,
    RecordKey, Request, Scope, Stores,
};
use mongo_client::{Mongo, MongoConfig};

use super::{World, order_of};
use crate::ledger::{FileLedger, Ledger};
use crate::provider::{Provider, Sandbox};
use crate::{Payment, ReconcileReport, Reconciler, Setup, State, Timestamp};

/// The last step of the abandoned attempt.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Left {
    Opened,
    Attached,
    Confirmed,
}

const HOUR: Duration = Duration::from_secs(3_600);

fn reconciler(folder: &Path) -> Reconciler {
    Reconciler::new(&Setup::sandbox(folder), Idempotency::in_memory())
}

/// Leaves an abandoned payment with this payment method and age in the ledger. Returns its id.
async fn leave(world: &World, key: &str, method: &str, age: Duration, left: Left) -> String {
    let (ledger, provider) = (
        FileLedger::new(world.folder.path()),
        Sandbox::new(world.folder.path()),
    );
    let body = format!(r#"{{"amount": 1000, "currency": "EUR", "payment_method": "{method}"}}"#);
    let order = order_of(body.as_bytes());
    let fingerprint = Fingerprint::of(&Request::default()).expect("unambiguous");
    let scope = Scope::http("payments.create", "local").expect("a scope");
    let key = RecordKey::new(&scope, &IdempotencyKey::parse(key).expect("a key"));
    let key = world.idempotency.derived_key(&key);
    let created_at = Timestamp::now().before(age);
    let mut payment = Payment::new(&key, "local", &fingerprint, order, "sandbox", created_at);
    if left != Left::Opened {
        let key = key.step("create intent");
        let created = provider.create(&payment, key.as_str(), Deadline::UNKNOWN);
        let intent = created.await.expect("created").id;
        if left == Left::Confirmed {
            let confirming = provider.confirm(&intent, &payment.order, Deadline::UNKNOWN);
            drop(confirming.await);
        }
        (payment.intent, payment.state) = (Some(intent), State::Confirming);
    }
    let opened = ledger.open(&payment, Deadline::UNKNOWN).await;
    opened.expect("opened").id
}

#[tokio::test]
async fn a_run_ends_due_payments_and_reports_the_others() {
    let world = World::new(false);
    let (old, new) = (2 * HOUR, Duration::from_secs(1_800));
    let young = Duration::from_secs(30);
    let left = [
        (
            "pm_sandbox_requires_action",
            new,
            Left::Confirmed,
            State::Succeeded,
        ),
        (
            "pm_card_chargeDeclined",
            new,
            Left::Confirmed,
            State::Declined,
        ),
        ("pm_card_visa", old, Left::Opened, State::Failed),
        ("pm_card_visa", old, Left::Attached, State::Failed),
        ("pm_card_visa", new, Left::Attached, State::Confirming),
        ("pm_card_visa", young, Left::Opened, State::Created),
    ];
    let mut ids = Vec::new();
    for (number, (method, age, left, _)) in left.into_iter().enumerate() {
        ids.push(leave(&world, &format!("k-{number}"), method, age, left).await);
    }
    let payments = world.folder.path().join("payments");
    std::fs::write(payments.join("pay_x.json"), "{}").expect("written");

    let run = reconciler(world.folder.path()).run(Deadline::UNKNOWN).await;

    let oldest = run.oldest_open_seconds;
    assert!(
        oldest.is_some_and(|age| (1_800..3_600).contains(&age)),
        "{oldest:?}"
    );
    let expected = ReconcileReport {
        looked_at: 5,
        succeeded: 1,
        declined: 1,
        failed: 2,
        unreadable: 1,
        finished: true,
        still_open: Some(1),
        oldest_open_seconds: oldest,
    };
    assert_eq!(run, expected);
    let ledger = FileLedger::new(world.folder.path());
    for (id, (method, _, _, state)) in ids.iter().zip(left) {
        let read = ledger.read(id, Deadline::UNKNOWN).await.expect("read");
        assert_eq!(read.map(|payment| payment.state), Some(state), "{method}");
    }
    assert_eq!(world.charges(), 1);
}

/// Regression: the reconciler read the same page again and again until its time was over.
#[tokio::test]
async fn a_run_stops_if_the_ledger_answers_reads_but_no_writes() {
    let world = World::new(false);
    leave(&world, "k-1", "pm_card_visa", 2 * HOUR, Left::Opened).await;
    let lock = world.folder.path().join("payments/.lock");
    std::fs::remove_file(&lock).expect("removed");
    std::fs::create_dir(&lock).expect("nothing can be locked");
    let started = Instant::now();

    let run = reconciler(world.folder.path()).run(Deadline::UNKNOWN).await;

    assert!(started.elapsed() < Duration::from_secs(20));
    assert_eq!((run.looked_at, run.finished), (0, false));
    assert_eq!(run.still_open, Some(1));
}

#[tokio::test]
async fn a_run_without_time_looks_at_no_payment() {
    let world = World::new(false);
    leave(&world, "k-1", "pm_card_visa", 2 * HOUR, Left::Opened).await;
    let deadline = Deadline::after(Duration::from_secs(2));

    let run = reconciler(world.folder.path()).run(deadline).await;

    assert_eq!((run.looked_at, run.finished), (0, false));
}

/// The client claimed a key, but did not open a payment.
#[tokio::test]
async fn a_run_finishes_abandoned_keys_in_mongodb() {
    let server = MongoServer::shared().await;
    let config = MongoConfig::at(server.uri(), server.fresh_database());
    let mongo = Mongo::new(&config, &Secrets::without_store());
    let stores = Stores {
        mongodb: Some(mongo.clone()),
        ..Stores::default()
    };
    let engine = Idempotency::new(idempotency::Setup {
        config: IdempotencyConfig {
            lease: Duration::from_millis(1),
            ..IdempotencyConfig::default()
        },
        ..idempotency::Setup::of(stores)
    });
    let mut setup = Setup {
        mongodb: Some(mongo),
        ..Setup::sandbox("nowhere")
    };
    setup.config.reconcile_after = Duration::from_secs(1);
    let reconciler = Reconciler::new(&setup, engine.clone());
    let scope = Scope::http("payments.create", "local").expect("a scope");
    let key = RecordKey::new(&scope, &IdempotencyKey::parse("k-1").expect("a key"));
    let fingerprint = Fingerprint::of(&Request::default()).expect("unambiguous");
    let operation = Operation::new(key.clone(), fingerprint).with_policy(Policy::RerunAlways);
    let claimed = engine.claim(&operation, Deadline::UNKNOWN).await;
    let outcome = claimed.expect("decided").value;
    assert!(matches!(outcome, ClaimOutcome::Claimed(_)));
    drop(outcome);

    eventually(Duration::from_secs(20), async || {
        reconciler.run(Deadline::UNKNOWN).await;
        let mut pages = engine.unfinished(RecordKey::PREFIX);
        let unfinished = pages.next_page(Deadline::UNKNOWN).await;
        unfinished.expect("read").is_none()
    })
    .await;
}
