//! The behaviour of every function: start, failure to start, logging, panics, parallel invocations.

use std::fs;
use std::time::Duration;

use harness::{FaultProxy, Lambda, Outcome, RedisServer};
use serde_json::Value;

const PANICKED: &str = "the function panicked, which is a bug; report panic.location; a repetition with the same key is safe";

/// The first log line with this message, as JSON.
fn logged(lambda: &Lambda, message: &str) -> Value {
    let mut events = lambda.log_events().into_iter();
    events
        .find(|event| event["message"] == message)
        .unwrap_or_else(|| panic!("no `{message}` in the log:\n{}", lambda.log_text()))
}

#[tokio::test]
async fn a_panic_is_a_500_and_the_process_continues() {
    let lambda = Lambda::example("panics").start().await;

    let answer = lambda.get("/?panic").await;

    assert_eq!(answer.status, 500);
    insta::assert_snapshot!(answer.text(), @r#"{"type":"urn:truebond:problem:internal","title":"Internal error","status":500,"detail":"The request failed because of an internal error. Include the X-Request-Id when you report it."}"#);
    assert_eq!((lambda.get("/").await.status, lambda.processes()), (200, 1));
    let logged = logged(&lambda, PANICKED);
    assert_eq!(logged["level"], "ERROR");
    assert!(
        logged["panic.location"]
            .as_str()
            .is_some_and(|place| place.contains("panics.rs")),
        "{logged}"
    );
}

#[tokio::test]
async fn a_panic_in_an_event_handler_is_a_function_error_and_the_process_continues() {
    let lambda = Lambda::example("events").start().await;

    let failed = lambda.invoke("panic".into()).await;

    let Outcome::FunctionError {
        error_type,
        message,
    } = failed
    else {
        panic!("{failed:?}")
    };
    insta::assert_snapshot!(format!("{error_type}: {message}"), @"InternalError: The invocation failed because of an internal error. Include its request id when you report it.");
    let event = Value::from(7);
    assert_eq!(lambda.invoke(event.clone()).await, Outcome::Answered(event));
    assert_eq!(lambda.processes(), 1);
    assert_eq!(logged(&lambda, PANICKED)["level"], "ERROR");
    lambda.assert_logs_are_well_formed();
}

#[tokio::test]
async fn an_invalid_setting_stops_the_start_and_the_error_names_the_accepted_values() {
    let refused = Lambda::function("health")
        .env("HEALTH_MEMO_MS", "1 s")
        .try_start()
        .await;

    let log = refused.err().expect("it does not start").log;

    assert!(
        log.contains(
            "cannot start: HEALTH_MEMO_MS is `1 s`; accepted: whole milliseconds from 0 to 60000"
        ),
        "{log}"
    );
}

#[tokio::test]
async fn on_lambda_the_environment_is_required() {
    let refused = Lambda::function("health")
        .unset("ENVIRONMENT")
        .try_start()
        .await;
    assert!(
        refused
            .err()
            .expect("it does not start")
            .log
            .contains("cannot start: ENVIRONMENT is not set")
    );

    let laptop = Lambda::function("health")
        .unset("ENVIRONMENT")
        .unset("AWS_LAMBDA_INITIALIZATION_TYPE")
        .start()
        .await;
    assert_eq!(
        laptop.get("/api/health").await.json()["environment"],
        "development"
    );
}

#[tokio::test]
async fn a_log_line_has_what_lambda_reads_and_the_id_the_client_got() {
    let lambda = Lambda::function("health").start().await;

    let answer = lambda.get("/api/health").await;

    lambda.assert_logs_are_well_formed();
    let logged = logged(&lambda, "answered");
    assert_eq!(
        (&logged["level"], &logged["http.status"]),
        (&"INFO".into(), &200.into())
    );
    assert_eq!(
        logged["http.request_id"].as_str(),
        answer.header("x-request-id")
    );
    assert!(
        logged["requestId"]
            .as_str()
            .is_some_and(|id| !id.is_empty()),
        "{logged}"
    );
}

#[tokio::test]
async fn lines_below_the_level_are_not_logged() {
    let lambda = Lambda::function("health")
        .env("AWS_LAMBDA_LOG_LEVEL", "WARN")
        .start()
        .await;
    lambda.get("/api/health").await;
    assert_eq!(lambda.logs(), Vec::<String>::new());
}

#[tokio::test]
async fn the_log_format_can_be_text() {
    let lambda = Lambda::function("health")
        .env("AWS_LAMBDA_LOG_FORMAT", "Text")
        .start()
        .await;
    lambda.get("/api/health").await;
    let line = lambda.log_text();
    assert!(line.contains("INFO") && line.contains("answered"), "{line}");
    assert!(serde_json::from_str::<Value>(&line).is_err(), "{line}");
}

#[tokio::test]
async fn a_probe_writes_metrics_at_every_log_level() {
    let redis = RedisServer::start().await;
    let lambda = Lambda::function("health-redis")
        .env("REDIS_URL", &redis.url())
        .env("AWS_LAMBDA_LOG_LEVEL", "ERROR")
        .start()
        .await;

    lambda.get("/api/health/redis").await;

    let metrics: Vec<_> = lambda
        .log_events()
        .into_iter()
        .filter(|event| event["_aws"].is_object())
        .collect();
    assert_eq!(metrics.len(), 1, "{metrics:?}");
    let line = &metrics[0];
    assert_eq!(
        (&line["level"], &line["dependency"]),
        (&"ERROR".into(), &"redis".into())
    );
    assert_eq!(line["DependencyUp"], 1.0);
}

#[tokio::test]
async fn the_deadline_of_a_local_runtime_is_ignored() {
    let redis = RedisServer::start().await;
    let lambda = Lambda::function("health-redis")
        .env("REDIS_URL", &redis.url())
        .local_deadlines()
        .start()
        .await;
    assert_eq!(lambda.get("/api/health/redis").await.status, 200);
}

#[tokio::test]
async fn an_invocation_gets_a_response_before_its_timeout() {
    let silent = FaultProxy::silent();
    let lambda = Lambda::function("health-redis")
        .env("REDIS_URL", &format!("redis://{}", silent.address()))
        .timeout(Duration::from_millis(400))
        .start()
        .await;

    let answer = lambda.get("/api/health/redis").await;

    assert_eq!(
        (answer.status, &answer.json()["error_code"]),
        (503, &"connect_timeout".into())
    );
}

/// Whether a binary contains the path of a source file of the package, such as `…/redis-1.8.1/src/…`. The compiler adds
/// such paths for panic messages, in every profile. A release has no symbol table to search instead.
fn contains_code_of(package: &str, binary: &str) -> bool {
    let is_version = |character: char| character.is_ascii_digit() || character == '.';
    binary
        .split(&format!("/{package}-"))
        .skip(1)
        .any(|rest| rest.trim_start_matches(is_version).starts_with("/src/"))
}

#[test]
fn a_function_links_only_the_clients_that_it_uses() {
    let cases = [
        ("health", [false, false, false, false]),
        ("health-redis", [true, false, true, false]),
        ("health-detailed", [true, true, true, false]),
        ("idempotency", [true, true, true, false]),
        ("payments-get", [false, true, true, false]),
        ("payments-create", [true, true, true, true]),
    ];
    for (function, expected) in cases {
        let binary = fs::read(Lambda::function(function).binary()).expect("it has been built");
        let text = String::from_utf8_lossy(&binary);
        // `reqwest` is the HTTP client of the payment provider.
        let packages = ["redis", "mongodb", "aws-smithy-runtime", "reqwest"];
        let links = packages.map(|package| contains_code_of(package, &text));
        assert_eq!(links, expected, "{function}");
    }
}
