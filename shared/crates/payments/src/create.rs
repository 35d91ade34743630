//! A request for a payment: what is checked before anything is done, and what is answered.

use std::time::Duration;

use foundation::Deadline;
use http::HeaderMap;
use http::header::RETRY_AFTER;
use http_api::{self, Invocation, Response, Tenant};
use idempotency::web::{self as idempotent, Begun, outcome_unknown, unavailable};
use idempotency::{
    DerivedKey, Fingerprint, Lease, Noted, Operation, Policy, RecordKey, Request, SavedResponse,
    Scope,
};

use super::anomaly::Anomalies;
use super::fault::Fault;
use super::ledger::{Ledger, LedgerError};
use super::order::Parsed;
use super::provider::Provider;
use super::settling::is_due;
use super::steps::{self, Others, PaymentBackends, Purpose, Reached};
use super::{Moment, Order, Payment, Payments, State, problem};

const LONGEST_BODY: usize = 64 * 1024;
const ROUTE: &str = "/api/payments";
/// An invocation with less time left begins no payment.
const LEAST_TIME: Duration = Duration::from_secs(2);
/// When it makes sense to ask again for a payment that is on its way.
const ASK_AGAIN: Duration = Duration::from_secs(2);

/// A request that has passed every check that needs no store.
struct Asked {
    order: Order,
    /// Why it is refused, unless an older version took it under the same key.
    refused: Vec<Fault>,
    tenant: Tenant,
    operation: Operation,
}

impl Payments {
    /// Answers a `POST` of a payment.
    ///
    /// # Cancel safety
    ///
    /// A dropped call leaves the payment wherever it was; a repetition goes on from there.
    pub async fn create(&self, invocation: &Invocation) -> Response {
        if let Err(refusal) = http_api::require_post(invocation.request.method()) {
            return refusal.into();
        }
        let asked = match self.check(invocation) {
            Ok(asked) => asked,
            Err(refusal) => return *refusal,
        };
        let (Some(ledger), Some(provider)) = (self.ledger.as_deref(), self.provider.as_deref())
        else {
            return unavailable();
        };
        let till = Till {
            ledger,
            provider,
            anomalies: &self.anomalies,
            deadline: invocation.deadline,
            cancel_after: self.cancel_after,
        };
        if !asked.refused.is_empty() {
            let key = self.idempotency.derived_key(&asked.operation.key);
            if let Err(refusal) = till.check_taken(&key, &asked.refused).await {
                return refusal;
            }
        }
        let headers = invocation.request.headers();
        let claimed = idempotent::claim(
            &self.idempotency,
            &asked.operation,
            headers,
            invocation.deadline,
        )
        .await;
        let answer = match claimed.begun {
            Begun::Refused(refusal) => refusal,
            Begun::Contested(refusal) => {
                let key = self.idempotency.derived_key(&asked.operation.key);
                let fingerprint = &asked.operation.fingerprint;
                till.answer_contested(&key, fingerprint, refusal).await
            }
            Begun::Started(lease) => till.work(lease, asked).await,
            Begun::Replay(saved) if !is_answer(&saved) => {
                let key = self.idempotency.derived_key(&asked.operation.key);
                till.look_again(&key).await
            }
            Begun::Replay(saved) => idempotent::replay(&saved),
        };
        claimed.manner.on(answer)
    }

    /// Everything that can be wrong with a request, in the order in which clients hear of it.
    fn check(&self, invocation: &Invocation) -> Result<Asked, Box<Response>> {
        let request = &invocation.request;
        let tenant = Tenant::of(&invocation.caller, &self.environment).map_err(boxed)?;
        let key = idempotent::key(request.headers()).map_err(boxed)?;
        check_body(request.headers(), request.body().len()).map_err(boxed)?;
        let Parsed { order, refused } = Order::parse(request.body(), &self.environment)
            .map_err(|faults| Box::new(problem::validation_failed(&faults)))?;
        let fingerprint = Fingerprint::of(&Request {
            method: "POST",
            route: ROUTE,
            tenant: tenant.as_str(),
            payload: request.body(),
        })
        .map_err(|_| {
            let fault = Fault::of("", "JSON that names each member once");
            Box::new(problem::validation_failed(&[fault]))
        })?;
        // A tenant's name always fits; if it ever did not, nobody could say whose the payment is.
        let scope = Scope::http("payments.create", tenant.as_str())
            .map_err(|_| boxed(http_api::Unauthenticated))?;
        let operation = Operation::new(RecordKey::new(&scope, &key), fingerprint)
            .with_policy(Policy::RerunAlways)
            .needing(LEAST_TIME);
        Ok(Asked {
            order,
            refused,
            tenant,
            operation,
        })
    }
}

/// Where payments are made, in one invocation.
struct Till<'a> {
    ledger: &'a dyn Ledger,
    provider: &'a dyn Provider,
    anomalies: &'a Anomalies,
    deadline: Deadline,
    /// A payment of this age is cancelled instead of confirmed.
    cancel_after: Duration,
}

impl Till<'_> {
    /// Lets an order pass that is refused now and was taken by an older version under this key; its payment answers it.
    ///
    /// # Errors
    ///
    /// The refusal, where there is no such payment.
    async fn check_taken(&self, key: &DerivedKey, faults: &[Fault]) -> Result<(), Response> {
        match self.read(key).await? {
            Some(_) => Ok(()),
            None => Err(problem::validation_failed(faults)),
        }
    }

    async fn work(&self, lease: Lease, asked: Asked) -> Response {
        let key = lease.derived_key();
        let fingerprint = asked.operation.fingerprint;
        let payment = Payment::new(
            &key,
            asked.tenant.as_str(),
            &fingerprint,
            asked.order,
            self.provider.name(),
            Moment::now(),
        );
        let opened = match self.ledger.open(&payment, self.deadline).await {
            Ok(opened) => opened,
            Err(error) => {
                tracing::warn!(payment.id, ledger.error = %error, "a payment could not be opened");
                match error {
                    LedgerError::Unavailable(_) => lease.release().await,
                    // An attempt before this one may have charged.
                    LedgerError::Unreadable { .. } => lease.mark_unknown().await,
                };
                return refusal(&error);
            }
        };
        if opened.fingerprint != fingerprint.to_string() {
            // Another request opened it under this key, and may still be charged.
            lease.release().await;
            return idempotent::key_reused();
        }
        let was_open = opened.state.is_open();
        // The store of keys may have forgotten the attempt that opened the row; that one may still run.
        let is_forgotten = lease.is_first() && opened != payment;
        let others = if lease.took_over() || is_forgotten {
            Others::Perhaps
        } else {
            Others::None
        };
        match self.advance(opened, &key, others).await {
            Reached::End(ended) => {
                if let Some(answer) = ended.final_answer() {
                    // The ledger has the bytes; the engine only makes the next answer quicker.
                    lease.complete(answer).await;
                }
                final_answer(&ended, was_open)
            }
            Reached::OnItsWay(payment, more) => {
                match payment.state {
                    State::RequiresAction | State::Processing => {
                        lease.complete(payment.reference()).await;
                    }
                    _ => {
                        lease.mark_unknown().await;
                    }
                }
                on_its_way(&payment, &more)
            }
            Reached::Nothing(payment) => match lease.release().await {
                Noted::Done => unavailable(),
                // Somebody has taken over meanwhile, or may have, and charges.
                _ => on_its_way(&steps::unknown(payment), &serde_json::Map::new()),
            },
        }
    }

    /// Answers where the engine has another request under the key, or an unknown outcome. Both can be untrue: an attempt with another
    /// body, after the key's retention, leaves its fingerprint, and another program can leave a result. The ledger decides: it has this
    /// request's payment, or another request's, or none.
    async fn answer_contested(
        &self,
        key: &DerivedKey,
        fingerprint: &Fingerprint,
        refusal: Response,
    ) -> Response {
        match self.read(key).await {
            Ok(Some(payment)) if payment.fingerprint == fingerprint.to_string() => {
                self.look_again(key).await
            }
            Ok(Some(_)) => idempotent::key_reused(),
            Ok(None) => refusal,
            Err(unavailable) => unavailable,
        }
    }

    /// Answers for a payment that was on its way when its request was answered last.
    async fn look_again(&self, key: &DerivedKey) -> Response {
        let payment = match self.read(key).await {
            Ok(Some(payment)) => payment,
            Ok(None) => {
                let id = super::payment::id_of(key);
                tracing::error!(payment.id = id, "a payment is not in the ledger");
                // It was taken once, and may have been charged.
                return outcome_unknown();
            }
            Err(refusal) => return refusal,
        };
        let was_open = payment.state.is_open();
        match self.advance(payment, key, Others::Perhaps).await {
            Reached::End(ended) => final_answer(&ended, was_open),
            Reached::OnItsWay(payment, more) => on_its_way(&payment, &more),
            Reached::Nothing(payment) => {
                on_its_way(&steps::unknown(payment), &serde_json::Map::new())
            }
        }
    }

    /// The payment of a key, if there is one.
    async fn read(&self, key: &DerivedKey) -> Result<Option<Payment>, Response> {
        let id = super::payment::id_of(key);
        self.ledger.read(&id, self.deadline).await.map_err(|error| {
            tracing::warn!(payment.id = id, ledger.error = %error, "a payment could not be read");
            refusal(&error)
        })
    }

    async fn advance(&self, payment: Payment, key: &DerivedKey, others: Others) -> Reached {
        let purpose = if is_due(payment.created_at, self.cancel_after, Moment::now()) {
            Purpose::Close
        } else {
            Purpose::Pay
        };
        let backends = PaymentBackends {
            ledger: self.ledger,
            provider: self.provider,
            anomalies: self.anomalies,
        };
        steps::advance(backends, payment, key, purpose, others, self.deadline).await
    }
}

/// The answer where the ledger gives no payment.
fn refusal(error: &LedgerError) -> Response {
    match error {
        LedgerError::Unavailable(_) => unavailable(),
        LedgerError::Unreadable { .. } => outcome_unknown(),
    }
}

fn check_body(headers: &HeaderMap, length: usize) -> Result<(), http_api::Problem> {
    if length > LONGEST_BODY {
        Err(problem::BODY_TOO_LARGE)
    } else if !http_api::is_json(headers) {
        Err(problem::UNSUPPORTED_TYPE)
    } else {
        Ok(())
    }
}

fn boxed(refusal: impl Into<Response>) -> Box<Response> {
    Box::new(refusal.into())
}

/// The answer of a payment that has ended. It is a replay only where it had ended before this request looked.
fn final_answer(ended: &Payment, was_open: bool) -> Response {
    match ended.final_answer() {
        Some(answer) if was_open => idempotent::answer(&answer),
        Some(answer) => idempotent::replay(&answer),
        // Another program has written the row: it was taken, and may have been charged.
        None => outcome_unknown(),
    }
}

/// Whether a result is the answer itself: not where to look for it, and not a summary of what was too long for the engine.
fn is_answer(saved: &SavedResponse) -> bool {
    !Payment::is_reference(saved) && saved.whole_body().is_some()
}

fn on_its_way(payment: &Payment, more: &serde_json::Map<String, serde_json::Value>) -> Response {
    let mut response = payment.accepted(more);
    if payment.state != State::RequiresAction {
        let headers = response.headers_mut();
        headers.insert(RETRY_AFTER, http_api::retry_after(ASK_AGAIN));
    }
    response
}
