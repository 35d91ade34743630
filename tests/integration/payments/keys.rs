//! The reconciler completes the abandoned keys of payments with the results in the ledger.

use std::time::Duration;

use harness::{Lambda, Outcome as Invoked, TENANT, eventually};
use mongodb::bson::doc;
use serde_json::{Value, json};
use shared::deadline::Deadline;
use shared::idempotency::{
    ClaimOutcome, Fingerprint, IdempotencyKey, Operation, Policy, RecordKey, Request, Scope,
};

use super::shop::{Shop, problem, ten_euros};

const CLOSING: &[(&str, &str)] = &[
    ("PAYMENT_RECONCILE_AFTER_SECONDS", "1"),
    ("PAYMENT_CANCEL_AFTER_SECONDS", "1"),
];
/// With this lease, an attempt counts as abandoned after one millisecond.
const SHORT_LEASE: &[(&str, &str)] = &[("IDEMPOTENCY_LEASE_MS", "1")];
const LIMIT: Duration = Duration::from_secs(20);

async fn run(reconciler: &Lambda) {
    match reconciler.invoke(json!({"source": "aws.scheduler"})).await {
        Invoked::Answered(_) => {}
        failed => panic!("{failed:?}"),
    }
}

fn key_of(scope: &Scope, key: &str) -> RecordKey {
    RecordKey::new(scope, &IdempotencyKey::parse(key).expect("a key"))
}

fn payments() -> Scope {
    Scope::http("payments.create", TENANT).expect("a scope")
}

async fn state_of(shop: &Shop, key: &RecordKey) -> String {
    let records = shop.collection("idempotency").await;
    let found = records.find_one(doc! { "_id": key.as_str() }).await;
    let record = found.expect("read").expect("there");
    record.get_str("state").expect("a state").to_owned()
}

/// Runs the reconciler until the key is in this state.
async fn run_until(shop: &Shop, reconciler: &Lambda, key: &RecordKey, state: &str) {
    eventually(LIMIT, async || {
        run(reconciler).await;
        state_of(shop, key).await == state
    })
    .await;
}

/// Claims a key and does nothing more, like an attempt that crashes.
async fn abandoned(shop: &Shop, key: &RecordKey, policy: Policy, body: &[u8]) {
    let request = Request {
        method: "POST",
        route: "/api/payments",
        tenant: TENANT,
        payload: body,
    };
    let fingerprint = Fingerprint::of(&request).expect("unambiguous");
    let operation = Operation::new(key.clone(), fingerprint).with_policy(policy);
    let engine = shop.engine(SHORT_LEASE);
    let claimed = engine.claim(&operation, Deadline::UNKNOWN).await;
    let outcome = claimed.expect("decided").value;
    assert!(matches!(outcome, ClaimOutcome::Claimed(_)), "{outcome:?}");
}

/// Regression: the reconciler ended the payment and left its key unknown. Only another request of the client would have finished the
/// key.
#[tokio::test]
async fn the_key_of_a_reconciled_payment_gets_its_response() {
    let shop = Shop::with_mongodb(&[]).await;
    let order = ten_euros("pm_sandbox_timeout_before");
    assert_eq!(shop.pay("k-1", &order).await.json()["status"], "unknown");
    let key = key_of(&payments(), "k-1");
    assert_eq!(state_of(&shop, &key).await, "unknown");
    let reconciler = shop.function("payments-reconcile", CLOSING).await;

    run_until(&shop, &reconciler, &key, "completed").await;

    let answer = shop.pay("k-1", &order).await;
    assert_eq!(problem(&answer), "payment-failed");
    assert_eq!(answer.header("idempotent-replayed"), Some("true"));
}

#[tokio::test]
async fn a_key_without_a_payment_is_reopened() {
    let shop = Shop::with_mongodb(&[]).await;
    let key = key_of(&payments(), "k-1");
    let order = ten_euros("pm_card_visa");
    let body = order.to_string();
    abandoned(&shop, &key, Policy::RerunAlways, body.as_bytes()).await;
    let reconciler = shop.function("payments-reconcile", CLOSING).await;

    run_until(&shop, &reconciler, &key, "released").await;

    let other = shop.pay("k-1", &ten_euros("pm_card_chargeDeclined")).await;
    assert_eq!(other.status, 422, "the abandoned attempt may still pay");
    let paid = shop.pay("k-1", &order).await;
    assert_eq!(paid.status, 201);
}

/// After the retention of the key, another request has claimed the key. The record belongs to that request, so the reconciler
/// never completes the key with the payment's response.
#[tokio::test]
async fn a_key_that_another_request_claimed_is_reopened() {
    let shop = Shop::with_mongodb(&[]).await;
    let order = ten_euros("pm_card_visa");
    let paid = shop.pay("k-1", &order).await;
    let key = key_of(&payments(), "k-1");
    let records = shop.collection("idempotency").await;
    let id = doc! { "_id": key.as_str() };
    records.delete_one(id).await.expect("deleted");
    abandoned(&shop, &key, Policy::RerunAlways, b"{\"amount\": 2}").await;
    let reconciler = shop.function("payments-reconcile", CLOSING).await;

    run_until(&shop, &reconciler, &key, "released").await;

    let again = shop.pay("k-1", &order).await;
    assert_eq!((again.status, again.body), (201, paid.body));
    let other = shop.pay("k-1", &ten_euros("pm_card_chargeDeclined")).await;
    assert_eq!(other.status, 422);
}

/// Regression: `payments-create` answered a request for a charged payment with 422 and the advice to use a fresh key. The
/// ledger had the response. But the key's record was damaged, or a request with another body had claimed the key after the
/// retention.
#[tokio::test]
async fn a_paid_request_is_replayed_from_the_ledger_despite_the_engines_record() {
    let shop = Shop::with_mongodb(&[]).await;
    let order = ten_euros("pm_card_visa");
    let paid = shop.pay("k-1", &order).await;
    let key = key_of(&payments(), "k-1");
    let records = shop.collection("idempotency").await;
    let id = doc! { "_id": key.as_str() };
    let damage = doc! { "$set": { "response": "damaged" } };
    let damaged = records.update_one(id.clone(), damage).await;
    assert_eq!(damaged.expect("written").modified_count, 1);
    let over_damage = shop.pay("k-1", &order).await;
    records.delete_one(id).await.expect("deleted");
    abandoned(&shop, &key, Policy::RerunAlways, b"{\"amount\": 2}").await;
    let over_another = shop.pay("k-1", &order).await;

    for again in [over_damage, over_another] {
        assert_eq!((again.status, &again.body), (201, &paid.body));
        assert_eq!(again.header("idempotent-replayed"), Some("true"));
    }
    let other = shop.pay("k-1", &ten_euros("pm_card_chargeDeclined")).await;
    assert_eq!(other.status, 422, "another request gets no replay");
}

/// Regression: `payments-create` answered "this request did nothing" although the engine had a record of the payment. The ledger
/// had lost the row of the payment, as after the restore of an old backup.
#[tokio::test]
async fn a_payment_with_a_missing_row_has_an_unknown_outcome() {
    let shop = Shop::with_mongodb(&[]).await;
    let order = ten_euros("pm_sandbox_requires_action");
    assert_eq!(shop.pay("k-1", &order).await.status, 202);
    let ledger = shop.ledger().await;
    ledger.delete_one(doc! {}).await.expect("deleted");

    let answer = shop.pay("k-1", &order).await;

    assert_eq!(
        (answer.status, problem(&answer)),
        (409, "outcome-unknown".to_owned())
    );
}

#[tokio::test]
async fn a_key_of_other_work_is_counted_and_left_to_its_owner() {
    let shop = Shop::with_mongodb(&[]).await;
    let orders = Scope::function("default", "orders").expect("a scope");
    let key = key_of(&orders, "o-1");
    abandoned(&shop, &key, Policy::AtMostOnce, b"{}").await;
    let resumable = key_of(&orders, "o-2");
    abandoned(&shop, &resumable, Policy::RerunAlways, b"{}").await;
    let event = Scope::http("payments.webhook", "stripe").expect("a scope");
    let event = key_of(&event, "evt_1");
    abandoned(&shop, &event, Policy::RerunAlways, b"{}").await;
    let reconciler = shop.function("payments-reconcile", CLOSING).await;

    run_until(&shop, &reconciler, &event, "released").await;

    assert_eq!(state_of(&shop, &key).await, "in_progress");
    assert_eq!(state_of(&shop, &resumable).await, "in_progress");
    let lines = reconciler.log_events();
    let line = lines
        .iter()
        .find(|line| line["message"] == "looked at unfinished keys");
    let line: &Value = line.expect("logged");
    assert_eq!(line["reconcile.keys_unknown"], 1);
}
