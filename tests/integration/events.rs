//! Events that API Gateway, a local gateway or a direct caller can send to an HTTP function. Each event gets a
//! response.

use harness::{Lambda, Outcome, TestRequest};
use serde_json::{Map, Value, json};
use tempfile::TempDir;

use crate::openapi;

/// The function `payments-create`, and the folder of its ledger.
async fn payments_create() -> (Lambda, TempDir) {
    let ledger = TempDir::new().expect("a folder");
    let function =
        Lambda::function("payments-create").env("LEDGER_DIR", &ledger.path().to_string_lossy());
    (function.start().await, ledger)
}

/// The Lambda event of a request by `alice` for a payment. `value` replaces the value at the JSON pointer `pointer`.
fn payment_with(pointer: &str, value: Value) -> Value {
    let order = json!({ "amount": 100, "currency": "EUR", "payment_method": "pm_card_visa" });
    TestRequest::post("/api/payments")
        .header("idempotency-key", "k-1")
        .subject("alice")
        .json(&order)
        .with_member(pointer, value)
        .event()
}

/// The status of a response, and the last part of the `type` of its problem.
fn answered(outcome: &Outcome) -> (u64, String) {
    let Outcome::Answered(answer) = outcome else {
        panic!("not answered: {outcome:?}")
    };
    let status = answer["statusCode"].as_u64().expect("a status");
    assert_eq!(answer["headers"]["cache-control"], "no-store", "{answer}");
    assert!(answer["headers"]["x-request-id"].is_string(), "{answer}");
    let body: Value = answer["body"].as_str().map_or(Value::Null, |body| {
        serde_json::from_str(body).expect("JSON")
    });
    let kind = body["type"].as_str().unwrap_or_default();
    (
        status,
        kind.rsplit(':').next().unwrap_or_default().to_owned(),
    )
}

/// Regression: the conversion of `lambda_http` panics on events with invalid headers or queries, and the function used
/// that conversion. The panic was a function error, which triggered the alarm that rolls a deployment back.
#[tokio::test]
async fn invalid_headers_and_queries_that_no_endpoint_reads_are_ignored() {
    let (lambda, _ledger) = payments_create().await;
    let cases = [
        ("/headers/x-forwarded-proto", json!("https,http")),
        ("/headers/x-forwarded-proto", json!("")),
        ("/headers/host", json!("a b")),
        ("/headers/host", json!("x:99999")),
        ("/headers/a b", json!("c")),
        ("/headers/user-agent", json!("a\u{1}b")),
        ("/rawQueryString", json!("a=ü b\"<>")),
    ];
    for (pointer, value) in cases {
        let outcome = lambda.invoke(payment_with(pointer, value.clone())).await;
        assert_eq!(
            answered(&outcome).0,
            201,
            "{pointer} = {value}: {outcome:?}"
        );
    }
}

#[tokio::test]
async fn an_unreadable_event_is_a_bad_request() {
    let (lambda, _ledger) = payments_create().await;
    let encoded = |body: &str| {
        let mut event = payment_with("/body", json!(body));
        event["isBase64Encoded"] = json!(true);
        event
    };
    let cases = [
        json!(7),
        json!({}),
        json!([]),
        json!({ "httpMethod": "POST", "path": "/api/payments", "body": "{}" }),
        encoded("*"),
        payment_with("/requestContext/http/method", json!("PO ST")),
        payment_with("/rawPath", json!("")),
        payment_with("/body", json!(7)),
    ];
    for event in cases {
        let outcome = lambda.invoke(event.clone()).await;
        let expected = (400, "request-unreadable".to_owned());
        assert_eq!(answered(&outcome), expected, "{event}");
    }
    assert_eq!(lambda.processes(), 1);
    lambda.assert_logs_are_well_formed();
}

#[tokio::test]
async fn a_subject_that_is_no_text_is_unauthenticated() {
    let (lambda, _ledger) = payments_create().await;
    for claim in [
        json!(["alice"]),
        json!(7),
        json!(true),
        json!({}),
        json!(""),
    ] {
        let pointer = "/requestContext/authorizer/jwt/claims/sub";
        let outcome = lambda.invoke(payment_with(pointer, claim.clone())).await;
        let expected = (401, "unauthenticated".to_owned());
        assert_eq!(answered(&outcome), expected, "{claim}");
    }
}

#[tokio::test]
async fn every_endpoint_rejects_an_unreadable_event() {
    let endpoints = [
        ("health", "/api/health", "get"),
        ("health-redis", "/api/health/redis", "get"),
        ("health-detailed", "/api/health/detailed", "get"),
        ("payments-create", "/api/payments", "post"),
        ("payments-get", "/api/payments/{id}", "get"),
        ("payments-webhook", "/api/payments/webhook", "post"),
    ];
    for (function, path, method) in endpoints {
        let lambda = Lambda::function(function).start().await;
        let request = TestRequest::new(&method.to_uppercase(), path);
        let answer = lambda.request(request.with_member("/body", json!(7))).await;
        assert_eq!(answer.status, 400, "{function}: {answer:?}");
        openapi::check(path, method, &answer);
    }
}

/// Random JSON, at most three levels deep.
fn any_json(random: &mut fastrand::Rng, depth: u8) -> Value {
    const TEXTS: [&str; 8] = ["", "/", "GET", "POST", "a b", "é\u{0}\n", "https,http", "="];
    match random.u8(0..if depth < 3 { 7 } else { 5 }) {
        0 => Value::Null,
        1 => json!(random.bool()),
        2 => json!(random.i64(..)),
        3 => json!(TEXTS[random.usize(0..TEXTS.len())]),
        4 => json!(random.f64()),
        5 => (0..random.usize(0..4))
            .map(|_| any_json(random, depth + 1))
            .collect(),
        _ => {
            const NAMES: [&str; 6] = ["sub", "claims", "http", "method", "a b", "idempotency-key"];
            let members = (0..random.usize(0..4)).map(|_| {
                let name = NAMES[random.usize(0..NAMES.len())].to_owned();
                (name, any_json(random, depth + 1))
            });
            members.collect::<Map<_, _>>().into()
        }
    }
}

/// The pointers to all members of a JSON document.
fn places(value: &Value, at: &str, found: &mut Vec<String>) {
    let members: Vec<_> = match value {
        Value::Object(members) => members
            .iter()
            .map(|(name, value)| (name.clone(), value))
            .collect(),
        _ => Vec::new(),
    };
    for (name, value) in members {
        let place = format!("{at}/{name}");
        places(value, &place, found);
        found.push(place);
    }
}

#[tokio::test]
async fn every_json_event_gets_a_response() {
    let (lambda, _ledger) = payments_create().await;
    let mut found = Vec::new();
    places(&payment_with("/version", json!("2.0")), "", &mut found);
    for seed in 0..400 {
        let random = &mut fastrand::Rng::with_seed(seed);
        let place = &found[random.usize(0..found.len())];
        let event = match random.u8(0..8) {
            0 => any_json(random, 0),
            _ => payment_with(place, any_json(random, 0)),
        };
        let outcome = lambda.invoke(event.clone()).await;
        let (status, _) = answered(&outcome);
        assert!(
            (200..500).contains(&status),
            "seed {seed}: {status} to {event}"
        );
    }
    assert_eq!(lambda.processes(), 1);
}
