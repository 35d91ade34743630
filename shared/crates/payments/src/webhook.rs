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
mod secrets;
mod signature;

use std::time::Duration;

use foundation::{Deadline, Environment};
use idempotency::{
    Backend, Blocked, ClaimOutcome, Fingerprint, Idempotency, IdempotencyKey, Operation, Policy,
    RecordKey, Request, SavedResponse, Scope,
};
use tracing::{error, info, warn};

use self::event::Event;
use self::secrets::{SignatureCheck, WebhookSecrets};
use super::anomaly::Anomaly;
use super::finding::ProviderFinding;
use super::settling::Settling;
use super::{Payment, Setup, State, Timestamp, payment, rendering};

/// Receives the provider's events.
pub struct Webhook {
    idempotency: Idempotency,
    environment: Environment,
    /// `None`: there is nothing to settle with.
    settling: Option<Settling>,
    /// `None`: nobody can have signed anything.
    secrets: Option<WebhookSecrets>,
}

const ROUTE: &str = "/api/payments/webhook";
/// Whose keys the events' ids are.
const SENDER: &str = "stripe";

/// Whether an event needs to come again.
enum EventProcessing {
    /// The ledger says what the provider says.
    Recorded,
    /// It is not known yet whether it does.
    RetryLater,
}

/// What receiving an event came to, and how.
pub struct EventOutcome {
    /// What its sender is answered.
    pub received: EventAnswer,
    /// The store that answered alone, where not all that are configured could take part.
    pub degraded_to: Option<Backend>,
    /// Whether it waited for another delivery.
    pub has_waited: bool,
}

/// What the sender of an event is answered.
pub enum EventAnswer {
    /// It needs not come again.
    Processed {
        /// The answer to each delivery of it.
        answer: SavedResponse,
        /// Whether an earlier delivery was followed.
        is_replay: bool,
    },
    /// It has to come again.
    RetryLater,
    /// Another delivery is at work, for this long at most.
    InProgress(Duration),
    /// Its id belongs to another event.
    IdReused,
    /// No secret that is in force signed it, or not lately.
    InvalidSignature,
    /// It cannot be read.
    InvalidEvent,
}

impl EventAnswer {
    fn first() -> Self {
        Self::Processed {
            answer: rendering::received(),
            is_replay: false,
        }
    }
}

impl From<EventAnswer> for EventOutcome {
    /// An answer that needed no store of keys.
    fn from(received: EventAnswer) -> Self {
        Self {
            received,
            degraded_to: None,
            has_waited: false,
        }
    }
}

impl Webhook {
    /// Receives events over `idempotency`, which signs with [`Setup::response_keys`]. Nothing is connected, and nothing here fails.
    pub fn new(setup: &Setup, idempotency: Idempotency) -> Self {
        let secrets = setup.config.webhook_secrets.as_ref();
        let secrets = secrets
            .map(|secrets| WebhookSecrets::new(setup.secrets.cell(secrets), &setup.environment));
        match secrets {
            Some(_) => {}
            // Stripe sends none to a laptop.
            None if setup.environment.is_laptop() => {
                info!("events are refused: set STRIPE_WEBHOOK_SECRETS");
            }
            None => error!("events are refused: set STRIPE_WEBHOOK_SECRETS"),
        }
        Self {
            idempotency,
            environment: setup.environment.clone(),
            settling: Settling::new(setup),
            secrets,
        }
    }

    /// Receives an event: its body, and the header that signs it. Where another delivery of it is at work, waits at most for
    /// `patience`.
    ///
    /// # Cancel safety
    ///
    /// A dropped call leaves the payment wherever it was; the event comes again.
    pub async fn receive(
        &self,
        signature: Option<&str>,
        body: &[u8],
        patience: Option<Duration>,
        deadline: Deadline,
    ) -> EventOutcome {
        let (Some(settling), Some(secrets)) = (&self.settling, &self.secrets) else {
            return EventAnswer::RetryLater.into();
        };
        let now = Timestamp::now().as_unix_seconds();
        match secrets.verify(signature, body, now, deadline).await {
            SignatureCheck::Valid => {}
            SignatureCheck::Invalid => {
                warn!("an event was refused: its signature is not valid");
                return EventAnswer::InvalidSignature.into();
            }
            SignatureCheck::SecretsUnavailable => return EventAnswer::RetryLater.into(),
        }
        let Some(event) = Event::parse(body) else {
            return EventAnswer::InvalidEvent.into();
        };
        if !event.is_of_intent() {
            return EventAnswer::first().into();
        }
        let Some(operation) = operation(&event) else {
            return EventAnswer::InvalidEvent.into();
        };
        let claim = self
            .idempotency
            .claim_patiently(&operation, patience, deadline);
        let claim = claim.await;
        let received = match claim.outcome {
            Ok(ClaimOutcome::Claimed(lease)) => match self.follow(settling, &event, deadline).await
            {
                EventProcessing::Recorded => {
                    lease.complete(rendering::received()).await;
                    EventAnswer::first()
                }
                EventProcessing::RetryLater => {
                    lease.release().await;
                    EventAnswer::RetryLater
                }
            },
            Ok(ClaimOutcome::Blocked(Blocked::Replay(answer))) => EventAnswer::Processed {
                answer,
                is_replay: true,
            },
            // What is stored under the event's id is damaged, or another program's. Following an event twice is harmless.
            Ok(ClaimOutcome::Blocked(Blocked::Unknown(_))) => {
                match self.follow(settling, &event, deadline).await {
                    EventProcessing::Recorded => EventAnswer::first(),
                    EventProcessing::RetryLater => EventAnswer::RetryLater,
                }
            }
            Ok(ClaimOutcome::Blocked(Blocked::Mismatch)) => EventAnswer::IdReused,
            Ok(ClaimOutcome::Blocked(Blocked::InProgress { retry_after })) => {
                EventAnswer::InProgress(retry_after)
            }
            Err(error) => {
                warn!(
                    idempotency.error = %error,
                    "a request was turned away: nothing decides whether it may run"
                );
                EventAnswer::RetryLater
            }
        };
        EventOutcome {
            received,
            degraded_to: claim.degraded_to,
            has_waited: claim.has_waited,
        }
    }

    /// Looks at the payment that an event is about, if it is one of this environment. An event that contradicts the ledger comes
    /// again, until the contradiction is repaired or the provider gives up.
    async fn follow(
        &self,
        settling: &Settling,
        event: &Event,
        deadline: Deadline,
    ) -> EventProcessing {
        let Some(id) = event.payment_id().filter(|id| payment::is_id(id)) else {
            info!(
                stripe.event = event.kind,
                "an event is about no payment of ours"
            );
            return EventProcessing::Recorded;
        };
        if !self.is_from_here(event) {
            info!(
                stripe.event = event.kind,
                "an event is about a payment of another environment"
            );
            return EventProcessing::Recorded;
        }
        let anomalies = &settling.anomalies;
        let intent = Some(event.intent());
        let payment = match settling.ledger.read(id, deadline).await {
            Ok(Some(payment)) => payment,
            Ok(None) if event.is_of_charge() => {
                anomalies.report(Anomaly::ChargedWithoutRow, id, intent);
                return EventProcessing::RetryLater;
            }
            Ok(None) => {
                info!(
                    stripe.event = event.kind,
                    "an event is about a payment that is not in the ledger"
                );
                return EventProcessing::Recorded;
            }
            Err(error) => {
                warn!(payment.id = id, ledger.error = %error, "an event's payment could not be read");
                return EventProcessing::RetryLater;
            }
        };
        if let Some(anomaly) = anomaly(event, &payment) {
            anomalies.report(anomaly, id, intent);
            return EventProcessing::RetryLater;
        }
        if !is_about(event, &payment) {
            return EventProcessing::Recorded;
        }
        let settled = settling.settle(payment, deadline).await;
        match settled.found {
            ProviderFinding::Unreachable(_) => EventProcessing::RetryLater,
            _ if !settled.is_acknowledged => EventProcessing::RetryLater,
            ProviderFinding::NoSuchIntent => {
                error!(
                    payment.id = id,
                    stripe.intent = intent,
                    "an event is about an intent that the provider does not have"
                );
                EventProcessing::Recorded
            }
            // Also where that does not end the payment: the same event again would find the same.
            ProviderFinding::AlreadyEnded
            | ProviderFinding::NoIntent
            | ProviderFinding::Intent(_)
            | ProviderFinding::AmountMismatch => EventProcessing::Recorded,
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
