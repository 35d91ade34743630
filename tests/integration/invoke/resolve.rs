//! The owner of a key, or an operator, resolves a key whose outcome is unknown.

use std::time::Duration;

use harness::{FaultProxy, RedisServer, eventually};
use serde_json::{Value, json};

use super::LIMIT;
use super::caller::{Caller, begin, complete, lease_request, on_redis, status, with};

on_every_store! {
    an_abandoned_attempt_is_resolved_as_completed
    an_abandoned_attempt_is_resolved_as_released
    a_resolution_applies_only_to_the_seen_record
    a_running_attempt_is_not_resolved
    a_result_is_not_resolved_again
    a_resolution_with_a_lost_reply_is_repeated
    begin_and_status_agree_on_an_abandoned_key
    a_resolved_attempt_that_returns_is_superseded
}

/// Starts an attempt and waits until its lease is over. Returns the lease.
async fn abandoned(caller: &Caller, begin: Value) -> Value {
    let lease = caller.lease(&with(begin.clone(), "lease_ms", 1)).await;
    let key = begin["key"].as_str().expect("a key").to_owned();
    eventually(LIMIT, async || {
        caller.ask(&status(&key)).await["state"] != "in_progress"
    })
    .await;
    lease
}

async fn revision(caller: &Caller) -> String {
    let found = caller.ask(&status("k")).await;
    found["revision"].as_str().expect("a revision").to_owned()
}

fn resolve(revision: &str) -> Value {
    json!({"operation": "resolve", "scope": "orders", "key": "k", "revision": revision})
}

fn as_completed(revision: &str, response: Value) -> Value {
    with(
        with(resolve(revision), "as", "completed"),
        "response",
        response,
    )
}

fn as_released(revision: &str) -> Value {
    with(
        with(resolve(revision), "as", "released"),
        "reason",
        "fenced_by_provider",
    )
}

fn resolved() -> Value {
    json!({"outcome": "resolved"})
}

async fn an_abandoned_attempt_is_resolved_as_completed(caller: Caller) {
    abandoned(&caller, begin("k")).await;
    let unknown = caller.ask(&begin("k")).await;
    assert_eq!(unknown["outcome"], "unknown");
    let seen = unknown["revision"].as_str().expect("a revision");

    let answer = caller.ask(&as_completed(seen, json!({"charge": 1}))).await;

    assert_eq!(answer, resolved());
    let replay = json!({"outcome": "replay", "response": {"charge": 1}});
    assert_eq!(caller.ask(&begin("k")).await, replay);
}

async fn an_abandoned_attempt_is_resolved_as_released(caller: Caller) {
    abandoned(&caller, begin("k")).await;

    let answer = caller.ask(&as_released(&revision(&caller).await)).await;

    assert_eq!(answer, resolved());
    assert_eq!(caller.ask(&status("k")).await["state"], "released");
    assert_eq!(caller.started(&begin("k")).await["lease"]["attempt"], 2);
}

async fn a_resolution_applies_only_to_the_seen_record(caller: Caller) {
    let payment = || with(begin("k"), "policy", "rerun");
    abandoned(&caller, payment()).await;
    let seen = revision(&caller).await;
    abandoned(&caller, payment()).await;

    for request in [as_completed(&seen, json!("stale")), as_released(&seen)] {
        let answer = caller.ask(&request).await;
        assert_eq!(
            (&answer["outcome"], &answer["state"], &answer["attempt"]),
            (&json!("refused"), &json!("abandoned"), &json!(2))
        );
    }
    let never_seen = "7-0123456789abcdef";
    let answer = caller.ask(&as_completed(never_seen, json!(1))).await;
    assert_eq!(answer["outcome"], "refused");
    let elsewhere = with(as_released(&seen), "key", "other");
    let absent = json!({"outcome": "refused", "state": "absent", "lease_left_ms": 0});
    assert_eq!(caller.ask(&elsewhere).await, absent);
}

async fn a_running_attempt_is_not_resolved(caller: Caller) {
    let lease = caller.lease(&begin("k")).await;
    let seen = revision(&caller).await;

    for request in [as_completed(&seen, json!("eager")), as_released(&seen)] {
        let answer = caller.ask(&request).await;
        assert_eq!(
            (&answer["outcome"], &answer["state"]),
            (&json!("refused"), &json!("in_progress"))
        );
    }
    let completed = caller.ask(&complete(&lease, json!("mine"))).await;
    assert_eq!(completed, json!({"outcome": "completed"}));
}

async fn a_result_is_not_resolved_again(caller: Caller) {
    caller.completed(&begin("k"), json!("first")).await;
    let seen = revision(&caller).await;

    for request in [as_completed(&seen, json!("second")), as_released(&seen)] {
        let answer = caller.ask(&request).await;
        assert_eq!(
            (&answer["outcome"], &answer["response"]),
            (&json!("refused"), &json!("first"))
        );
    }
    assert_eq!(caller.ask(&begin("k")).await["response"], "first");
}

async fn a_resolution_with_a_lost_reply_is_repeated(caller: Caller) {
    abandoned(&caller, begin("k")).await;
    let request = as_completed(&revision(&caller).await, json!("charged"));
    for _ in 0..2 {
        assert_eq!(caller.ask(&request).await, resolved());
    }
    let other = as_completed(&revision(&caller).await, json!("another"));
    assert_eq!(caller.ask(&other).await["outcome"], "refused");
}

async fn begin_and_status_agree_on_an_abandoned_key(caller: Caller) {
    abandoned(&caller, begin("k")).await;
    let shown = caller.ask(&status("k")).await;
    assert_eq!(shown["state"], "unknown", "{shown}");
    let reply = caller.ask(&begin("k")).await;
    assert_eq!(reply["outcome"], "unknown", "{reply}");
    assert_eq!(reply["revision"], shown["revision"]);

    let resumable = || with(begin("r"), "policy", "rerun");
    abandoned(&caller, resumable()).await;
    assert_eq!(caller.ask(&status("r")).await["state"], "abandoned");
    let started = caller.started(&resumable()).await;
    assert_eq!(started["took_over"], true);
    // The next `begin` can also take over after the lease holder has sent `mark_unknown`.
    caller
        .ask_with_lease("mark_unknown", &started["lease"])
        .await;
    assert_eq!(caller.ask(&status("r")).await["state"], "abandoned");
    assert_eq!(caller.started(&resumable()).await["took_over"], true);
}

async fn a_resolved_attempt_that_returns_is_superseded(caller: Caller) {
    let lease = abandoned(&caller, begin("k")).await;
    let request = as_completed(&revision(&caller).await, json!("found out"));
    assert_eq!(caller.ask(&request).await, resolved());

    let superseded = json!({"outcome": "superseded", "response": "found out"});
    for late in [
        complete(&lease, json!("late")),
        lease_request("renew", &lease),
    ] {
        assert_eq!(caller.ask(&late).await, superseded);
    }
}

/// Regression: the reply combined the results of two reads: `unknown` from an earlier attempt, and the revision of a
/// later attempt, which was still running. A caller that resolved that revision after the end of the lease let a third
/// attempt start.
#[tokio::test]
async fn an_unknown_reply_has_no_revision_of_a_running_attempt() {
    let redis = RedisServer::start().await;
    let proxy = FaultProxy::in_front_of(redis.address());
    let slow = Caller::of(on_redis(&redis.url_through(&proxy))).await;
    let fast = Caller::of(on_redis(&redis.url())).await;
    abandoned(&fast, begin("k")).await;
    let seen = revision(&fast).await;
    assert_eq!(revision(&slow).await, seen);
    proxy.delay(Duration::from_millis(700));

    // Redis executes the claim immediately, but the reply is delayed. So the function's second read comes after
    // the changes below.
    let asking = begin("k");
    let (reply, ()) = tokio::join!(slow.ask(&asking), async {
        tokio::time::sleep(Duration::from_millis(350)).await;
        assert_eq!(fast.ask(&as_released(&seen)).await, resolved());
        fast.lease(&with(begin("k"), "lease_ms", 60_000)).await;
    });

    assert_eq!(reply["outcome"], "in_progress", "{reply}");
}
