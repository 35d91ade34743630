//! The separation of keys by namespace, and the replies during a failure of a store or without a
//! store.

use std::time::Duration;

use harness::{FaultProxy, RedisServer, eventually, within};
use serde_json::{Value, json};
use shared::App;
use shared::deadline::Deadline;
use shared::idempotency::{
    ClaimOutcome, Fingerprint, IdempotencyKey, Operation, RecordKey, Request, SavedResponse, Scope,
};

use super::caller::{
    Caller, begin, checkpoint, complete, function, lease_request, on_redis, status, with,
};

#[tokio::test]
async fn no_caller_can_reach_the_keys_of_an_http_operation() {
    let caller = Caller::redis().await;
    let redis = caller.redis.as_ref().expect("there");
    // Only the default user of Redis has access to the keys of both functions.
    let url = redis.url_with("default", "none");
    let lookup = |variable: &str| (variable == "REDIS_URL").then(|| url.clone().into());
    let engine = App::from_lookup(lookup).expect("usable").idempotency();
    let scope = Scope::http("charge", "alice").expect("a scope");
    let key = RecordKey::new(&scope, &IdempotencyKey::parse("k").expect("a key"));
    let payment = Operation::new(key, Fingerprint::of(&Request::default()).expect("one"));
    let claimed = engine.claim(&payment, Deadline::UNKNOWN).await;
    let ClaimOutcome::Claimed(lease) = claimed.expect("decided").value else {
        panic!("claim failed")
    };
    lease
        .complete(SavedResponse::new(http::StatusCode::OK, "charged"))
        .await;
    let name = "idempotency:http:charge:alice:k";
    let before: String = redis.query(&["GET", name]).await;

    for scope in [
        "http:charge:alice",
        "charge:alice",
        "../http:charge:alice",
        "*",
        "%00",
    ] {
        let reached = caller.ask(&with(status("k"), "scope", scope)).await;
        assert_eq!(reached["outcome"], "absent", "{scope}");
        caller
            .completed(&with(begin("k"), "scope", scope), json!(1))
            .await;
    }

    let after: String = redis.query(&["GET", name]).await;
    assert_eq!(after, before);
    let names: Vec<String> = redis.query(&["KEYS", "*"]).await;
    let of_callers = |name: &&String| name.starts_with("idempotency:fn:default:");
    assert_eq!(names.len(), 6);
    assert_eq!(names.iter().filter(of_callers).count(), 5, "{names:?}");
}

#[tokio::test]
async fn namespaces_share_nothing() {
    let redis = RedisServer::start().await;
    let of_namespace = async |namespace: &str| {
        Caller::of(on_redis(&redis.url()).env("IDEMPOTENCY_NAMESPACE", namespace)).await
    };
    let (billing, shop) = (of_namespace("billing").await, of_namespace("shop").await);
    let first = billing.started(&begin("k")).await;

    let second = shop.started(&begin("k")).await;

    assert_ne!(first["derived_key"], second["derived_key"]);
    let foreign = shop.ask_with_lease("release", &first["lease"]).await;
    assert_eq!(foreign, json!({"outcome": "superseded"}));
    billing.ask(&complete(&first["lease"], json!(1))).await;
    assert_eq!(shop.ask(&begin("k")).await["outcome"], "in_progress");
    assert_eq!(shop.ask(&status("k")).await["state"], "in_progress");
}

#[tokio::test]
async fn an_invalid_namespace_stops_the_start() {
    let refused = function()
        .env("IDEMPOTENCY_NAMESPACE", "a:b")
        .try_start()
        .await;
    let log = refused.err().expect("it does not start").log;
    assert!(
        log.contains("cannot start: IDEMPOTENCY_NAMESPACE is `a:b`; accepted: 1 to 64 letters"),
        "{log}"
    );
}

/// One request of each kind.
fn one_of_each(lease: &Value) -> Vec<Value> {
    vec![
        begin("k"),
        complete(lease, json!(1)),
        checkpoint(lease, json!(1)),
        lease_request("renew", lease),
        lease_request("release", lease),
        lease_request("mark_unknown", lease),
        status("k"),
    ]
}

#[tokio::test]
async fn a_store_outage_is_not_a_function_error_and_ends_by_itself() {
    let redis = RedisServer::start().await;
    let proxy = FaultProxy::in_front_of(redis.address());
    let caller = Caller::of(on_redis(&redis.url_through(&proxy))).await;
    let payment = begin("k");
    let lease = caller.lease(&payment).await;
    proxy.refuse();

    let unavailable = json!({"outcome": "unavailable", "retry_after_ms": 1000});
    for request in one_of_each(&lease) {
        let answer = within(Duration::from_secs(8), caller.ask(&request)).await;
        assert_eq!(answer, unavailable, "{request}");
    }

    proxy.heal();
    let mut again = Value::Null;
    eventually(Duration::from_secs(10), async || {
        again = caller.ask(&payment).await;
        again["outcome"] == "started"
    })
    .await;
    assert_eq!(again["repeated"], true);
    let completed = caller.ask(&complete(&lease, json!("charged"))).await;
    assert_eq!(completed["outcome"], "completed");
    assert_eq!(caller.lambda.processes(), 1);
}

#[tokio::test]
async fn without_a_store_every_request_is_refused_in_production() {
    let caller = Caller::of(function().env("ENVIRONMENT", "production")).await;
    let lease = json!({"scope": "s", "key": "k", "owner": "ab".repeat(16), "attempt": 1, "fingerprint": "ab".repeat(32)});
    for request in one_of_each(&lease) {
        let answer = caller.ask(&request).await;
        assert_eq!(answer["outcome"], "unavailable", "{request}");
    }
}

#[tokio::test]
async fn a_degraded_reply_names_the_store() {
    let refusing = FaultProxy::refusing();
    let url = format!("redis://{}", refusing.address());
    let caller = Caller::of(function().env("REDIS_URL", &url)).await;

    let started = caller.started(&begin("k")).await;

    assert_eq!(started["stand_in"], "memory");
    assert_eq!(caller.ask(&begin("k")).await["stand_in"], "memory");
}

#[tokio::test]
async fn a_result_outlives_the_loss_of_its_claim() {
    let caller = Caller::redis().await;
    let lease = caller.lease(&begin("k")).await;
    let redis = caller.redis.as_ref().expect("there");
    redis.command(&["FLUSHALL"]).await;

    let completed = caller.ask(&complete(&lease, json!("charged"))).await;

    assert_eq!(completed["outcome"], "completed");
    assert_eq!(caller.ask(&begin("k")).await["response"], "charged");
    let other = with(begin("k"), "payload", json!({"amount": 20}));
    assert_eq!(caller.ask(&other).await["outcome"], "mismatch");
}

#[tokio::test]
async fn a_response_that_is_too_long_is_replayed_as_its_digest() {
    let caller = Caller::of(function().env("IDEMPOTENCY_MAX_RESPONSE_BYTES", "4")).await;
    caller.completed(&begin("k"), json!("charged")).await;

    let replay = caller.ask_text(begin("k").to_string()).await;

    insta::assert_snapshot!(replay, @r#"{"outcome":"replay","summary":{"length":9,"sha256":"302e1585ab1b433d4573f11997470ce0dcc261caec92d805c4d76866d18463ae"}}"#);
    caller.ask(&begin("k")).await;
}

#[tokio::test]
async fn a_foreign_value_under_the_key_starts_nothing() {
    let caller = Caller::redis().await;
    let redis = caller.redis.as_ref().expect("there");
    redis
        .command(&["SET", "idempotency:fn:default:orders:k", "junk"])
        .await;
    let reply = json!({"outcome": "unknown", "checkpoint": null, "damaged": true});
    assert_eq!(caller.ask(&begin("k")).await, reply);
    let shown =
        json!({"outcome": "found", "state": "unknown", "lease_left_ms": 0, "damaged": true});
    assert_eq!(caller.ask(&status("k")).await, shown);
}
