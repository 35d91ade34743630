//! Converts an event of API Gateway into an [`Invocation`], and a [`Response`] into the format of API Gateway.

use std::convert::Infallible;
use std::panic::{self, AssertUnwindSafe};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use futures_util::FutureExt;
use http::header::SET_COOKIE;
use http_api::{self as web, IntoResponse, Invocation, Response};
use lambda_http::aws_lambda_events::apigw::ApiGatewayV2httpResponse;
use lambda_http::lambda_runtime::{LambdaEvent, Runtime};
use lambda_http::{Body, service_fn};
use telemetry::logging;
use tracing::{Instrument, info, info_span};

use super::http_event::HttpEvent;
use super::payload::Payload;
use super::start;
use crate::App;

/// Runs a function for HTTP requests. `build` creates the state of the function from the [`App`], once. `handle`
/// handles each invocation with this state. Every event gets a response, even without a valid request. Returns only if
/// the function cannot start or if Lambda ends the process.
pub fn serve<S, F, R>(
    build: impl FnOnce(&App) -> S,
    handle: fn(Arc<S>, Invocation) -> F,
) -> ExitCode
where
    S: Send + Sync + 'static,
    F: Future<Output = R> + Send + 'static,
    R: IntoResponse,
{
    start(build, async |started, state| {
        let service = service_fn(move |event: LambdaEvent<Payload>| {
            let state = Arc::clone(&state);
            async move {
                Ok::<_, Infallible>(
                    answer(started, event, async |invocation| {
                        handle(state, invocation).await.into_response()
                    })
                    .await,
                )
            }
        });
        Runtime::new(service).run_concurrent().await
    })
}

async fn answer(
    process_started: SystemTime,
    event: LambdaEvent<Payload>,
    handle: impl AsyncFnOnce(Invocation) -> Response,
) -> ApiGatewayV2httpResponse {
    let began = Instant::now();
    let deadline = super::deadline(&event.context, process_started);
    let lambda_id = event.context.request_id;
    let event = panic::catch_unwind(|| HttpEvent::read(event.payload.0.as_deref()))
        .unwrap_or_else(|_| HttpEvent::panicked());
    let request_id = event.request_id.unwrap_or_else(|| lambda_id.clone());
    let method = event.method;
    let span = info_span!(
        "invocation",
        requestId = lambda_id,
        http.request_id = request_id
    );
    let handled = async {
        let (path, response) = match event.request {
            Ok(request) => {
                let path = request.uri().path().to_owned();
                let caller = event.caller;
                // The call of `handle` is inside the future, so that a panic before the handler's first await is also
                // caught.
                let handled = AssertUnwindSafe(async {
                    handle(Invocation {
                        request,
                        caller,
                        deadline,
                    })
                    .await
                });
                let response = handled.catch_unwind().await;
                (path, response.unwrap_or_else(|_| web::INTERNAL.into()))
            }
            Err(problem) => (String::new(), problem.into()),
        };
        let duration_ms = began.elapsed().as_secs_f64() * 1e3;
        info!(http.method = %method, http.path = path, http.status = response.status().as_u16(), duration_ms, "answered");
        logging::flush();
        response
    };
    let response = handled.instrument(span).await;
    reply(web::finish(response, &method, &request_id))
}

fn reply(response: Response) -> ApiGatewayV2httpResponse {
    let (mut parts, body) = response.into_parts();
    let cookies = parts.headers.get_all(SET_COOKIE).iter();
    let cookies = cookies.filter_map(|cookie| cookie.to_str().ok().map(str::to_owned));
    let mut reply = ApiGatewayV2httpResponse::default();
    reply.cookies = cookies.collect();
    parts.headers.remove(SET_COOKIE);
    reply.status_code = parts.status.as_u16().into();
    reply.headers = parts.headers;
    (reply.is_base64_encoded, reply.body) = match String::from_utf8(body.into()) {
        Ok(text) if text.is_empty() => (false, None),
        Ok(text) => (false, Some(Body::Text(text))),
        Err(binary) => (true, Some(Body::Binary(binary.into_bytes()))),
    };
    reply
}
