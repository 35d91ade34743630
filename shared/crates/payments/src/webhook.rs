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

use std::time::Duration;

use foundation::{Deadline, Environment};
use idempotency::{
    Backend, Blocked, ClaimOutcome, Fingerprint, Idempotency, IdempotencyKey, Operation, Policy,
    RecordKey, Request, SavedResponse, Scope,
};
use tracing::{error, info, warn};

use self::event::Event;
use self::signers::{Signed, Signers};
use super::anomaly::Anomaly;
use super::found::Found;
use super::settling::Settling;
use super::{Moment, Payment, Setup, State, payment, rendering};

/// Receives the provider's events.
pub struct Webhook {
    idempotency: Idempotency,
    environment: Environment,
    /// `None`: there is nothing to settle with.
    settling: Option<Settling>,
    /// `None`: nobody can have signed anything.
    signers: Option<Signers>,
}

const ROUTE: &str = "/api/payments/webhook";
/// Whose keys the events' ids are.
const SENDER: &str = "stripe";

/// Whether an event needs to come again.
enum Followed {
    /// The ledger says what the provider says.
    Done,
    /// It is not known yet whether it does.
    NotYet,
}

/// What receiving an event came to, and how.
pub struct Receipt {
    /// What its sender is answered.
    pub received: Received,
    /// The store that answered alone, where not all that are configured could take part.
    pub degraded_to: Option<Backend>,
    /// Whether it waited for another delivery.
    pub has_waited: bool,
}

/// What the sender of an event is answered.
pub enum Received {
    /// It needs not come again.
    Followed {
        /// The answer to each delivery of it.
        answer: SavedResponse,
        /// Whether an earlier delivery was followed.
        is_replay: bool,
    },
    /// It has to come again.
    NotYet,
    /// Another delivery is at work, for this long at most.
    InProgress(Duration),
    /// Its id belongs to another event.
    IdReused,
    /// No secret that is in force signed it, or not lately.
    NotSigned,
    /// It cannot be read.
    Invalid,
}

impl Received {
    fn first() -> Self {
        Self::Followed {
            answer: rendering::received(),
            is_replay: false,
        }
    }
}

impl From<Received> for Receipt {
    /// An answer that needed no store of keys.
    fn from(received: Received) -> Self {
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
        let signers =
            secrets.map(|secrets| Signers::new(setup.secrets.cell(secrets), &setup.environment));
        match signers {
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
            signers,
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
    ) -> Receipt {
        let (Some(settling), Some(signers)) = (&self.settling, &self.signers) else {
            return Received::NotYet.into();
        };
        let now = Moment::now().as_unix_seconds();
        match signers.judge(signature, body, now, deadline).await {
            Signed::Yes => {}
            Signed::No => {
                warn!("an event was refused: its signature is not valid");
                return Received::NotSigned.into();
            }
            Signed::StoreError => return Received::NotYet.into(),
        }
        let Some(event) = Event::parse(body) else {
            return Received::Invalid.into();
        };
        if !event.is_of_intent() {
            return Received::first().into();
        }
        let Some(operation) = operation(&event) else {
            return Received::Invalid.into();
        };
        let claim = self
            .idempotency
            .claim_patiently(&operation, patience, deadline);
        let claim = claim.await;
        let received = match claim.outcome {
            Ok(ClaimOutcome::Claimed(lease)) => match self.follow(settling, &event, deadline).await
            {
                Followed::Done => {
                    lease.complete(rendering::received()).await;
                    Received::first()
                }
                Followed::NotYet => {
                    lease.release().await;
                    Received::NotYet
                }
            },
            Ok(ClaimOutcome::Blocked(Blocked::Replay(answer))) => Received::Followed {
                answer,
                is_replay: true,
            },
            // What is stored under the event's id is damaged, or another program's. Following an event twice is harmless.
            Ok(ClaimOutcome::Blocked(Blocked::Unknown(_))) => {
                match self.follow(settling, &event, deadline).await {
                    Followed::Done => Received::first(),
                    Followed::NotYet => Received::NotYet,
                }
            }
            Ok(ClaimOutcome::Blocked(Blocked::Mismatch)) => Received::IdReused,
            Ok(ClaimOutcome::Blocked(Blocked::InProgress { retry_after })) => {
                Received::InProgress(retry_after)
            }
            Err(error) => {
                warn!(
                    idempotency.error = %error,
                    "a request was turned away: nothing decides whether it may run"
                );
                Received::NotYet
            }
        };
        Receipt {
            received,
            degraded_to: claim.degraded_to,
            has_waited: claim.has_waited,
        }
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
