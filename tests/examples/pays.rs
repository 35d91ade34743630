//! A function that pays: it writes a line to a file, at most once for each key. There is a pause before and after the
//! write, so that tests can freeze or kill the process.

use std::fs::File;
use std::io::Write;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use shared::App;
use shared::idempotency::{
    Blocked, Failure, Fingerprint, Idempotency, IdempotencyKey, Lease, Operation, RecordKey,
    Request, RunOutcome, SavedResponse, Scope,
};
use shared::lambda::{self, Invocation};
use shared::web::{self, Response};

fn main() -> ExitCode {
    lambda::serve(App::idempotency, handle)
}

async fn handle(idempotency: Arc<Idempotency>, invocation: Invocation) -> Response {
    let header = |name: &str| {
        let value = invocation.request.headers().get(name);
        value
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
    };
    let pause = async |name: &str| {
        let milliseconds = header(name).parse().unwrap_or(0);
        tokio::time::sleep(Duration::from_millis(milliseconds)).await;
    };
    let work = async |_: &mut Lease| {
        pause("x-before-ms").await;
        let mut ledger = File::options()
            .append(true)
            .open(header("x-ledger"))
            .map_err(Failure::NothingHappened)?;
        ledger
            .write_all(b"charged\n")
            .map_err(Failure::MayHaveHappened)?;
        pause("x-after-ms").await;
        Ok(SavedResponse::new(StatusCode::CREATED, "charged"))
    };
    let key = IdempotencyKey::parse(header("idempotency-key")).expect("the test sends a key");
    let request = Request {
        payload: invocation.request.body(),
        ..Request::default()
    };
    let fingerprint = Fingerprint::of(&request).expect("the test sends plain JSON");
    let payment = Operation::new(RecordKey::new(&Scope::none(), &key), fingerprint);
    let outcome = match idempotency.run(&payment, invocation.deadline, work).await {
        Err(_) => "undecided",
        Ok(ran) => match ran.value {
            RunOutcome::Fresh(_) => "charged",
            RunOutcome::Blocked(Blocked::Replay(_)) => "charged before",
            RunOutcome::NotDurable(_) => "charged, not durable",
            RunOutcome::Blocked(Blocked::InProgress { .. }) => "in progress",
            RunOutcome::Blocked(Blocked::Mismatch) => "mismatch",
            RunOutcome::NothingHappened(_) => "nothing happened",
            RunOutcome::Blocked(Blocked::Unknown(_))
            | RunOutcome::MayHaveHappened(_)
            | RunOutcome::Overran => "unknown",
        },
    };
    web::ok(&outcome)
}
