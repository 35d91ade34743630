//! This workspace's contestant: the work behind the idempotency engine, served like the functions of this workspace.
//!
//! `REDIS_URL` and `MONGODB_URI` select the stores. The policy is the engine's default, `AtMostOnce`: abandoned work is never run
//! again. (`payments-create` has a ledger, and so uses `RerunAlways`.)

use std::process::ExitCode;
use std::sync::Arc;

use http::StatusCode;
use http::header::CONTENT_TYPE;
use serde_json::json;
use shared::App;
use shared::idempotency::web::{self as idempotent, answer, answer_blocked, outcome_unknown};
use shared::idempotency::{
    Failure, Fingerprint, Idempotency, Operation, RecordKey, Request, RunOutcome, SavedResponse,
    Scope,
};
use shared::lambda::{self, Invocation};
use shared::web::{self, Response};

use self::contract::ContestantSettings;

#[path = "../contract.rs"]
mod contract;

const ROUTE: &str = "/bench";
const TENANT: &str = "bench";

struct State {
    /// `None` if the function runs without idempotency.
    idempotency: Option<Idempotency>,
    settings: ContestantSettings,
    scope: Scope,
}

fn main() -> ExitCode {
    lambda::serve(open, handle)
}

fn open(app: &App) -> State {
    let settings = ContestantSettings::read();
    State {
        idempotency: settings.is_idempotent.then(|| app.idempotency()),
        settings,
        scope: Scope::http("bench", TENANT).expect("two words are a scope"),
    }
}

async fn handle(state: Arc<State>, invocation: Invocation) -> Response {
    let request = &invocation.request;
    let key = match idempotent::key(request.headers()) {
        Ok(key) => key,
        Err(problem) => return problem.into(),
    };
    let work = async || {
        let answer = state.settings.work(key.as_str(), request.body()).await;
        answer.map(|answer| {
            let mut response = Response::new(answer.into());
            *response.status_mut() = StatusCode::CREATED;
            let json = http::HeaderValue::from_static("application/json");
            response.headers_mut().insert(CONTENT_TYPE, json);
            response
        })
    };
    let Some(idempotency) = &state.idempotency else {
        let answered = work().await;
        return answered.unwrap_or_else(|why| refused(StatusCode::BAD_GATEWAY, why));
    };
    let asked = Request {
        method: "POST",
        route: ROUTE,
        tenant: TENANT,
        payload: request.body(),
    };
    let Ok(fingerprint) = Fingerprint::of(&asked) else {
        return refused(StatusCode::BAD_REQUEST, "ambiguous");
    };
    let charge = Operation::new(RecordKey::new(&state.scope, &key), fingerprint);
    let ran = idempotency.run(&charge, invocation.deadline, async |_| {
        let answered = work().await;
        // It is unknown whether the charge took effect.
        answered
            .map(|response| SavedResponse::of(&response))
            .map_err(Failure::MayHaveHappened)
    });
    let Ok(ran) = ran.await else {
        return refused(StatusCode::SERVICE_UNAVAILABLE, "undecided");
    };
    match ran.value {
        RunOutcome::Fresh(saved) | RunOutcome::NotDurable(saved) => answer(&saved),
        RunOutcome::Blocked(blocked) => answer_blocked(&blocked),
        RunOutcome::NothingHappened(why) => refused(StatusCode::SERVICE_UNAVAILABLE, why),
        RunOutcome::MayHaveHappened(_) | RunOutcome::Overran => outcome_unknown(),
    }
}

fn refused(status: StatusCode, why: &str) -> Response {
    let mut response = web::ok(&json!({ "refused": why }));
    *response.status_mut() = status;
    response
}
