//! Receives the provider's events. For each event, reconciles the payment whose id is in the event.
//!
//! Events arrive late, twice, or out of order. So an event only causes a look at the payment: the intent's *current* status goes into the
//! ledger. A repeated delivery gets the response of the first delivery.
//!
//! The provider sends an event again after a 503, for up to three days (<https://docs.stripe.com/webhooks>). The endpoint answers an event
//! with 503 if
//!
//! - the payment could not be reconciled,
//! - a charge contradicts the ledger ([`Anomaly`]), until an operator has resolved the contradiction,
//! - the mode of the intent (live or test) is not the configured mode, until the configuration is repaired.
//!
//! In two cases, the endpoint reports a problem and accepts the event: the amount of the intent differs from the payment, or the provider
//! does not have the intent. Processing the event again would change nothing, and the reconciler looks at the payment anyway.
//!
//! Other systems and environments may use the same Stripe account. Their events have no `metadata.payment_id`, or have another
//! `metadata.environment`. Such events are accepted and ignored.
//!
//! The signature is checked before the body is parsed.

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
use super::service::PaymentService;
use super::{Payment, Setup, State, Timestamp, payment, rendering};

/// Receives the provider's events.
pub struct Webhook {
    idempotency: Idempotency,
    environment: Environment,
    /// The service that reconciles. `None`: no ledger or no provider is configured, and the answer to each event is `RetryLater`.
    service: Option<PaymentService>,
    /// The secrets that check signatures. `None`: no secrets are configured, and the answer to each event is `RetryLater`.
    secrets: Option<WebhookSecrets>,
}

/// The answer to an event, and how the answer was found.
pub struct EventOutcome {
    /// The answer to the provider.
    pub answer: EventAnswer,
    /// The only store that took part; `None`: the engine was not degraded.
    pub degraded_to: Option<Backend>,
    /// Whether the request waited for another delivery of the same event.
    pub has_waited: bool,
}

/// The answer to an event.
pub enum EventAnswer {
    /// The event was processed, or needs no processing.
    Processed {
        /// The response to each delivery of this event.
        response: SavedResponse,
        /// Whether an earlier delivery of this event was processed.
        is_replay: bool,
    },
    /// The provider has to send the event again.
    RetryLater,
    /// Another delivery of this event is being processed. The lease of that delivery ends after this time.
    InProgress(Duration),
    /// Another event had the same id.
    IdReused,
    /// The signature is wrong, missing or too old.
    InvalidSignature,
    /// The body of the request is not an event.
    InvalidEvent,
}

/// The result of processing an event.
enum Processing {
    /// The ledger has the status that the provider reported, or the event needs no processing.
    Recorded,
    /// The provider has to send the event again.
    RetryLater,
}

const ROUTE: &str = "/api/payments/webhook";
/// The name of the provider that sends events. It is part of the scope of event ids, and of the fingerprint of an event.
const SENDER: &str = "stripe";

impl EventAnswer {
    fn first_delivery() -> Self {
        Self::Processed {
            response: rendering::event_received(),
            is_replay: false,
        }
    }
}

impl From<EventAnswer> for EventOutcome {
    /// The outcome if the answer was found without the idempotency store.
    fn from(answer: EventAnswer) -> Self {
        Self {
            answer,
            degraded_to: None,
            has_waited: false,
        }
    }
}

impl Webhook {
    /// A webhook with the engine `idempotency`. That engine has to sign its saved responses with [`Setup::response_keys`]. This call opens
    /// no connection.
    pub fn new(setup: &Setup, idempotency: Idempotency) -> Self {
        let source = setup.config.webhook_secrets.as_ref();
        let secrets = source
            .map(|source| WebhookSecrets::new(setup.secrets.cell(source), &setup.environment));
        match secrets {
            Some(_) => {}
            // Stripe sends no events to a developer's machine, so missing secrets are not an error there.
            None if setup.environment.is_laptop() => {
                info!(
                    "events are refused: no webhook secret is configured; set STRIPE_WEBHOOK_SECRETS"
                );
            }
            None => error!(
                "events are refused: no webhook secret is configured; set STRIPE_WEBHOOK_SECRETS"
            ),
        }
        Self {
            idempotency,
            environment: setup.environment.clone(),
            service: PaymentService::new(setup).ok(),
            secrets,
        }
    }

    /// Receives an event: its body and its signature header. If another delivery of the event is being processed, waits for at most
    /// `patience`.
    ///
    /// # Cancel safety
    ///
    /// A dropped call leaves the payment open; the provider sends the event again.
    pub async fn receive(
        &self,
        signature: Option<&str>,
        body: &[u8],
        patience: Option<Duration>,
        deadline: Deadline,
    ) -> EventOutcome {
        let (Some(service), Some(secrets)) = (&self.service, &self.secrets) else {
            return EventAnswer::RetryLater.into();
        };
        let now = Timestamp::now().as_unix_seconds();
        match secrets.verify(signature, body, now, deadline).await {
            SignatureCheck::Valid => {}
            SignatureCheck::Invalid => {
                warn!(
                    "an event was refused: its signature is invalid; if all events are refused, check STRIPE_WEBHOOK_SECRETS and the clock"
                );
                return EventAnswer::InvalidSignature.into();
            }
            SignatureCheck::SecretsUnavailable => return EventAnswer::RetryLater.into(),
        }
        let Some(event) = Event::parse(body) else {
            return EventAnswer::InvalidEvent.into();
        };
        if !event.is_of_intent() {
            return EventAnswer::first_delivery().into();
        }
        let Some(operation) = operation(&event) else {
            return EventAnswer::InvalidEvent.into();
        };
        let claim = self
            .idempotency
            .claim_patiently(&operation, patience, deadline);
        let claim = claim.await;
        let answer = match claim.outcome {
            Ok(ClaimOutcome::Claimed(lease)) => match self.process(service, &event, deadline).await
            {
                Processing::Recorded => {
                    lease.complete(rendering::event_received()).await;
                    EventAnswer::first_delivery()
                }
                Processing::RetryLater => {
                    lease.release().await;
                    EventAnswer::RetryLater
                }
            },
            Ok(ClaimOutcome::Blocked(Blocked::Replay(response))) => EventAnswer::Processed {
                response,
                is_replay: true,
            },
            // The record of this event's id is damaged or was written by another program. Processing an event twice is harmless.
            Ok(ClaimOutcome::Blocked(Blocked::Unknown(_))) => {
                match self.process(service, &event, deadline).await {
                    Processing::Recorded => EventAnswer::first_delivery(),
                    Processing::RetryLater => EventAnswer::RetryLater,
                }
            }
            Ok(ClaimOutcome::Blocked(Blocked::Mismatch)) => EventAnswer::IdReused,
            Ok(ClaimOutcome::Blocked(Blocked::InProgress { retry_after })) => {
                EventAnswer::InProgress(retry_after)
            }
            Err(error) => {
                warn!(
                    idempotency.error = %error,
                    "an event was refused: the idempotency store is unavailable; the provider sends it again"
                );
                EventAnswer::RetryLater
            }
        };
        EventOutcome {
            answer,
            degraded_to: claim.degraded_to,
            has_waited: claim.has_waited,
        }
    }

    /// Reconciles the payment that the event names, if the payment belongs to this environment.
    async fn process(
        &self,
        service: &PaymentService,
        event: &Event,
        deadline: Deadline,
    ) -> Processing {
        let Some(id) = event.payment_id().filter(|id| payment::is_id(id)) else {
            info!(
                stripe.event = event.kind,
                "an event was ignored: its intent has no payment id of ours"
            );
            return Processing::Recorded;
        };
        if !self.is_of_this_environment(event) {
            info!(
                stripe.event = event.kind,
                "an event was ignored: its payment belongs to another environment"
            );
            return Processing::Recorded;
        }
        let anomalies = &service.anomalies;
        let intent = Some(event.intent());
        let payment = match service.ledger.read(id, deadline).await {
            Ok(Some(payment)) => payment,
            Ok(None) if event.is_of_charge() => {
                anomalies.report(Anomaly::ChargedWithoutRow, id, intent);
                return Processing::RetryLater;
            }
            Ok(None) => {
                info!(
                    stripe.event = event.kind,
                    "an event was ignored: its payment is not in the ledger, and nothing was charged"
                );
                return Processing::Recorded;
            }
            Err(error) => {
                warn!(payment.id = id, ledger.error = %error, "an event was not processed: its payment was not read; the provider sends it again");
                return Processing::RetryLater;
            }
        };
        if let Some(anomaly) = anomaly(event, &payment) {
            anomalies.report(anomaly, id, intent);
            return Processing::RetryLater;
        }
        if !is_about(event, &payment) {
            return Processing::Recorded;
        }
        let reconciled = service.reconcile(payment, deadline).await;
        match reconciled.finding {
            ProviderFinding::Unreachable(_) => Processing::RetryLater,
            _ if !reconciled.is_recorded => Processing::RetryLater,
            ProviderFinding::NoSuchIntent => {
                error!(
                    payment.id = id,
                    stripe.intent = intent,
                    "the provider sent an event of an intent that it does not have; check the account and mode of STRIPE_API_KEY"
                );
                Processing::Recorded
            }
            // The payment may stay open. Processing the event again would change nothing, so the event is accepted.
            ProviderFinding::AlreadyEnded
            | ProviderFinding::NoIntent
            | ProviderFinding::Intent(_)
            | ProviderFinding::AmountMismatch => Processing::Recorded,
        }
    }

    /// Whether the event's payment belongs to this environment. Intents of earlier versions have no environment, so their events are
    /// processed.
    fn is_of_this_environment(&self, event: &Event) -> bool {
        let environment = event.environment();
        environment.is_none_or(|name| name == self.environment.name())
    }
}

/// How an event contradicts the ledger, if it does.
///
/// Our steps confirm an intent only after the intent's id is in the payment's row. Our steps end a payment as not charged only if
/// the intent can no longer be charged. If a charge contradicts one of these rules, our steps did not make that charge.
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

/// Whether the event's intent is the intent in the payment's row, and the event has the mode (live or test) of the
/// payment.
fn is_about(event: &Event, payment: &Payment) -> bool {
    if payment.intent.as_deref() != Some(event.intent()) {
        return false;
    }
    if payment.livemode != event.livemode {
        warn!(
            payment.id,
            "an event was ignored: its mode, live or test, is not the payment's"
        );
        return false;
    }
    true
}

/// The idempotent operation of processing an event. Deliveries of one event differ in members such as `pending_webhooks`. So the
/// fingerprint covers only the members that identify the event.
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
