//! A function for the hunt that charges with one direct call. Only the engine prevents a second charge, because there is no
//! ledger, no intent, and no idempotency key for the provider.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use reqwest::Client;
use serde_json::{Value, json};
use shared::App;
use shared::idempotency::web::{self as idempotent, answer, answer_blocked, outcome_unknown};
use shared::idempotency::{
    ClaimOutcome, Deadline, Failure, Fingerprint, Idempotency, Lease, Operation, Policy, RecordKey,
    Request, RunOutcome, SavedResponse, Scope, StoreError, WriteResult,
};
use shared::lambda::{self, Invocation};
use shared::payments::ProviderConfig;
use shared::web::{self, Response};

struct Till {
    idempotency: Idempotency,
    client: Client,
    url: String,
    /// The time limit of a request to the provider.
    patience: Duration,
}

/// The period in which the policy `Rerun` allows another attempt. It is longer than any hunt.
const WINDOW: Duration = Duration::from_secs(3_600);

fn main() -> ExitCode {
    lambda::serve(open, handle)
}

fn open(app: &App) -> Till {
    let ProviderConfig::Stripe { api_base, .. } = &app.payments_config().provider else {
        panic!("the hunt names a provider");
    };
    // `reqwest` needs a default crypto provider, even for plain HTTP. If Redis is configured, the Redis client has already
    // installed it, and this call fails without effect.
    let _ = rustls::crypto::ring::default_provider().install_default();
    Till {
        idempotency: app.idempotency(),
        client: Client::new(),
        url: format!("{api_base}v1/charges"),
        patience: app.payments_config().provider_timeout,
    }
}

async fn handle(till: Arc<Till>, invocation: Invocation) -> Response {
    let request = &invocation.request;
    let header = |name: &str| {
        let value = request.headers().get(name);
        value
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
    };
    let key = match idempotent::key(request.headers()) {
        Ok(key) => key,
        Err(problem) => return problem.into(),
    };
    let asked = Request {
        payload: request.body(),
        ..Request::default()
    };
    let fingerprint = Fingerprint::of(&asked).expect("the hunt sends plain JSON");
    let charge = Operation::new(RecordKey::new(&Scope::none(), &key), fingerprint);
    let runs_again = header("x-policy") == "rerun";
    let work = || till.charge(request.body(), header("x-sent-ms"));
    let ran = if runs_again {
        let charge = charge.with_policy(Policy::rerun_within(WINDOW, till.patience));
        till.run_past_the_lease(&charge, invocation.deadline, work())
            .await
    } else {
        let ran = till
            .idempotency
            .run(&charge, invocation.deadline, async |_: &mut Lease| {
                work().await
            });
        ran.await.map(|ran| ran.value)
    };
    let refused = |status, why: &str| said(status, &json!({"refused": why}));
    let Ok(ran) = ran else {
        return refused(StatusCode::SERVICE_UNAVAILABLE, "undecided");
    };
    match ran {
        RunOutcome::Fresh(saved) => answer(&saved),
        // Another attempt may get a different result, so this result is not final.
        RunOutcome::NotDurable(_) if runs_again => refused(StatusCode::ACCEPTED, "not-durable"),
        RunOutcome::NotDurable(saved) => answer(&saved),
        RunOutcome::Blocked(blocked) => answer_blocked(&blocked),
        RunOutcome::NothingHappened(why) => refused(StatusCode::SERVICE_UNAVAILABLE, why),
        RunOutcome::MayHaveHappened(_) | RunOutcome::Overran => outcome_unknown(),
    }
}

impl Till {
    /// Does the same as [`Idempotency::run`], except that the work continues after the end of the lease. So after
    /// another process has taken over, a process that was frozen still tries to complete the key.
    async fn run_past_the_lease<E>(
        &self,
        charge: &Operation,
        deadline: Deadline,
        work: impl Future<Output = Result<SavedResponse, Failure<E>>>,
    ) -> Result<RunOutcome<E>, StoreError> {
        let lease = match self.idempotency.claim(charge, deadline).await?.value {
            ClaimOutcome::Claimed(lease) => lease,
            ClaimOutcome::Blocked(blocked) => return Ok(RunOutcome::Blocked(blocked)),
        };
        Ok(match work.await {
            Ok(response) => match lease.complete(response.clone()).await {
                WriteResult::Stored(stored) => RunOutcome::Fresh(stored),
                WriteResult::Superseded(Some(blocked)) => RunOutcome::Blocked(blocked),
                _ => RunOutcome::NotDurable(response),
            },
            Err(Failure::NothingHappened(why)) => {
                lease.release().await;
                RunOutcome::NothingHappened(why)
            }
            Err(Failure::MayHaveHappened(why)) => {
                lease.mark_unknown().await;
                RunOutcome::MayHaveHappened(why)
            }
        })
    }

    async fn charge(
        &self,
        order: &[u8],
        sent_ms: &str,
    ) -> Result<SavedResponse, Failure<&'static str>> {
        let order: Value = serde_json::from_slice(order).expect("the hunt sends JSON");
        let text = |pointer: &str| match order.pointer(pointer) {
            Some(Value::String(text)) => text.clone(),
            Some(other) => other.to_string(),
            None => String::new(),
        };
        let form = [
            ("amount", text("/amount")),
            ("payment_method", text("/payment_method")),
            ("metadata[order]", text("/metadata/order")),
            ("metadata[sent_ms]", sent_ms.to_owned()),
        ];
        let sent = self
            .client
            .post(self.url.clone())
            .form(&form)
            .timeout(self.patience)
            .send();
        let answered = match sent.await {
            Ok(answered) => answered,
            Err(error) if error.is_connect() => return Err(Failure::NothingHappened("unreached")),
            Err(_) => return Err(Failure::MayHaveHappened("unanswered")),
        };
        let status = answered.status();
        let Ok(body) = answered.bytes().await else {
            return Err(Failure::MayHaveHappened("broken off"));
        };
        match status {
            StatusCode::OK => Ok(SavedResponse::new(StatusCode::CREATED, body)),
            StatusCode::PAYMENT_REQUIRED => Ok(SavedResponse::new(status, body)),
            StatusCode::TOO_MANY_REQUESTS => Err(Failure::NothingHappened("too many")),
            _ => Err(Failure::MayHaveHappened("failed")),
        }
    }
}

fn said(status: StatusCode, body: &Value) -> Response {
    let mut response = web::ok(body);
    *response.status_mut() = status;
    response
}
