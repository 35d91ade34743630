//! A function whose handler panics on request. Tests check the answer, the log and the process.

use std::process::ExitCode;
use std::sync::Arc;

use shared::App;
use shared::lambda::{self, Invocation};
use shared::web::{self, Response};

fn main() -> ExitCode {
    lambda::serve(|_: &App| (), handle)
}

async fn handle(_: Arc<()>, invocation: Invocation) -> Response {
    let query = invocation.request.uri().query().unwrap_or_default();
    assert!(!query.contains("panic"), "the query was {query}");
    web::ok(&"well")
}
