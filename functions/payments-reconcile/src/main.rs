//! Reconciles payments that stayed open. A schedule invokes this function.

use std::process::ExitCode;
use std::sync::Arc;

use serde_json::value::RawValue;
use shared::App;
use shared::lambda::{self, Event};
use shared::payments::Reconciler;

fn main() -> ExitCode {
    lambda::serve_events(App::reconciler, handle)
}

async fn handle(reconciler: Arc<Reconciler>, event: Event) -> Box<RawValue> {
    reconciler.run(event.deadline).await.to_json()
}
