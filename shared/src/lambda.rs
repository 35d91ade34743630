//! How does a binary become a Lambda function?
//!
//! A function says what it answers; [`serve`] does the rest, the same for all: reads the configuration, begins to log,
//! asks the Runtime API for invocations, turns an API Gateway event into an [`Invocation`] and a [`Response`] back into
//! what API Gateway expects. [`serve_events`] does it for a function that is invoked directly, without HTTP. A panic in a
//! handler is answered, as a problem document or as a function error; the process lives on, which is why the release
//! profile keeps `panic = "unwind"`. Where Lambda allows several invocations per process
//! (`AWS_LAMBDA_MAX_CONCURRENCY`), they run side by side.
//!
//! Nothing is done when Lambda ends the process (SIGTERM): what counts was acknowledged before its answer left, no line of the
//! log waits in a buffer, and the system closes the connections. To be told of the end, a function would have to register as
//! an extension, one request more at each start.
//!
//! Only this module names `lambda_http`.
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

/// The crates whose log lines have the level of `AWS_LAMBDA_LOG_LEVEL`: ours.
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
/// What stays free of an invocation's time for sending the answer.
const ANSWER_RESERVE: Duration = Duration::from_millis(100);

/// Reads the configuration, begins to log, makes the state from the [`App`], and lets `run` ask for invocations until Lambda ends it. `run`
/// is told when the process started, against which Lambda's deadlines are read.
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
        // Never dropped: a function would link the clients that it does not call, to drop them.
        let app = ManuallyDrop::new(App::new(config));
        runtime.block_on(async { run(started, Arc::new(build(&app))).await })
    });
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            error!("the Lambda runtime ended: {error}");
            ExitCode::FAILURE
        }
    }
}

fn runtime(config: &Config) -> Result<tokio::runtime::Runtime, lambda_http::Error> {
    // A function with one invocation at a time has one core or less; threads would only cost memory and start-up.
    let mut runtime = match config.lambda.concurrency {
        0 | 1 => tokio::runtime::Builder::new_current_thread(),
        _ => tokio::runtime::Builder::new_multi_thread(),
    };
    Ok(runtime.enable_all().build()?)
}

/// By when an invocation has to be answered.
fn deadline(context: &Context, process_started: SystemTime) -> Deadline {
    Deadline::of_invocation(context.deadline, process_started).reserving(ANSWER_RESERVE)
}

/// Logs where a panic happened. Its message stays out: slicing a string, for one, panics with the string.
fn log_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let place = panic
            .location()
            .map(ToString::to_string)
            .unwrap_or_default();
        error!(panic.location = place, "panicked");
    }));
}

#[expect(
    clippy::disallowed_methods,
    reason = "the start of the process, against which Lambda's deadlines are read"
)]
fn now() -> SystemTime {
    SystemTime::now()
}
