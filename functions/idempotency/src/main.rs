//! Idempotency for payment functions in Python, Node or Java, which invoke this function directly.

use std::process::ExitCode;
use std::sync::Arc;

use serde_json::value::RawValue;
use shared::App;
use shared::idempotency::invoke::Remote;
use shared::lambda::{self, Event};

fn main() -> ExitCode {
    lambda::serve_events(App::remote, handle)
}

async fn handle(remote: Arc<Remote>, event: Event) -> Box<RawValue> {
    remote
        .answer(event.payload.as_deref(), event.deadline)
        .await
}
