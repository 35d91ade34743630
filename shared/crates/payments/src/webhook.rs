//! The provider's own word, which comes late, twice, or in another order than things happened.
//!
//! So an event is a hint and no more: it says which payment to look at, and what its intent says *now* is what is written. An
//! event that is delivered twice is answered from its first delivery. An event of a charge that contradicts the ledger
//! ([`Anomaly`]) is refused with a 503, as is one that could not be followed, and Stripe sends it again for up to three days
//! (<https://docs.stripe.com/webhooks>). An intent of another amount than its payment's, or one that the provider does not have,
//! is reported once and the event received: the same event again would find the same, and the schedule looks at the payment
//! anyway. An intent of the other mode is a wrong setting here, so the event comes again until it is repaired.
//!
//! Others may use the same account. What they send is received, and nothing more: an event without `metadata.payment_id`, and
//! one whose `metadata.environment` is not ours.
//!
//! Nothing of a body is read before its signature has been checked.

mod event;
mod signature;
mod signers;

use foundation::{Deadline, Environment};
use http::{HeaderValue, StatusCode, header::CONTENT_TYPE};
use http_api::{self, Invocation, Response};
use idempotency::web::{self as idempotent, Begun, unavailable};
use idempotency::{
    Fingerprint, Idempotency, IdempotencyKey, Operation, Policy, RecordKey, Request, SavedResponse,
    Scope,
};
use tracing::{error, info, warn};

use self::event::Event;
use self::signers::{Signed, Signers};
use super::anomaly::Anomaly;
use super::found::Found;
use super::settling::Settling;
use super::{Moment, Payment, Setup, State, payment, problem};

/// Receives the provider's events.
pub struct Webhook {
    idempotency: Idempotency,
    environment: Environment,
    /// `None`: there is nothing to settle with.
    settling: Option<Settling>,
    /// `None`: nobody can have signed anything.
    signers: Option<Signers>,
}

const LONGEST_BODY: usize = 256 * 1024;
const ROUTE: &str = "/api/payments/webhook";
/// Whose keys the events' ids are.
const SENDER: &str = "stripe";
/// What the provider is told of an event that needs nothing more.
const RECEIVED: &str = r#"{"received":true}"#;

/// Whether an event needs to come again.
enum Followed {
    /// The ledger says what the provider says.
    Done,
    /// It is not known yet whether it does.
    NotYet,
}

impl Webhook {
    /// Receives events over `idempotency`, which signs with [`Setup::response_keys`]. Nothing is connected, and nothing here fails.
    pub fn new(setup: &Setup, idempotency: Idempotency) -> Self {
        let secrets = setup.config.webhook_secrets.as_ref();
        let signers =
            secrets.map(|secrets| Signers::new(setup.secrets.cell(secrets), &setup.environment));
        if signers.is_none() {
            error!("events are refused: set STRIPE_WEBHOOK_SECRETS");
        }
        Self {
            idempotency,
            environment: setup.environment.clone(),
            settling: Settling::new(setup),
            signers,
        }
    }

    /// Answers a `POST` of an event.
    ///
    /// # Cancel safety
    ///
    /// A dropped call leaves the payment wherever it was; the event comes again.
    pub async fn receive(&self, invocation: &Invocation) -> Response {
        let request = &invocation.request;
        if let Err(refusal) = http_api::require_post(request.method()) {
            return refusal.into();
        }
        if request.body().len() > LONGEST_BODY {
            return problem::EVENT_TOO_LARGE.into();
        }
        let (Some(settling), Some(signers)) = (&self.settling, &self.signers) else {
            return unavailable();
        };
        let now = Moment::now().as_unix_seconds();
        let signed = signers.judge(request.headers(), request.body(), now, invocation.deadline);
        match signed.await {
            Signed::Yes => {}
            Signed::No => {
                warn!("an event was refused: its signature is not valid");
                return problem::SIGNATURE_INVALID.into();
            }
            Signed::Undecided => return unavailable(),
        }
        let Some(event) = Event::parse(request.body()) else {
            return problem::EVENT_INVALID.into();
        };
        if !event.is_of_intent() {
            return received();
        }
        let Some(operation) = operation(&event) else {
            return problem::EVENT_INVALID.into();
        };
        let (headers, deadline) = (request.headers(), invocation.deadline);
        let claimed = idempotent::claim(&self.idempotency, &operation, headers, deadline).await;
        let answer = match claimed.begun {
            // What is stored under the event's id is damaged, or another program's. Following an event twice is harmless.
            Begun::Contested(refusal) if refusal.status() == StatusCode::CONFLICT => {
                match self.follow(settling, &event, deadline).await {
                    Followed::Done => received(),
                    Followed::NotYet => unavailable(),
                }
            }
            Begun::Refused(refusal) | Begun::Contested(refusal) => refusal,
            Begun::Replay(saved) => idempotent::replay(&saved),
            Begun::Started(lease) => match self.follow(settling, &event, deadline).await {
                Followed::Done => {
                    lease.complete(saved()).await;
                    received()
                }
                Followed::NotYet => {
                    lease.release().await;
                    unavailable()
                }
            },
        };
        claimed.manner.on(answer)
    }

    /// Looks at the payment that an event is about, if it is one of this environment. An event that contradicts the ledger comes
    /// again, until the contradiction is repaired or the provider gives up.
    async fn follow(&self, settling: &Settling, event: &Event, deadline: Deadline) -> Followed {
        let Some(id) = event.payment_id().filter(|id| payment::is_id(id)) else {
            info!(
                stripe.event = event.kind,
                "an event is about no payment of ours"
            );
            return Followed::Done;
        };
        if !self.is_from_here(event) {
            info!(
                stripe.event = event.kind,
                "an event is about a payment of another environment"
            );
            return Followed::Done;
        }
        let anomalies = &settling.anomalies;
        let intent = Some(event.intent());
        let payment = match settling.ledger.read(id, deadline).await {
            Ok(Some(payment)) => payment,
            Ok(None) if event.is_of_charge() => {
                anomalies.report(Anomaly::ChargedWithoutRow, id, intent);
                return Followed::NotYet;
            }
            Ok(None) => {
                info!(
                    stripe.event = event.kind,
                    "an event is about a payment that is not in the ledger"
                );
                return Followed::Done;
            }
            Err(error) => {
                warn!(payment.id = id, ledger.error = %error, "an event's payment could not be read");
                return Followed::NotYet;
            }
        };
        if let Some(anomaly) = anomaly(event, &payment) {
            anomalies.report(anomaly, id, intent);
            return Followed::NotYet;
        }
        if !is_about(event, &payment) {
            return Followed::Done;
        }
        let settled = settling.settle(payment, deadline).await;
        match settled.found {
            Found::Unreachable(_) => Followed::NotYet,
            _ if !settled.is_acknowledged => Followed::NotYet,
            Found::NoSuchIntent => {
                error!(
                    payment.id = id,
                    stripe.intent = intent,
                    "an event is about an intent that the provider does not have"
                );
                Followed::Done
            }
            // Also where that does not end the payment: the same event again would find the same.
            Found::Ended | Found::NoIntent | Found::Intent(_) | Found::OtherAmount => {
                Followed::Done
            }
        }
    }

    fn is_from_here(&self, event: &Event) -> bool {
        let environment = event.environment();
        environment.is_none_or(|name| name == self.environment.name())
    }
}

/// How an event contradicts the ledger. An intent is confirmed only once the payment's row names it, and a payment ends as not
/// charged only when its intent can no longer be.
fn anomaly(event: &Event, payment: &Payment) -> Option<Anomaly> {
    if !event.is_of_charge() {
        None
    } else if payment.intent.as_deref() != Some(event.intent()) {
        Some(Anomaly::ChargedIntentUnnamed)
    } else if matches!(payment.state, State::Declined | State::Failed) {
        Some(Anomaly::ChargedAfterFailed)
    } else {
        None
    }
}

/// Whether an event tells of the intent that the ledger names.
fn is_about(event: &Event, payment: &Payment) -> bool {
    if payment.intent.as_deref() != Some(event.intent()) {
        return false;
    }
    if payment.livemode != event.livemode {
        warn!(payment.id, "an event is of the other mode, live or test");
        return false;
    }
    true
}

/// The following of an event. A delivery differs from the one before it in what the event is not about, so the fingerprint is of
/// what it is.
fn operation(event: &Event) -> Option<Operation> {
    let key = IdempotencyKey::parse(event.id.as_bytes()).ok()?;
    let fingerprint = Fingerprint::of(&Request {
        method: "POST",
        route: ROUTE,
        tenant: SENDER,
        payload: event.identity().as_bytes(),
    });
    let scope = Scope::http("payments.webhook", SENDER).ok()?;
    let operation = Operation::new(RecordKey::new(&scope, &key), fingerprint.ok()?);
    Some(operation.with_policy(Policy::RerunAlways))
}

fn saved() -> SavedResponse {
    let mut saved = SavedResponse::new(StatusCode::OK, RECEIVED);
    let json = HeaderValue::from_static("application/json");
    saved.headers.push((CONTENT_TYPE, json));
    saved
}

fn received() -> Response {
    idempotent::answer(&saved())
}
