//! Functions that are invoked directly, with a JSON payload and a JSON result.

use std::panic::AssertUnwindSafe;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use foundation::Deadline;
use futures_util::FutureExt;
use lambda_http::lambda_runtime::{Diagnostic, LambdaEvent, Runtime};
use lambda_http::service_fn;
use serde_json::value::RawValue;
use telemetry::logging;
use tracing::{Instrument, info, info_span};

use super::payload::Payload;
use super::start;
use crate::App;

/// The event of one invocation. Not `Debug`, because it has the caller's data.
pub struct Event {
    /// The payload as it was sent; `None` if it is not JSON. Lambda rejects an event without JSON, but a local server
    /// may pass it on.
    pub payload: Option<Box<RawValue>>,
    /// The handler's deadline, which leaves time to send the response.
    pub deadline: Deadline,
}

/// The error type and message after a panic. The message of the panic is not sent and not logged.
const PANICKED: (&str, &str) = (
    "InternalError",
    "The invocation failed because of an internal error. Include its request id when you report it.",
);

/// Runs a function that is invoked directly. `build` creates the state of the function from the [`App`], once. `handle`
/// handles each event with this state. A panic becomes a function error. Returns only if the function cannot start or
/// if Lambda ends the process.
pub fn serve_events<S, F>(build: impl FnOnce(&App) -> S, handle: fn(Arc<S>, Event) -> F) -> ExitCode
where
    S: Send + Sync + 'static,
    F: Future<Output = Box<RawValue>> + Send + 'static,
{
    start(build, async |started, state| {
        let service = service_fn(move |event: LambdaEvent<Payload>| {
            let state = Arc::clone(&state);
            async move { answer(started, event, |event| handle(state, event)).await }
        });
        Runtime::new(service).run_concurrent().await
    })
}

async fn answer<F: Future<Output = Box<RawValue>>>(
    process_started: SystemTime,
    event: LambdaEvent<Payload>,
    handle: impl FnOnce(Event) -> F,
) -> Result<Box<RawValue>, Diagnostic> {
    let began = Instant::now();
    let span = info_span!("invocation", requestId = event.context.request_id);
    let handled = async {
        let deadline = super::deadline(&event.context, process_started);
        let payload = event.payload.0;
        // The call of `handle` is inside the future, so that a panic before the handler's first await is also caught.
        let handled = AssertUnwindSafe(async { handle(Event { payload, deadline }).await });
        let answer = handled.catch_unwind().await;
        let duration_ms = began.elapsed().as_secs_f64() * 1e3;
        info!(panicked = answer.is_err(), duration_ms, "answered");
        logging::flush();
        answer.map_err(|_| Diagnostic {
            error_type: PANICKED.0.to_owned(),
            error_message: PANICKED.1.to_owned(),
        })
    };
    handled.instrument(span).await
}
