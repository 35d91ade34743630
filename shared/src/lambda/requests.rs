//! From an event of API Gateway to an [`Invocation`], and from a [`Response`] to what API Gateway expects.

use std::panic::AssertUnwindSafe;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use bytes::Bytes;
use futures_util::FutureExt;
use lambda_http::request::RequestContext;
use lambda_http::{Body, RequestExt, service_fn};
use tracing::{Instrument, info, info_span};

use super::start;
use crate::config::Config;
use crate::deadline::Deadline;
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

/// Runs a function that answers HTTP requests: `build` makes its state from the configuration, once; `handle` answers each
/// invocation with it. Returns only when the function cannot start or Lambda ends it.
pub fn serve<S, F>(
    build: impl FnOnce(&Config) -> S,
    handle: fn(Arc<S>, Invocation) -> F,
) -> ExitCode
where
    S: Send + Sync + 'static,
    F: Future<Output = Response> + Send + 'static,
{
    start(build, async |started, state| {
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
                super::deadline(context, process_started)
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
        return Caller::Unchecked;
    };
    let Some(authorizer) = &context.authorizer else {
        return Caller::Unchecked;
    };
    match &authorizer.jwt {
        Some(jwt) => Caller::Jwt(jwt.claims.get("sub").cloned()),
        None => {
            let tenant = authorizer.fields.get("tenant");
            Caller::Lambda(tenant.and_then(|tenant| tenant.as_str().map(str::to_owned)))
        }
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
