//! How does a binary become a Lambda function?
//!
//! A function says what it answers; [`serve`] does the rest, the same for all: reads the configuration, begins to log,
//! asks the Runtime API for invocations, turns an API Gateway event into an [`Invocation`] and a [`Response`] back into
//! what API Gateway expects. A panic in a handler is answered as a problem document; the process lives on, which is why
//! the release profile keeps `panic = "unwind"`. Where Lambda allows several invocations per process
//! (`AWS_LAMBDA_MAX_CONCURRENCY`), they run side by side.
//!
//! Only this module names `lambda_http`.

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use futures_util::FutureExt;
use lambda_http::request::RequestContext;
use lambda_http::{Body, RequestExt, service_fn};
use tracing::{Instrument, error, info, info_span};

use crate::config::{Config, LogConfig};
use crate::deadline::Deadline;
use crate::logging;
use crate::tenant::Caller;
use crate::web::{self, Request, Response};

/// One request to answer. Not `Debug`: its headers carry tokens.
pub struct Invocation {
    /// The request, its body decoded.
    pub request: Request,
    /// Who API Gateway says is asking.
    pub caller: Caller,
    /// By when the handler has to be done. A reserve for sending the answer is already taken off.
    pub deadline: Deadline,
}

/// What stays free of an invocation's time for sending the answer.
const ANSWER_RESERVE: Duration = Duration::from_millis(100);

/// Runs a function: `build` makes its state from the configuration, once; `handle` answers each invocation with it.
/// Returns only when the function cannot start or Lambda ends it.
pub fn serve<S, F>(
    build: impl FnOnce(&Config) -> S,
    handle: fn(Arc<S>, Invocation) -> F,
) -> ExitCode
where
    S: Send + Sync + 'static,
    F: Future<Output = Response> + Send + 'static,
{
    let started = now();
    let config = match Config::from_env() {
        Ok(config) => config,
        Err(error) => {
            logging::init(&LogConfig::default());
            error!("cannot start: {error}");
            return ExitCode::FAILURE;
        }
    };
    logging::init(&config.log);
    log_panics();
    if !config.lambda.runtime_api {
        error!(
            "cannot start: this is an AWS Lambda function and AWS_LAMBDA_RUNTIME_API is not set; try `make run`"
        );
        return ExitCode::FAILURE;
    }
    match run(started, &config, build, handle) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            error!("the Lambda runtime ended: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run<S, F>(
    started: SystemTime,
    config: &Config,
    build: impl FnOnce(&Config) -> S,
    handle: fn(Arc<S>, Invocation) -> F,
) -> Result<(), lambda_http::Error>
where
    S: Send + Sync + 'static,
    F: Future<Output = Response> + Send + 'static,
{
    // A function with one invocation at a time has one core or less; threads would only cost memory and start-up.
    let mut runtime = match config.lambda.concurrency {
        0 | 1 => tokio::runtime::Builder::new_current_thread(),
        _ => tokio::runtime::Builder::new_multi_thread(),
    };
    runtime.enable_all().build()?.block_on(async {
        let state = Arc::new(build(config));
        let service = service_fn(move |event: lambda_http::Request| {
            let state = Arc::clone(&state);
            async move {
                Ok::<_, lambda_http::Error>(
                    answer(started, event, |invocation| handle(state, invocation)).await,
                )
            }
        });
        lambda_http::runtime_concurrent(service)
            .run_concurrent()
            .await
    })
}

async fn answer<F: Future<Output = Response>>(
    process_started: SystemTime,
    event: lambda_http::Request,
    handle: impl FnOnce(Invocation) -> F,
) -> http::Response<Body> {
    let began = Instant::now();
    let lambda_id = event
        .lambda_context_ref()
        .map(|context| context.request_id.clone())
        .unwrap_or_default();
    let request_id = api_request_id(&event).unwrap_or_else(|| lambda_id.clone());
    let (method, path) = (event.method().clone(), event.uri().path().to_owned());
    let span = info_span!(
        "invocation",
        requestId = lambda_id,
        http.request_id = request_id
    );
    let handled = async {
        let deadline = event
            .lambda_context_ref()
            .map_or(Deadline::UNKNOWN, |context| {
                Deadline::of_invocation(context.deadline, process_started).reserving(ANSWER_RESERVE)
            });
        // The call is inside, so that a panic before the handler's first await is caught too.
        let handled = AssertUnwindSafe(async {
            handle(Invocation {
                caller: caller(&event),
                request: request(event),
                deadline,
            })
            .await
        });
        let response = handled
            .catch_unwind()
            .await
            .unwrap_or_else(|_| web::INTERNAL.into());
        let duration_ms = began.elapsed().as_secs_f64() * 1e3;
        info!(http.method = %method, http.path = path, http.status = response.status().as_u16(), duration_ms, "answered");
        response
    };
    reply(web::finish(
        handled.instrument(span).await,
        &method,
        &request_id,
    ))
}

/// The id that API Gateway gave the request, which its own logs carry too.
fn api_request_id(event: &lambda_http::Request) -> Option<String> {
    match event.request_context_ref()? {
        RequestContext::ApiGatewayV2(context) => context.request_id.clone(),
        _ => None,
    }
}

fn caller(event: &lambda_http::Request) -> Caller {
    let Some(RequestContext::ApiGatewayV2(context)) = event.request_context_ref() else {
        return Caller::default();
    };
    let Some(authorizer) = &context.authorizer else {
        return Caller::default();
    };
    let claims = authorizer.jwt.as_ref().map(|jwt| &jwt.claims);
    Caller {
        jwt_subject: claims.and_then(|claims| claims.get("sub").cloned()),
        authorizer_tenant: authorizer
            .fields
            .get("tenant")
            .and_then(|tenant| tenant.as_str().map(str::to_owned)),
    }
}

fn request(event: lambda_http::Request) -> Request {
    let (parts, body) = event.into_parts();
    let mut request = Request::new(match body {
        Body::Text(text) => Bytes::from(text),
        Body::Binary(bytes) => Bytes::from(bytes),
        _ => Bytes::new(),
    });
    *request.method_mut() = parts.method;
    *request.uri_mut() = parts.uri;
    *request.headers_mut() = parts.headers;
    request
}

fn reply(response: Response) -> http::Response<Body> {
    response.map(|body| match String::from_utf8(body.into()) {
        Ok(text) if text.is_empty() => Body::Empty,
        Ok(text) => Body::Text(text),
        Err(binary) => Body::Binary(binary.into_bytes()),
    })
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
