//! The replies to requests, on every store.

use harness::eventually;
use serde_json::{Value, json};
use shared::idempotency::OwnerId;

use super::LIMIT;
use super::caller::{Caller, begin, checkpoint, complete, lease_request, status, with};

on_every_store! {
    a_result_is_replayed_exactly_as_it_was_sent
    a_begin_with_a_lost_reply_is_repeated
    a_second_caller_gets_in_progress
    another_payload_is_a_mismatch
    an_owner_that_is_used_for_two_requests_is_refused
    a_release_lets_the_next_one_begin
    an_unknown_key_is_returned_with_its_checkpoint
    a_rerun_takes_over_where_the_last_attempt_was
    at_most_once_is_unknown_when_the_lease_is_over
    an_attempt_that_was_taken_over_is_superseded
    the_first_result_of_an_attempt_counts
    a_renewed_lease_lasts
    a_status_contains_everything_but_the_owner
    the_same_key_in_another_scope_is_another_key
    a_lease_is_sent_back_unchanged
}

async fn lease_is_over(caller: &Caller, key: &str) {
    eventually(LIMIT, async || {
        caller.ask(&status(key)).await["lease_left_ms"] == 0
    })
    .await;
}

async fn a_result_is_replayed_exactly_as_it_was_sent(caller: Caller) {
    let deep = format!("{}7{}", "[".repeat(2_000), "]".repeat(2_000));
    let responses = [
        "null",
        "false",
        "0",
        "-0.0",
        r#""""#,
        "[]",
        "{}",
        "1e400",
        "9007199254740993",
        "123456789012345678901234567890.10",
        r#""\ud800 \u00e9 é 🦀""#,
        "{ \"b\" : 1,\r\n\t\"a\":2, \"a\": 3 }",
        &deep,
    ];
    for (number, response) in responses.iter().enumerate() {
        let payment = begin(&format!("k-{number}"));
        let lease = caller.lease(&payment).await;
        let complete =
            format!(r#"{{"operation":"complete","lease":{lease},"response":  {response} }}"#);
        assert_eq!(
            caller.ask_text(complete).await,
            r#"{"outcome":"completed"}"#
        );
        let again = begin(&format!("k-{number}")).to_string();
        let replay = format!(r#"{{"outcome":"replay","response":{response}}}"#);
        assert_eq!(caller.ask_text(again).await, replay);
    }
}

async fn a_begin_with_a_lost_reply_is_repeated(caller: Caller) {
    let payment = begin("k");
    let first = caller.started(&payment).await;
    assert_eq!(first["repeated"], false);

    let again = caller.started(&payment).await;

    assert_eq!(again["repeated"], true);
    for member in ["owner", "attempt", "fingerprint"] {
        assert_eq!(again["lease"][member], first["lease"][member], "{member}");
    }
    assert_eq!(again["derived_key"], first["derived_key"]);
    let left = |answer: &Value| answer["lease"]["expires_in_ms"].as_u64();
    assert!(left(&again) <= Some(30_000) && left(&first) <= Some(30_000));
    let completed = caller.ask(&complete(&again["lease"], json!(1))).await;
    assert_eq!(completed["outcome"], "completed");
}

async fn a_second_caller_gets_in_progress(caller: Caller) {
    caller.lease(&with(begin("k"), "lease_ms", 60_000)).await;

    let answer = caller.ask(&begin("k")).await;

    assert_eq!(answer["outcome"], "in_progress");
    let wait = answer["retry_after_ms"].as_u64().expect("a number");
    assert!((50_000..=60_000).contains(&wait), "{wait}");
}

async fn another_payload_is_a_mismatch(caller: Caller) {
    let rewritten = r#"{ "currency": "E\u0055R", "amount": 1e1 }"#;
    let rewritten: Value = serde_json::from_str(rewritten).expect("JSON");
    let other = json!({"amount": 20, "currency": "EUR"});
    caller.completed(&begin("k"), json!("charged")).await;

    let same = caller.ask(&with(begin("k"), "payload", rewritten)).await;
    assert_eq!(same["outcome"], "replay");
    let another = caller.ask(&with(begin("k"), "payload", other)).await;
    assert_eq!(another, json!({"outcome": "mismatch"}));
    let mut of_its_own = begin("k");
    of_its_own.as_object_mut().expect("one").remove("payload");
    let of_its_own = with(of_its_own, "fingerprint", "ab".repeat(32));
    assert_eq!(caller.ask(&of_its_own).await["outcome"], "mismatch");
}

async fn an_owner_that_is_used_for_two_requests_is_refused(caller: Caller) {
    let payment = begin("k");
    caller.lease(&payment).await;
    let other = with(payment, "payload", json!({"amount": 20}));
    assert_eq!(caller.ask(&other).await["outcome"], "mismatch");
}

async fn a_release_lets_the_next_one_begin(caller: Caller) {
    let payment = begin("k");
    let lease = caller.lease(&payment).await;

    for _ in 0..2 {
        let released = caller.ask_with_lease("release", &lease).await;
        assert_eq!(released, json!({"outcome": "released"}));
    }

    // The owner of the released attempt cannot start again with the same owner id.
    assert_eq!(caller.ask(&payment).await["outcome"], "in_progress");
    assert_eq!(caller.lease(&begin("k")).await["attempt"], 2);
}

async fn an_unknown_key_is_returned_with_its_checkpoint(caller: Caller) {
    let lease = caller.lease(&begin("k")).await;
    let note = json!({"charging": true});
    let saved = caller.ask(&checkpoint(&lease, note.clone())).await;
    assert_eq!(saved, json!({"outcome": "saved", "rev": 2}));

    let unknown = caller.ask_with_lease("mark_unknown", &lease).await;

    assert_eq!(unknown, json!({"outcome": "unknown"}));
    let reply = caller.ask(&begin("k")).await;
    assert_eq!(
        (&reply["outcome"], &reply["checkpoint"]),
        (&json!("unknown"), &note)
    );
    let late = caller.ask(&complete(&lease, json!("after all"))).await;
    assert_eq!(late, json!({"outcome": "completed"}));
    assert_eq!(caller.ask(&begin("k")).await["response"], "after all");
}

async fn a_rerun_takes_over_where_the_last_attempt_was(caller: Caller) {
    let payment = || with(with(begin("k"), "policy", "rerun"), "lease_ms", 200);
    let first = caller.started(&payment()).await;
    assert_eq!(first["checkpoint"], Value::Null);
    caller
        .ask(&checkpoint(&first["lease"], json!("step 1")))
        .await;
    lease_is_over(&caller, "k").await;

    let second = caller.started(&payment()).await;

    assert_eq!(second["took_over"], true);
    assert_eq!(second["lease"]["attempt"], 2);
    assert_eq!(second["checkpoint"], "step 1");
    assert_eq!(second["derived_key"], first["derived_key"]);
}

async fn at_most_once_is_unknown_when_the_lease_is_over(caller: Caller) {
    let lease = caller.lease(&with(begin("k"), "lease_ms", 1)).await;
    lease_is_over(&caller, "k").await;

    let eager = with(begin("k"), "policy", "rerun");
    let reply = caller.ask(&eager).await;
    assert_eq!(
        (&reply["outcome"], &reply["checkpoint"]),
        (&json!("unknown"), &Value::Null)
    );
    let late = caller.ask(&complete(&lease, json!(1))).await;
    assert_eq!(late["outcome"], "completed");
}

async fn an_attempt_that_was_taken_over_is_superseded(caller: Caller) {
    let payment = || with(with(begin("k"), "policy", "rerun"), "lease_ms", 1);
    let first = caller.lease(&payment()).await;
    lease_is_over(&caller, "k").await;
    let second = caller.lease(&with(payment(), "lease_ms", 30_000)).await;

    let requests = [
        complete(&first, json!("first")),
        checkpoint(&first, json!(1)),
        lease_request("renew", &first),
        lease_request("release", &first),
        lease_request("mark_unknown", &first),
    ];
    for request in &requests {
        assert_eq!(caller.ask(request).await, json!({"outcome": "superseded"}));
    }
    caller.ask(&complete(&second, json!("second"))).await;
    let reply = json!({"outcome": "superseded", "response": "second"});
    for request in &requests {
        assert_eq!(caller.ask(request).await, reply);
    }
}

async fn the_first_result_of_an_attempt_counts(caller: Caller) {
    let lease = caller.lease(&begin("k")).await;
    let completed = json!({"outcome": "completed"});
    for _ in 0..2 {
        let answer = caller.ask(&complete(&lease, json!("first"))).await;
        assert_eq!(answer, completed);
    }

    let another = caller.ask(&complete(&lease, json!("another"))).await;

    assert_eq!(another, with(completed, "response", "first"));
}

async fn a_renewed_lease_lasts(caller: Caller) {
    let lease = caller.lease(&with(begin("k"), "lease_ms", 5_000)).await;

    let renewed = caller
        .ask(&with(lease_request("renew", &lease), "lease_ms", 900_000))
        .await;

    assert_eq!(
        (&renewed["outcome"], &renewed["rev"]),
        (&json!("renewed"), &json!(2))
    );
    let lasts = renewed["expires_in_ms"].as_u64();
    assert!(lasts > Some(890_000) && lasts <= Some(900_000), "{lasts:?}");
    let left = caller.ask(&status("k")).await["lease_left_ms"].as_u64();
    assert!(left > Some(890_000), "{left:?}");
}

async fn a_status_contains_everything_but_the_owner(caller: Caller) {
    assert_eq!(caller.ask(&status("k")).await, json!({"outcome": "absent"}));
    let payment = begin("k");
    let lease = caller.lease(&payment).await;
    caller.ask(&checkpoint(&lease, json!([1]))).await;

    let at_work = caller.ask(&status("k")).await;
    let left = at_work["lease_left_ms"].as_u64().expect("a number");
    assert!((1..=30_000).contains(&left), "{left}");
    let found = |state: &str, left: u64| json!({"outcome": "found", "state": state, "attempt": 1, "lease_left_ms": left});
    let noted = |state, left| with(found(state, left), "checkpoint", json!([1]));
    assert_eq!(without_revision(at_work), noted("in_progress", left));
    caller.ask_with_lease("mark_unknown", &lease).await;
    let unknown = caller.ask(&status("k")).await;
    assert_eq!(without_revision(unknown), noted("unknown", 0));
    caller.ask(&complete(&lease, json!(null))).await;
    let completed = caller.ask(&status("k")).await;
    let expected = with(found("completed", 0), "response", Value::Null);
    assert_eq!(without_revision(completed), expected);

    let other = begin("released");
    caller
        .ask_with_lease("release", &caller.lease(&other).await)
        .await;
    assert_eq!(caller.ask(&status("released")).await["state"], "released");
}

/// Returns the reply without its revision. Checks that the reply had a revision.
fn without_revision(mut answer: Value) -> Value {
    let revision = answer.as_object_mut().expect("one").remove("revision");
    assert!(revision.is_some_and(|revision| revision.is_string()));
    answer
}

async fn the_same_key_in_another_scope_is_another_key(caller: Caller) {
    caller.completed(&begin("k"), json!(1)).await;
    let refunds = with(begin("k"), "scope", "refunds: größe/:{}");
    let elsewhere = caller.started(&refunds).await;
    let here = caller.started(&begin("other")).await;
    assert_ne!(elsewhere["derived_key"], here["derived_key"]);
}

async fn a_lease_is_sent_back_unchanged(caller: Caller) {
    // Only one pair of quotes around a key is ignored.
    let key = "\"\"k\"\"";
    let payment = with(begin(key), "owner", OwnerId::fresh().to_string());
    let lease = caller.lease(&payment).await;
    assert_eq!(lease["key"], key);

    let completed = caller.ask(&complete(&lease, json!(1))).await;

    assert_eq!(completed["outcome"], "completed");
    assert_eq!(caller.ask(&begin("k")).await["outcome"], "started");
    assert_eq!(caller.ask(&begin(key)).await["outcome"], "replay");
}
