//! The smallest function. It answers, waits, logs, fails or crashes on request. The tests of the harness use this function.
//! So they test the simulated Runtime API without the real functions.

use std::io::Write;
use std::time::Duration;

use lambda_http::{Error, Request, RequestExt, Response, run_concurrent, service_fn};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    run_concurrent(service_fn(hello)).await
}

async fn hello(request: Request) -> Result<Response<String>, Error> {
    let query = request.query_string_parameters();
    match request.uri().path() {
        "/sleep" => {
            let milliseconds = query
                .first("ms")
                .and_then(|ms| ms.parse().ok())
                .unwrap_or(0);
            tokio::time::sleep(Duration::from_millis(milliseconds)).await;
        }
        "/log" => writeln!(
            std::io::stderr(),
            "{}",
            query.first("text").unwrap_or_default()
        )?,
        "/time" => writeln!(std::io::stderr(), "{}", jiff::Timestamp::now())?,
        "/abort" => std::process::abort(),
        "/fail" => return Err("failed as asked".into()),
        _ => {}
    }
    let id = request.request_context();
    let id = match &id {
        lambda_http::request::RequestContext::ApiGatewayV2(context) => {
            context.request_id.as_deref()
        }
        _ => None,
    };
    let response = Response::builder()
        .header("content-type", "application/json")
        .header("cache-control", "no-store")
        .header("x-request-id", id.unwrap_or_default())
        .body(r#"{"greeting":"hello"}"#.to_owned())?;
    Ok(response)
}
