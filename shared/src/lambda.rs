//! Runs a binary as a Lambda function.
//!
//! [`serve`] does what all functions have in common. It reads the configuration, starts logging, and gets invocations
//! from the Runtime API. It converts each event of API Gateway into an [`Invocation`], and each [`Response`] into the
//! format of API Gateway. [`serve_events`] serves a function that is invoked directly, without HTTP.
//!
//! A panic in a handler becomes a problem document or a function error, and the process continues. The release profile
//! needs `panic = "unwind"` for that. If Lambda allows several invocations per process (`AWS_LAMBDA_MAX_CONCURRENCY`),
//! the invocations run in parallel.
//!
//! When Lambda ends the process (SIGTERM), there is no shutdown work. Every write is acknowledged before its response,
//! and all log lines are written before the response. The operating system closes the connections. To receive the
//! signal, a function would have to register as an extension, which costs a request at each start.
//!
//! Only this module uses `lambda_http`.
//!
//! [`Response`]: http_api::Response

mod events;
mod http_event;
mod payload;
mod requests;

use std::mem::ManuallyDrop;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use lambda_http::Context;
use tracing::error;

pub use self::events::{Event, serve_events};
pub use self::requests::serve;
use foundation::Deadline;
pub use http_api::Invocation;
use telemetry::logging;
use telemetry::logging::LogConfig;

use crate::App;
use crate::config::Config;

/// Our crates, whose log lines have the level of `AWS_LAMBDA_LOG_LEVEL`.
const CRATES: &[&str] = &[
    "aws_client",
    "foundation",
    "http_api",
    "idempotency",
    "mongo_client",
    "payments",
    "redis_client",
    "shared",
    "telemetry",
];
/// The part of an invocation's time that is reserved for sending the response.
const ANSWER_RESERVE: Duration = Duration::from_millis(100);

/// Reads the configuration, starts logging, builds the state from the [`App`], and calls `run`. `run` handles
/// invocations until Lambda ends the process. It gets the start time of the process, to validate Lambda's deadlines.
fn start<S>(
    build: impl FnOnce(&App) -> S,
    run: impl AsyncFnOnce(SystemTime, Arc<S>) -> Result<(), lambda_http::Error>,
) -> ExitCode {
    let started = now();
    let config = match Config::from_env() {
        Ok(config) => config,
        Err(error) => {
            logging::init(&LogConfig::default(), CRATES);
            error!("cannot start: {error}");
            return ExitCode::FAILURE;
        }
    };
    logging::init(&config.log, CRATES);
    log_panics();
    if !config.lambda.runtime_api {
        error!(
            "cannot start: this is an AWS Lambda function and AWS_LAMBDA_RUNTIME_API is not set; try `make run`"
        );
        return ExitCode::FAILURE;
    }
    let ended = runtime(&config).and_then(|runtime| {
        // The app is never dropped. Dropping it would link every client into every function.
        let app = ManuallyDrop::new(App::new(config));
        runtime.block_on(async { run(started, Arc::new(build(&app))).await })
    });
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            error!("the Lambda runtime failed: {error}; Lambda starts another process");
            ExitCode::FAILURE
        }
    }
}

fn runtime(config: &Config) -> Result<tokio::runtime::Runtime, lambda_http::Error> {
    // A function with one invocation at a time has one core or less. More threads would only cost memory and
    // start-up time.
    let mut runtime = match config.lambda.concurrency {
        0 | 1 => tokio::runtime::Builder::new_current_thread(),
        _ => tokio::runtime::Builder::new_multi_thread(),
    };
    Ok(runtime.enable_all().build()?)
}

/// The deadline of an invocation's response.
fn deadline(context: &Context, process_started: SystemTime) -> Deadline {
    Deadline::of_invocation(context.deadline, process_started).reserving(ANSWER_RESERVE)
}

/// Logs the location of a panic. The message is not logged, because it can contain data. For example, the message of a
/// failed string slice contains the string.
fn log_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let place = panic
            .location()
            .map(ToString::to_string)
            .unwrap_or_default();
        error!(
            panic.location = place,
            "the function panicked, which is a bug; report panic.location; a repetition with the same key is safe"
        );
    }));
}

#[expect(
    clippy::disallowed_methods,
    reason = "the start of the process validates the deadlines of Lambda"
)]
fn now() -> SystemTime {
    SystemTime::now()
}
