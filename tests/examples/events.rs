//! A function that is invoked directly, whose handler panics on request.

use std::process::ExitCode;
use std::sync::Arc;

use serde_json::value::RawValue;
use shared::App;
use shared::lambda::{self, Event};

fn main() -> ExitCode {
    lambda::serve_events(|_: &App| (), handle)
}

async fn handle(_: Arc<()>, event: Event) -> Box<RawValue> {
    let payload = event.payload.expect("JSON");
    assert!(!payload.get().contains("panic"), "the event was {payload}");
    payload
}
