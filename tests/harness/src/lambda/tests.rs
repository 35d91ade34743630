//! Tests the simulated Lambda with the smallest function (`tests/examples/hello.rs`).

use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use tokio::time::timeout;

use super::{Lambda, Outcome};
use crate::eventually::eventually;
use crate::test_request::TestRequest;

/// The time after which a test concludes that no answer comes. The function `hello` answers much
/// faster.
const SILENCE: Duration = Duration::from_millis(200);

#[tokio::test]
async fn a_function_answers() {
    let hello = Lambda::example("hello").start().await;
    let answer = hello.get("/").await;
    assert_eq!(
        (answer.status, answer.json()),
        (200, json!({ "greeting": "hello" }))
    );
    assert!(hello.init_duration() < Duration::from_secs(5));
    assert_eq!(hello.processes(), 1);
    if cfg!(target_os = "linux") {
        assert!(hello.rss_bytes() > 100_000);
    }
}

#[tokio::test]
async fn a_frozen_function_gets_its_request_after_the_thaw() {
    let hello = Lambda::example("hello").start().await;
    hello.get("/").await;
    hello.freeze().await;
    let pending = hello.queue(TestRequest::get("/")).await;
    hello.thaw().await;
    assert_eq!(pending.await.status, 200);
    assert_eq!(hello.processes(), 1);
}

#[tokio::test]
async fn a_frozen_function_answers_nothing() {
    let hello = Lambda::example("hello").start().await;
    hello.freeze().await;
    let answer = hello.queue(TestRequest::get("/")).await.into_future();
    assert!(
        timeout(SILENCE, answer).await.is_err(),
        "a frozen function answered"
    );
}

#[tokio::test]
async fn a_process_can_have_a_wrong_clock() {
    let skew = SignedDuration::from_hours(-1);
    let hello = Lambda::example("hello").clock_off_by(skew).start().await;
    hello.get("/time").await;
    let told: Vec<Timestamp> = hello
        .logs()
        .iter()
        .filter_map(|line| line.parse().ok())
        .collect();
    let off_by = Timestamp::now().duration_since(told[0]);
    assert!((3_600..3_660).contains(&off_by.as_secs()), "{off_by}");
    let left_behind = format!("/dev/shm/faketime_shm_{}", hello.pid());
    hello.stop().await;
    assert!(!std::path::Path::new(&left_behind).exists());
}

#[tokio::test]
async fn a_timeout_kills_the_process() {
    let hello = Lambda::example("hello")
        .timeout(Duration::from_millis(300))
        .start()
        .await;
    let first = hello.pid();
    assert_eq!(
        hello
            .invoke(TestRequest::get("/sleep?ms=5000").event())
            .await,
        Outcome::TimedOut
    );
    assert_eq!(hello.get("/").await.status, 200);
    assert_ne!(hello.pid(), first);
    assert_eq!(hello.processes(), 2);
}

#[tokio::test]
async fn a_crash_and_a_function_error_are_different_outcomes() {
    let hello = Lambda::example("hello").start().await;
    let failed = hello.invoke(TestRequest::get("/fail").event()).await;
    assert!(
        matches!(&failed, Outcome::FunctionError { message, .. } if message == "failed as asked"),
        "{failed:?}"
    );
    assert_eq!(hello.processes(), 1);
    let crashed = hello.invoke(TestRequest::get("/abort").event()).await;
    assert!(
        matches!(&crashed, Outcome::Crashed { reason } if reason.contains("signal: 6")),
        "{crashed:?}"
    );
    assert_eq!(hello.get("/").await.status, 200);
}

#[tokio::test]
async fn a_process_handles_as_many_invocations_at_once_as_its_concurrency() {
    for (concurrency, milliseconds) in [(1, 600..=u128::MAX), (3, 200..=550)] {
        let hello = Lambda::example("hello")
            .concurrency(concurrency)
            .start()
            .await;
        let start = Instant::now();
        let sleep = "/sleep?ms=200";
        tokio::join!(hello.get(sleep), hello.get(sleep), hello.get(sleep));
        let elapsed = start.elapsed().as_millis();
        assert!(
            milliseconds.contains(&elapsed),
            "{elapsed} ms with a concurrency of {concurrency}"
        );
        assert_eq!(hello.processes(), 1);
    }
}

#[tokio::test]
async fn a_failed_start_has_the_reason() {
    let failure = Lambda::example("hello")
        .unset("AWS_LAMBDA_FUNCTION_NAME")
        .try_start()
        .await;
    let failure = failure.err().expect("the runtime needs the variable");
    assert!(
        failure.log.contains("AWS_LAMBDA_FUNCTION_NAME"),
        "{failure}"
    );
    assert!(failure.reason.contains("the process ended"), "{failure}");
}

#[tokio::test]
async fn a_stopped_function_starts_cold() {
    let hello = Lambda::example("hello").start().await;
    hello.stop().await;
    assert_eq!(hello.get("/").await.status, 200);
    assert_eq!(hello.processes(), 2);
}

#[tokio::test]
#[should_panic(expected = "the log contains the planted secret")]
async fn a_secret_in_the_log_is_found() {
    let hello = Lambda::example("hello").start().await;
    hello.plant_secret("s3cret");
    hello.get("/log?text=an+s3cret").await;
    assert_eq!(hello.logs(), ["an s3cret"]);
    hello.assert_no_secret_in_logs();
}

#[tokio::test]
async fn dropping_a_function_ends_its_process() {
    let hello = Lambda::example("hello").start().await;
    let process = format!("/proc/{}", hello.pid());
    drop(hello);
    eventually(Duration::from_secs(1), async || {
        !std::path::Path::new(&process).exists()
    })
    .await;
}

#[tokio::test]
async fn the_duration_of_an_invocation_starts_with_its_delivery_to_a_process() {
    let hello = Lambda::example("hello").runs_here().start().await;
    let before = Instant::now();
    hello.suspend().await;
    let event = TestRequest::get("/").event().to_string();
    let settled = hello.hand_over(event.into()).await;
    tokio::time::sleep(SILENCE).await;
    hello.thaw().await;
    let settled = settled.await;
    assert!(
        matches!(settled.outcome, Outcome::Answered(_)),
        "{settled:?}"
    );
    assert!(settled.took >= SILENCE, "{settled:?}");
    assert!(settled.at >= before + settled.took && settled.at <= Instant::now());
    assert!(hello.started() + hello.init_duration() < before);
}

#[tokio::test]
async fn a_program_that_never_asks_for_work_fails_to_start() {
    let file = |name: &str| std::path::PathBuf::from(format!("/bin/{name}"));
    let idle = Lambda::program("idle", file("cat"));
    let failed = idle.init_timeout(SILENCE).try_start().await.err().unwrap();
    assert!(failed.reason.contains("in time"), "{failed}");
    let failed = Lambda::program("short", file("false")).try_start().await;
    let failed = failed.err().unwrap();
    assert!(failed.reason.contains("exit status: 1"), "{failed}");
}
