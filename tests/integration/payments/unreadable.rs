//! Unreadable rows of the ledger. The functions count these rows. The rows do not delay other payments. A request for a
//! payment with an unreadable row gets an unknown outcome.

use std::time::Duration;

use harness::{Answer, Lambda, Outcome, STRIPE_TEST_KEY, StripeEvent, StripeServer, eventually};
use jiff::{SignedDuration, Timestamp};
use mongodb::bson::{Document, doc};
use serde_json::{Value, json};

use super::shop::{Shop, payment, problem, ten_euros};
use crate::openapi;

const AT_ONCE: &[(&str, &str)] = &[("PAYMENT_RECONCILE_AFTER_SECONDS", "1")];
const LIMIT: Duration = Duration::from_secs(20);

async fn run(reconciler: &Lambda) -> Value {
    match reconciler.invoke(json!({"source": "aws.scheduler"})).await {
        Outcome::Answered(report) => report,
        failed => panic!("{failed:?}"),
    }
}

fn id_of(answer: &Answer) -> String {
    answer.json()["id"].as_str().expect("an id").to_owned()
}

fn hours_ago(hours: i64) -> String {
    let then = Timestamp::now() - SignedDuration::from_hours(hours);
    then.strftime("%Y-%m-%dT%H:%M:%S.%3fZ").to_string()
}

/// Removes the order from a row. Returns the original row.
async fn broken(shop: &Shop, id: &str) -> Document {
    let filter = doc! { "_id": id };
    let without = doc! { "$unset": { "order": "" } };
    let ledger = shop.ledger().await;
    let changed = ledger.find_one_and_update(filter, without).await;
    changed.expect("changed").expect("a row")
}

async fn repair(shop: &Shop, row: Document) {
    let filter = doc! { "_id": row.get_str("_id").expect("an id") };
    let replaced = shop.ledger().await.replace_one(filter, row).await;
    assert_eq!(replaced.expect("replaced").matched_count, 1);
}

/// Regression: the reconciler mistook a page of unreadable rows for the end of the queue, and reported the run
/// as finished.
#[tokio::test]
async fn a_run_skips_pages_of_unreadable_rows() {
    let shop = Shop::with_mongodb(&[]).await;
    shop.pay("k-1", &ten_euros("pm_sandbox_requires_action"))
        .await;
    let ledger = shop.ledger().await;
    let age = doc! { "$set": { "created_at": hours_ago(1) } };
    ledger.update_one(doc! {}, age).await.expect("aged");
    let row = |number: usize| {
        let id = format!("pay_x{number}");
        doc! { "_id": id, "state": "unknown", "created_at": hours_ago(9) }
    };
    let mut rows: Vec<_> = (0..210).map(row).collect();
    // Regression: a row with one of these kinds of damage was missing in every list.
    rows[0].insert("state", "succeded");
    rows[1].insert("state", 7);
    rows[2].insert("created_at", 7);
    rows[3].insert("created_at", "zzz");
    rows[4].insert("looked_at", 7);
    rows[5].remove("created_at");
    ledger.insert_many(rows).await.expect("inserted");
    let reconciler = shop.function("payments-reconcile", AT_ONCE).await;

    let report = run(&reconciler).await;

    assert_eq!(
        (
            &report["succeeded"],
            &report["unreadable"],
            &report["finished"]
        ),
        (&json!(1), &json!(210), &json!(true))
    );
    let lines = reconciler.log_events();
    let counted = lines
        .iter()
        .find_map(|line| line["PaymentsUnreadable"].as_f64());
    assert_eq!(counted, Some(210.0));
    let again = run(&reconciler).await;
    assert_eq!(again["unreadable"], 210);
}

#[tokio::test]
async fn a_run_skips_an_unreadable_file() {
    let shop = Shop::on_a_laptop().await;
    let acting = shop
        .pay("k-1", &ten_euros("pm_sandbox_requires_action"))
        .await;
    assert_eq!(acting.status, 202);
    let broken = shop.folder.path().join("payments/pay_x.json");
    std::fs::write(broken, "{").expect("written");
    let reconciler = shop.function("payments-reconcile", AT_ONCE).await;
    let mut succeeded = 0;

    eventually(LIMIT, async || {
        let report = run(&reconciler).await;
        assert_eq!(
            (&report["unreadable"], &report["finished"]),
            (&json!(1), &json!(true))
        );
        succeeded += report["succeeded"].as_u64().expect("a number");
        succeeded == 1
    })
    .await;
}

/// Regression: `payments-create` answered that the request had done nothing, although the payment was charged.
#[tokio::test]
async fn a_repeated_request_for_an_unreadable_row_has_an_unknown_outcome() {
    let shop = Shop::with_mongodb(&[]).await;
    let order = ten_euros("pm_card_visa");
    let paid = shop.pay("k-1", &order).await;
    let id = id_of(&paid);
    let records = shop.collection("idempotency").await;
    records
        .delete_many(doc! {})
        .await
        .expect("the records are deleted, as after their retention");
    let row = broken(&shop, &id).await;

    for _ in 0..2 {
        let answer = shop.pay("k-1", &order).await;
        assert_eq!(
            (answer.status, &*problem(&answer)),
            (409, "outcome-unknown")
        );
        let record = records.find_one(doc! {}).await.expect("read");
        assert_eq!(record.expect("a record").get_str("state"), Ok("unknown"));
    }
    // The reconciler does not resolve the key, because it cannot read how the payment ended.
    let reconciler = shop.function("payments-reconcile", AT_ONCE).await;
    eventually(LIMIT, async || {
        run(&reconciler).await;
        let log = reconciler.log_text();
        log.contains("an unfinished key was not resolved: its payment was not read")
    })
    .await;
    let record = records.find_one(doc! {}).await.expect("read");
    assert_eq!(record.expect("a record").get_str("state"), Ok("unknown"));

    repair(&shop, row).await;
    let answer = shop.pay("k-1", &order).await;
    assert_eq!((answer.status, answer.body), (201, paid.body));
    assert_eq!(shop.intents(), ["succeeded"]);
}

#[tokio::test]
async fn a_repeated_request_for_an_unreadable_file_has_an_unknown_outcome() {
    let shop = Shop::on_a_laptop().await;
    let order = ten_euros("pm_card_visa");
    let paid = shop.pay("k-1", &order).await;
    let id = id_of(&paid);
    let file = shop.folder.path().join(format!("payments/{id}.json"));
    let text = std::fs::read_to_string(&file).expect("readable");
    // The new process has no result in memory.
    let another = shop.another().await;
    for damaged in [text.replace("\"order\"", "\"ordre\""), "{".to_owned()] {
        std::fs::write(&file, damaged).expect("written");
        let answer = another.request(payment("k-1", &order)).await;
        openapi::check("/api/payments", "post", &answer);
        assert_eq!(
            (answer.status, &*problem(&answer)),
            (409, "outcome-unknown")
        );
    }
    std::fs::write(&file, text).expect("written");
    let answer = another.request(payment("k-1", &order)).await;
    assert_eq!((answer.status, answer.body), (201, paid.body));
}

/// The engine stores a reference to the payment instead of a response, and the payment's row is unreadable.
#[tokio::test]
async fn a_pending_payment_that_becomes_unreadable_has_an_unknown_outcome() {
    let shop = Shop::with_mongodb(&[]).await;
    let order = ten_euros("pm_sandbox_requires_action");
    let acting = shop.pay("k-1", &order).await;
    let row = broken(&shop, &id_of(&acting)).await;

    let answer = shop.pay("k-1", &order).await;

    assert_eq!(
        (answer.status, &*problem(&answer)),
        (409, "outcome-unknown")
    );
    repair(&shop, row).await;
    assert_eq!(shop.pay("k-1", &order).await.status, 201);
}

#[tokio::test]
async fn an_unreadable_payment_is_shown_to_its_own_tenant_as_an_error() {
    let shop = Shop::with_mongodb(&[]).await;
    let id = id_of(&shop.pay("k-1", &ten_euros("pm_card_visa")).await);
    broken(&shop, &id).await;
    let shown = shop.show(&id).await;
    assert_eq!((shown.status, &*problem(&shown)), (500, "internal"));
    let ledger = shop.ledger().await;
    for tenant in [
        doc! { "$set": { "tenant": "jwt:alice" } },
        doc! { "$unset": { "tenant": "" } },
    ] {
        ledger
            .update_one(doc! { "_id": &id }, tenant)
            .await
            .expect("set");
        let shown = shop.show(&id).await;
        assert_eq!(
            (shown.status, &*problem(&shown)),
            (404, "payment-not-found")
        );
    }
}

#[tokio::test]
async fn an_event_of_an_unreadable_payment_is_retried() {
    const SECRET: &str = "whsec_planted_one";
    let stripe = StripeServer::start().await;
    let shop = Shop::with_mongodb(&[
        ("PAYMENT_PROVIDER", "stripe"),
        ("STRIPE_API_KEY", STRIPE_TEST_KEY),
        ("STRIPE_API_BASE", &StripeServer::url_at(stripe.address())),
    ])
    .await;
    let webhook = shop
        .function("payments-webhook", &[("STRIPE_WEBHOOK_SECRETS", SECRET)])
        .await;
    let card = stripe.card("4000002500003155").await;
    let acting = shop.pay("k-1", &ten_euros(&card)).await;
    let id = id_of(&acting);
    let intent = acting.json()["provider_reference"]
        .as_str()
        .expect("an intent")
        .to_owned();
    let event = StripeEvent::new("evt_1", "payment_intent.succeeded", &intent, &id);
    let row = broken(&shop, &id).await;

    let refused = webhook.request(event.request(&[SECRET])).await;

    openapi::check("/api/payments/webhook", "post", &refused);
    assert_eq!((refused.status, &*problem(&refused)), (503, "unavailable"));
    repair(&shop, row).await;
    let followed = webhook.request(event.request(&[SECRET])).await;
    assert_eq!(followed.status, 200);
}
