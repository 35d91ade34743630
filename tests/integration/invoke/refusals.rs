//! Malformed requests. The reply to a refused request lists all its problems, and the process continues to work.

use serde_json::{Value, json};

use super::caller::{Caller, begin, checkpoint, complete, lease_request, status, with};

const REVISION: &str = "1-9f86d081884c7d65";
const OWNER: &str = "0123456789abcdef0123456789abcdef";

/// A lease that no caller ever received.
fn made_up_lease() -> Value {
    json!({"scope": "orders", "key": "k", "owner": OWNER, "attempt": 1, "fingerprint": "ab".repeat(32)})
}

fn without(mut request: Value, member: &str) -> Value {
    request.as_object_mut().expect("one").remove(member);
    request
}

fn text(length: usize) -> String {
    "x".repeat(length)
}

#[tokio::test]
async fn every_request_gets_a_reply_and_the_process_survives() {
    let caller = Caller::memory().await;
    let nested = |open: &str, close: &str| open.repeat(100_000) + "1" + &close.repeat(100_000);
    let members: String = (0..10_000).map(|n| format!(r#","m{n}":0"#)).collect();
    let payload = |payload: &str| {
        format!(
            r#"{{"operation":"begin","scope":"s","key":"k","owner":"{OWNER}","payload":{payload}}}"#
        )
    };
    let twice = |request: &Value, member: &str| {
        let member = format!(r#"{{"{member}":{},"#, request[member]);
        request.to_string().replacen('{', &member, 1)
    };
    let release = lease_request("release", &made_up_lease()).to_string();
    let hostile: [Vec<u8>; 24] = [
        "".into(),
        " ".into(),
        "nope".into(),
        "{".into(),
        b"\xff\xfe".to_vec(),
        b"{\"operation\":\"\xff\"}".to_vec(),
        "null".into(),
        "true".into(),
        "-1e999".into(),
        "\"begin\"".into(),
        "[]".into(),
        "[{\"operation\":\"begin\"}]".into(),
        "{}".into(),
        r#"{"operation":"begin","operation":"begin"}"#.into(),
        twice(&begin("k"), "key").into(),
        release
            .replacen(r#""owner""#, r#""key":"k","owner""#, 1)
            .into(),
        r#"{"operation":"\ud800"}"#.into(),
        r#"{"\ud800":"begin"}"#.into(),
        format!(r#"{{"operation":"begin"{members}}}"#).into(),
        nested("[", "]").into(),
        nested("{\"a\":", "}").into(),
        payload(&nested("[", "]")).into(),
        payload(&nested("{\"a\":", "}")).into(),
        payload(r#"[{"a":1,"\u0061":2}]"#).into(),
    ];
    for bytes in hostile {
        let shown = String::from_utf8_lossy(&bytes[..bytes.len().min(80)]).into_owned();
        let answer = caller.ask_text(bytes).await;
        assert!(
            answer.starts_with(r#"{"outcome":"invalid","errors":[{"pointer":""#),
            "{shown}: {answer}"
        );
    }
    assert_eq!(caller.lambda.processes(), 1);
    caller.lease(&begin("k")).await;
}

#[tokio::test]
async fn the_schema_and_the_function_refuse_the_same() {
    let caller = Caller::memory().await;
    let lease = made_up_lease;
    let bad_values = |request: &Value, member: &str, values: &[Value]| {
        let requests = values
            .iter()
            .map(|value| with(request.clone(), member, value.clone()));
        requests.collect::<Vec<_>>()
    };
    let nonsense = [json!(null), json!(7), json!([]), json!({}), json!(true)];
    let numbers = [
        json!(null),
        json!("1"),
        json!(0),
        json!(-1),
        json!(1.5),
        json!(9e99),
    ];
    let mut refused = vec![
        json!({"operation": "delete"}),
        with(begin("k"), "unknown", 1),
        with(begin("k"), "lease", lease()),
        with(begin("k"), "fingerprint", "ab".repeat(32)),
        without(begin("k"), "payload"),
        with(lease_request("release", &lease()), "response", 1),
        lease_request("release", &with(lease(), "policy", "rerun")),
        lease_request("complete", &lease()),
        lease_request("checkpoint", &lease()),
        with(status("k"), "owner", OWNER),
        lease_request("renew", &with(lease(), "expires_in_ms", -1)),
    ];
    for member in ["operation", "scope", "key", "owner"] {
        refused.push(without(begin("k"), member));
        refused.extend(bad_values(&begin("k"), member, &nonsense));
    }
    for member in ["scope", "key", "owner", "attempt", "fingerprint"] {
        refused.push(lease_request("release", &without(lease(), member)));
        for bad in bad_values(&lease(), member, &nonsense[..1]) {
            refused.push(lease_request("release", &bad));
        }
    }
    refused.extend(bad_values(
        &lease_request("release", &json!(1)),
        "lease",
        &nonsense,
    ));
    refused.extend(bad_values(&begin("k"), "lease_ms", &numbers));
    refused.extend(bad_values(&begin("k"), "lease_ms", &[json!(900_001)]));
    refused.extend(bad_values(
        &lease_request("renew", &lease()),
        "lease_ms",
        &numbers,
    ));
    for attempt in numbers.iter().chain([&json!(4_294_967_296_u64)]) {
        refused.push(lease_request(
            "release",
            &with(lease(), "attempt", attempt.clone()),
        ));
    }
    for rev in numbers.iter().chain([&json!(4_294_967_296_u64)]) {
        refused.push(lease_request("renew", &with(lease(), "rev", rev.clone())));
    }
    let resolve = || {
        json!({"operation": "resolve", "scope": "orders", "key": "k", "revision": REVISION,
            "as": "completed", "response": 1})
    };
    let release = || {
        json!({"operation": "resolve", "scope": "orders", "key": "k", "revision": REVISION,
            "as": "released", "reason": "attempt_ended"})
    };
    for member in ["scope", "key", "revision", "as", "response"] {
        refused.push(without(resolve(), member));
    }
    refused.push(without(release(), "reason"));
    refused.push(with(resolve(), "reason", "attempt_ended"));
    refused.push(with(release(), "response", 1));
    refused.push(with(resolve(), "owner", OWNER));
    for member in ["revision", "as"] {
        refused.extend(bad_values(&resolve(), member, &nonsense));
    }
    refused.extend(bad_values(&release(), "reason", &nonsense));
    refused.extend(
        ["", "nothing happened", "fenced_by_ledger"]
            .map(|reason| with(release(), "reason", reason)),
    );
    let revisions = [
        "",
        "1",
        "0-9f86d081884c7d65",
        "01-9f86d081884c7d65",
        "1-9F86D081884C7D65",
    ];
    refused.extend(revisions.map(|revision| with(resolve(), "revision", revision)));
    let keys = ["", "\"\"", "a,b", " a", "a\n", "é", "a b", &text(256)];
    refused.extend(keys.map(|key| with(begin("k"), "key", key)));
    refused.extend(["", &text(129)].map(|scope| with(begin("k"), "scope", scope)));
    let unseen = [
        "a\n",
        "\u{1b}[2J",
        "a\u{202e}b",
        "a\u{200b}",
        "\u{e0041}",
        "\u{85}",
    ];
    refused.extend(unseen.map(|scope| with(begin("k"), "scope", scope)));
    let owners = [
        "",
        &OWNER[1..],
        &OWNER.to_uppercase(),
        &"0".repeat(32),
        &format!("+{}", &OWNER[1..]),
        "0123456789abcdef0123456789abcdeg",
    ];
    refused.extend(owners.map(|owner| with(begin("k"), "owner", owner)));
    let given = without(begin("k"), "payload");
    let fingerprints = ["", "ab", &"AB".repeat(32), &"+a".repeat(32)];
    refused.extend(fingerprints.map(|digits| with(given.clone(), "fingerprint", digits)));
    refused.extend(bad_values(&given, "fingerprint", &nonsense));
    refused.extend(["", "always"].map(|policy| with(begin("k"), "policy", policy)));
    for request in &refused {
        let answer = caller.ask(request).await;
        assert_eq!(answer["outcome"], "invalid", "{request}");
    }
    assert_eq!(caller.lambda.processes(), 1);
    assert_eq!(caller.ask(&status("k")).await["outcome"], "absent");
}

#[tokio::test]
async fn the_schema_and_the_function_accept_the_same_up_to_the_limits() {
    let caller = Caller::memory().await;
    let accepted = [
        with(begin("1"), "lease_ms", 1),
        with(begin("2"), "lease_ms", 900_000),
        with(begin("3"), "lease_ms", 3e4),
        with(begin("4"), "scope", text(128)),
        with(begin("4"), "scope", "größe 北京"),
        begin(&text(255)),
        begin(&format!("\"{}\"", "y".repeat(255))),
        begin("\""),
        with(begin("5"), "payload", Value::Null),
        with(begin("6"), "payload", ""),
        with(begin("7"), "policy", "at_most_once"),
        with(
            without(begin("8"), "payload"),
            "fingerprint",
            "ab".repeat(32),
        ),
    ];
    for request in &accepted {
        assert_eq!(caller.ask(request).await["outcome"], "started", "{request}");
    }
}

#[tokio::test]
async fn an_oversized_value_is_refused_and_the_lease_is_unchanged() {
    let caller = Caller::memory().await;
    let lease = caller.lease(&begin("k")).await;
    // The length of the JSON text, which includes the two quotes.
    let response = |length: usize| complete(&lease, text(length - 2).into());
    let note = |length: usize| checkpoint(&lease, text(length - 2).into());

    for (request, pointer) in [
        (note(64 * 1024 + 1), "/data"),
        (response(256 * 1024 + 1), "/response"),
    ] {
        let answer = caller.ask_beyond_the_schema(&request).await;
        assert_eq!(answer["errors"][0]["pointer"], pointer, "{answer}");
    }
    assert_eq!(caller.ask(&note(64 * 1024)).await["outcome"], "saved");
    let completed = caller.ask(&response(256 * 1024)).await;
    assert_eq!(completed["outcome"], "completed");
    // This scope has 126 characters, but more than 128 bytes.
    let wide = with(begin("k"), "scope", "é".repeat(126));
    let refused = caller.ask_beyond_the_schema(&wide).await;
    assert_eq!(refused["errors"][0]["pointer"], "/scope");
}

#[tokio::test]
async fn all_problems_are_reported_at_once() {
    let caller = Caller::memory().await;
    let request = json!({
        "operation": "renew",
        "lease": {"scope": "", "key": "a,b", "owner": 7, "attempt": 0, "a/b~c": 1},
        "lease_ms": "soon",
        "payload": 1,
    });

    let answer = caller.ask(&request).await;

    let lines: Vec<_> = answer["errors"]
        .as_array()
        .expect("some")
        .iter()
        .map(|error| {
            let text = |member: &str| error[member].as_str().expect("text").to_owned();
            format!("{}: {}", text("pointer"), text("detail"))
        })
        .collect();
    insta::assert_snapshot!(lines.join("\n"), @r"
    /lease/scope: expected a string of 1 to 128 bytes
    /lease/key: expected a string of 1 to 255 visible ASCII characters without a comma
    /lease/owner: expected 32 lowercase hexadecimal digits, random and fresh for each `begin`
    /lease/attempt: expected a whole number from 1 to 4294967295
    /lease/fingerprint: missing
    /lease/a~1b~0c: unknown member
    /lease_ms: expected whole milliseconds from 1 to 900000
    /payload: unknown member
    ");
}

/// JavaScript and Python write half of a surrogate pair as an escape. The function accepts such an escape in a payload,
/// and returns it unchanged in a response or a checkpoint. In a name, the escape is rejected.
#[tokio::test]
async fn half_of_a_surrogate_pair_is_accepted_only_as_data() {
    let caller = Caller::memory().await;
    let begin = |payload: &str| {
        with(begin("k"), "payload", "-")
            .to_string()
            .replace("\"-\"", payload)
    };
    let python = begin(r#"{"amount": 1, "text": "\ud83d"}"#);
    let node = begin(r#"{"text":"\uD83D","amount":1}"#);
    let other = begin(r#"{"text":"\ufffd","amount":1}"#);

    let started: Value = caller.ask_json(python).await;
    assert_eq!(started["outcome"], "started", "{started}");
    assert_eq!(
        caller.ask_json(node.clone()).await["outcome"],
        "in_progress"
    );
    assert_eq!(caller.ask_json(other).await["outcome"], "mismatch");
    let response = r#"{"text": "\uD83d"}"#;
    let complete = complete(&started["lease"], json!("-")).to_string();
    let completed = caller.ask_json(complete.replace("\"-\"", response)).await;
    assert_eq!(completed["outcome"], "completed", "{completed}");
    let replayed = caller.ask_text(node).await;
    assert!(
        replayed.contains(&format!(r#""response":{response}"#)),
        "{replayed}"
    );

    let half = |member: &str| {
        with(self::begin("k"), member, "-")
            .to_string()
            .replace("\"-\"", r#""a\ud83d""#)
    };
    for member in ["scope", "key", "owner", "policy", "operation"] {
        let answer = caller.ask_json(half(member)).await;
        let error = json!({"pointer": format!("/{member}"), "detail": r"it has half of a surrogate pair (`\ud83d` alone is no character)"});
        assert_eq!(answer, json!({"outcome": "invalid", "errors": [error]}));
    }
    let name = self::begin("k")
        .to_string()
        .replacen('{', r#"{"\ud83d": 1, "#, 1);
    let answer = caller.ask_json(name).await;
    let detail = answer["errors"][0]["detail"].as_str().expect("a detail");
    assert!(
        detail.starts_with("the name of a member has half of a surrogate pair"),
        "{answer}"
    );
}

#[tokio::test]
async fn no_part_of_a_request_is_logged() {
    let caller = Caller::of(super::caller::function().env("AWS_LAMBDA_LOG_LEVEL", "TRACE")).await;
    for secret in ["planted-key", "planted-payload", "planted-note", OWNER] {
        caller.lambda.plant_secret(secret);
    }
    let payment = with(begin("planted-key"), "payload", "planted-payload");
    let lease = caller.lease(&with(payment, "owner", OWNER)).await;
    caller.ask(&checkpoint(&lease, json!("planted-note"))).await;
    caller.ask(&begin("planted-key")).await;
    caller.ask(&with(begin("k"), "planted-key", 1)).await;
    caller.lambda.assert_no_secret_in_logs();
    caller.lambda.assert_logs_are_well_formed();
}
