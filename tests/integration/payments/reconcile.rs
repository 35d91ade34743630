//! Reconciling abandoned payments.

use std::net::SocketAddr;
use std::time::Duration;

use harness::{
    FaultProxy, Lambda, MongoServer, Outcome, STRIPE_TEST_KEY, StripeServer, eventually,
};
use jiff::{SignedDuration, Timestamp};
use mongodb::bson::doc;
use serde_json::{Value, json};

use super::shop::{Shop, ten_euros};

const SOON: &[(&str, &str)] = &[("PAYMENT_RECONCILE_AFTER_SECONDS", "1")];
const CLOSING: &[(&str, &str)] = &[
    ("PAYMENT_RECONCILE_AFTER_SECONDS", "1"),
    ("PAYMENT_CANCEL_AFTER_SECONDS", "1"),
];
/// The longest time that a test waits. Every payment of the tests is due before the end of this time.
const LIMIT: Duration = Duration::from_secs(20);

async fn run(reconciler: &Lambda) -> Value {
    // The EventBridge scheduler sends this event.
    match reconciler.invoke(json!({"source": "aws.scheduler"})).await {
        Outcome::Answered(report) => report,
        failed => panic!("{failed:?}"),
    }
}

/// Runs the reconciler again and again. Adds up the values of `member` in the reports, and stops when the sum is
/// `expected`. Returns the last report.
async fn run_until(reconciler: &Lambda, member: &str, expected: u64) -> Value {
    let (mut sum, mut last) = (0, Value::Null);
    eventually(LIMIT, async || {
        last = run(reconciler).await;
        sum += last[member].as_u64().expect("a number");
        sum == expected
    })
    .await;
    last
}

/// The payment functions, with the provider at this address.
async fn shop_at(stripe: SocketAddr, more: &[(&str, &str)]) -> Shop {
    let base = StripeServer::url_at(stripe);
    let mut variables = vec![
        ("PAYMENT_PROVIDER", "stripe"),
        ("STRIPE_API_KEY", STRIPE_TEST_KEY),
        ("STRIPE_API_BASE", base.as_str()),
    ];
    variables.extend(more);
    Shop::with_mongodb(&variables).await
}

async fn status_of(shop: &Shop, id: &Value) -> String {
    let shown = shop.show(id.as_str().expect("an id")).await.json();
    shown["status"].as_str().expect("a status").to_owned()
}

/// Other functions store idempotency keys too. These keys need a TTL index, even if no provider is configured.
#[tokio::test]
async fn without_a_provider_a_run_still_creates_the_indexes() {
    let mongo = MongoServer::shared().await;
    let database = mongo.fresh_database();
    let reconciler = Lambda::function("payments-reconcile")
        .env("ENVIRONMENT", "production")
        .env("MONGODB_URI", &mongo.uri())
        .env("MONGODB_DATABASE", &database)
        .start()
        .await;

    run(&reconciler).await;

    let records = mongo.collection(&database, "idempotency").await;
    let names = records.list_index_names().await.expect("listed");
    assert!(
        names.contains(&"idempotency_window".to_owned()),
        "{names:?}"
    );
}

#[tokio::test]
async fn a_charge_of_an_abandoned_payment_is_found() {
    for shop in [Shop::on_a_laptop().await, Shop::with_mongodb(&[]).await] {
        let order = ten_euros("pm_sandbox_requires_action");
        let acting = shop.pay("k-1", &order).await.json();
        let reconciler = shop.function("payments-reconcile", SOON).await;

        let report = run_until(&reconciler, "succeeded", 1).await;

        assert_eq!(
            (&report["still_open"], &report["finished"]),
            (&json!(0), &json!(true))
        );
        assert_eq!(status_of(&shop, &acting["id"]).await, "succeeded");
        let answer = shop.pay("k-1", &order).await;
        assert_eq!(
            (answer.status, shop.intents()),
            (201, vec!["succeeded".to_owned()])
        );
        let rested = run(&reconciler).await;
        assert_eq!(rested["looked_at"], 0);
    }
}

#[tokio::test]
async fn an_unconfirmed_payment_is_cancelled_when_it_is_due_and_not_before() {
    let stripe = StripeServer::start().await;
    let shop = shop_at(stripe.address(), &[]).await;
    let card = stripe.card("4000002500003155").await;
    let acting = shop.pay("k-1", &ten_euros(&card)).await.json();
    let patient = shop.function("payments-reconcile", SOON).await;
    let report = run_until(&patient, "looked_at", 1).await;
    assert_eq!(report["still_open"], 1);
    assert!(report["oldest_open_seconds"].as_u64() >= Some(1));
    assert_eq!(status_of(&shop, &acting["id"]).await, "requires_action");

    let closing = shop.function("payments-reconcile", CLOSING).await;
    run_until(&closing, "failed", 1).await;

    assert_eq!(stripe.intents().await, ["canceled"]);
    let answer = shop.pay("k-1", &ten_euros(&card)).await;
    assert_eq!(answer.status, 402, "{}", answer.text());
}

#[tokio::test]
async fn a_client_that_returns_after_the_cancellation_gets_a_failed_payment() {
    let stripe = StripeServer::start().await;
    let shop = shop_at(stripe.address(), &[("PAYMENT_CANCEL_AFTER_SECONDS", "1")]).await;
    let order = ten_euros(&stripe.card("4000002500003155").await);
    assert_eq!(shop.pay("k-1", &order).await.status, 202);

    eventually(LIMIT, async || shop.pay("k-1", &order).await.status == 402).await;

    assert_eq!(stripe.intents().await, ["canceled"]);
}

/// An old payment that the customer can still complete stays open. An unreadable row does not delay other payments.
#[tokio::test]
async fn a_payment_that_is_open_for_days_is_reported_to_an_operator() {
    let stripe = StripeServer::start().await;
    let shop = shop_at(stripe.address(), &[]).await;
    let card = stripe.card("4000002500003155").await;
    shop.pay("k-1", &ten_euros(&card)).await;
    let ledger = shop.ledger().await;
    let days_ago =
        (Timestamp::now() - SignedDuration::from_hours(50)).strftime("%Y-%m-%dT%H:%M:%S.%3fZ");
    let age = doc! { "$set": { "created_at": days_ago.to_string() } };
    ledger.update_one(doc! {}, age).await.expect("aged");
    let unreadable =
        doc! { "_id": "pay_x", "state": "unknown", "created_at": "2020-01-01T00:00:00.000Z" };
    ledger.insert_one(unreadable).await.expect("inserted");
    let week = [("PAYMENT_CANCEL_AFTER_SECONDS", "604800")];
    let reconciler = shop.function("payments-reconcile", &week).await;

    let report = run(&reconciler).await;

    assert_eq!(
        (&report["looked_at"], &report["still_open"]),
        (&json!(1), &json!(2))
    );
    assert_eq!(
        (&report["unreadable"], &report["finished"]),
        (&json!(1), &json!(true))
    );
    let lines = reconciler.log_events();
    let errors = lines.iter().filter(|line| line["level"] == "ERROR");
    let mut reported: Vec<_> = errors
        .map(|line| line["message"].as_str().unwrap_or_default())
        .collect();
    reported.sort_unstable();
    assert_eq!(
        reported,
        [
            "a ledger row is unreadable: its payment may have been charged and is not reconciled until the row is repaired; see docs/runbook.md, Unreadable payments",
            "a payment is open for longer than a day; never charge it again under another key; see docs/runbook.md, A payment is open for days",
        ]
    );
    let metric = |name: &str| {
        let mut values = lines.iter().filter_map(|line| line[name].as_f64());
        values.next()
    };
    assert_eq!(metric("PaymentsOpen"), Some(2.0));
    assert_eq!(metric("PaymentsUnreadable"), Some(1.0));
    assert_eq!(metric("ReconcileFinished"), Some(1.0));
    let day = 86_400.0;
    assert!(metric("OldestOpenPaymentAge").is_some_and(|age| age > 2.0 * day));
}

/// The payment has no intent in the ledger. After the reconciler closes the payment, a late attempt cannot confirm
/// an intent.
#[tokio::test]
async fn a_payment_without_an_intent_is_closed() {
    let stripe = StripeServer::start().await;
    let proxy = FaultProxy::in_front_of(stripe.address());
    let shop = shop_at(proxy.address(), &[("PAYMENT_PROVIDER_TIMEOUT_MS", "300")]).await;
    proxy.black_hole();
    let unknown = shop.pay("k-1", &ten_euros("pm_card_visa")).await;
    assert_eq!(unknown.status, 202);
    let closing = shop.function("payments-reconcile", CLOSING).await;
    run_until(&closing, "failed", 1).await;
    proxy.heal();

    let answer = shop.pay("k-1", &ten_euros("pm_card_visa")).await;

    assert_eq!(answer.status, 402, "{}", answer.text());
    assert!(!stripe.intents().await.contains(&"succeeded".to_owned()));
}

#[tokio::test]
async fn a_silent_provider_leaves_payments_open() {
    let stripe = StripeServer::start().await;
    let proxy = FaultProxy::in_front_of(stripe.address());
    let shop = shop_at(proxy.address(), &[("PAYMENT_PROVIDER_TIMEOUT_MS", "300")]).await;
    let card = stripe.card("4000002500003155").await;
    let acting = shop.pay("k-1", &ten_euros(&card)).await.json();
    let closing = shop.function("payments-reconcile", CLOSING).await;
    for fault in [FaultProxy::black_hole, FaultProxy::refuse] {
        fault(&proxy);
        let report = run_until(&closing, "looked_at", 1).await;
        assert_eq!(
            (&report["still_open"], &report["failed"]),
            (&json!(1), &json!(0))
        );
        assert_eq!(status_of(&shop, &acting["id"]).await, "unknown");
        proxy.heal();
    }
    let secret = acting["client_secret"].as_str().expect("a secret");
    let intent = acting["provider_reference"].as_str().expect("an intent");
    stripe.authenticate(intent, secret, true).await;
    run_until(&closing, "succeeded", 1).await;
    assert_eq!(status_of(&shop, &acting["id"]).await, "succeeded");
}

#[tokio::test]
async fn the_next_run_continues_after_an_outage_of_the_ledger() {
    let mongo = MongoServer::shared().await;
    let proxy = FaultProxy::in_front_of(mongo.address());
    let shop = Shop::with(&[
        ("MONGODB_URI", &mongo.uri_through(&proxy)),
        ("MONGODB_DATABASE", &mongo.fresh_database()),
    ])
    .await;
    shop.pay("k-1", &ten_euros("pm_sandbox_requires_action"))
        .await;
    let reconciler = shop.function("payments-reconcile", SOON).await;
    proxy.refuse();
    let report = run(&reconciler).await;
    assert_eq!(report["finished"], false);
    assert_eq!(report["still_open"], Value::Null);
    proxy.heal();
    run_until(&reconciler, "succeeded", 1).await;
}

/// Two concurrent runs and clients give each payment one final status and one response.
#[tokio::test]
async fn concurrent_runs_and_clients_end_a_payment_once() {
    let shop = Shop::with_mongodb(&[]).await;
    let keys: Vec<_> = (0..10).map(|key| format!("k-{key}")).collect();
    let order = ten_euros("pm_sandbox_requires_action");
    for key in &keys {
        assert_eq!(shop.pay(key, &order).await.status, 202);
    }
    let [one, two] = [
        shop.function("payments-reconcile", CLOSING).await,
        shop.function("payments-reconcile", CLOSING).await,
    ];
    let clients = async {
        let mut answers = Vec::new();
        for key in &keys {
            answers.push(shop.pay(key, &order).await.body);
        }
        answers
    };
    let (answers, ()) = tokio::join!(clients, async {
        let settled = async |reconciler| {
            eventually(LIMIT, async || run(reconciler).await["still_open"] == 0).await;
        };
        tokio::join!(settled(&one), settled(&two));
    });
    for (key, answer) in keys.iter().zip(answers) {
        let again = shop.pay(key, &order).await;
        assert_eq!((again.status, again.body), (201, answer));
    }
    assert_eq!(shop.intents(), vec!["succeeded"; 10]);
}
