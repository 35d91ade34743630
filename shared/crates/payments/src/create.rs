//! A request for a payment: what it is, what is done, and what its client is answered.

use std::time::Duration;

use foundation::{Deadline, Environment};
use http_api::Tenant;
use idempotency::{
    Backend, Blocked, ClaimOutcome, DerivedKey, Fingerprint, IdempotencyKey, Lease, Operation,
    Policy, RecordKey, Request, SavedResponse, Scope, WriteResult,
};
use serde_json::{Map, Value};

use super::anomaly::Anomalies;
use super::body_error::BodyError;
use super::ledger::{Ledger, LedgerError};
use super::order::Parsed;
use super::provider::Provider;
use super::settling::is_due;
use super::steps::{self, AttemptOutcome, ConcurrentAttempt, PaymentBackends, Purpose};
use super::{Order, Payment, Payments, State, Timestamp};

/// The route whose requests these are. It is a part of every request's fingerprint.
const ROUTE: &str = "/api/payments";
/// An invocation with less time left begins no payment.
const LEAST_TIME: Duration = Duration::from_secs(2);

/// A request that has passed every check that needs no store. Not `Debug`: it is a person's purchase.
pub struct NewPayment {
    order: Order,
    /// Why it is refused, unless an older version took it under the same key.
    refused: Vec<BodyError>,
    tenant: Tenant,
    key: IdempotencyKey,
    fingerprint: Fingerprint,
}

/// What a request for a payment came to, and how.
pub struct CreateOutcome {
    /// What its client is answered.
    pub answer: Answer,
    /// The store that answered alone, where not all that are configured could take part.
    pub degraded_to: Option<Backend>,
    /// Whether it waited for another attempt.
    pub has_waited: bool,
}

/// What the client of a payment is answered.
pub enum Answer {
    /// The payment has ended.
    Ended {
        /// Its answer, byte for byte.
        answer: SavedResponse,
        /// Whether it had ended before this request looked.
        is_replay: bool,
    },
    /// The payment is on its way; the same request finds out more.
    Pending {
        /// As the ledger has it.
        payment: Box<Payment>,
        /// What the provider says besides: what the customer has to do.
        more: Map<String, Value>,
    },
    /// The body cannot be used.
    InvalidBody(Vec<BodyError>),
    /// Another attempt is at work, for this long at most.
    InProgress(Duration),
    /// The key belongs to another request.
    KeyReused,
    /// It may have been charged, and nothing here knows.
    OutcomeUnknown,
    /// Nothing was done, and a repetition makes sense in a moment.
    Unavailable,
}

impl NewPayment {
    /// The payment that a tenant asks for under a key, with a body of JSON.
    ///
    /// # Errors
    ///
    /// Everything that is wrong with the body.
    pub fn parse(
        tenant: Tenant,
        key: IdempotencyKey,
        body: &[u8],
        environment: &Environment,
    ) -> Result<Self, Vec<BodyError>> {
        let Parsed { order, refused } = Order::parse(body, environment)?;
        let request = Request {
            method: "POST",
            route: ROUTE,
            tenant: tenant.as_str(),
            payload: body,
        };
        let fingerprint = Fingerprint::of(&request)
            .map_err(|_| vec![BodyError::of("", "JSON that names each member once")])?;
        Ok(Self {
            order,
            refused,
            tenant,
            key,
            fingerprint,
        })
    }

    /// `None` where the tenant's name is too long, which no [`Tenant`] has.
    fn operation(&self) -> Option<Operation> {
        let scope = Scope::http("payments.create", self.tenant.as_str()).ok()?;
        let operation = Operation::new(RecordKey::new(&scope, &self.key), self.fingerprint);
        Some(
            operation
                .with_policy(Policy::RerunAlways)
                .needing(LEAST_TIME),
        )
    }
}

impl Payments {
    /// Makes a payment, once however often it is asked for. Where another attempt is at work, waits for it at most for `patience`.
    ///
    /// # Cancel safety
    ///
    /// A dropped call leaves the payment wherever it was; a repetition goes on from there.
    pub async fn create(
        &self,
        asked: NewPayment,
        patience: Option<Duration>,
        deadline: Deadline,
    ) -> CreateOutcome {
        let stores = (self.ledger.as_deref(), self.provider.as_deref());
        let ((Some(ledger), Some(provider)), Some(operation)) = (stores, asked.operation()) else {
            return Answer::Unavailable.into();
        };
        let till = Till {
            ledger,
            provider,
            anomalies: &self.anomalies,
            deadline,
            cancel_after: self.cancel_after,
        };
        let key = self.idempotency.derived_key(&operation.key);
        if !asked.refused.is_empty()
            && let Err(refusal) = till.check_taken(&key, &asked.refused).await
        {
            return refusal.into();
        }
        let claim = self
            .idempotency
            .claim_patiently(&operation, patience, deadline);
        let claim = claim.await;
        let fingerprint = asked.fingerprint;
        let answer = match claim.outcome {
            Ok(ClaimOutcome::Claimed(lease)) => till.work(lease, asked).await,
            Ok(ClaimOutcome::Blocked(Blocked::Replay(saved))) if !is_answer(&saved) => {
                till.look_again(&key).await
            }
            Ok(ClaimOutcome::Blocked(Blocked::Replay(answer))) => Answer::Ended {
                answer,
                is_replay: true,
            },
            Ok(ClaimOutcome::Blocked(Blocked::InProgress { retry_after })) => {
                Answer::InProgress(retry_after)
            }
            Ok(ClaimOutcome::Blocked(Blocked::Mismatch)) => {
                let contested = till.answer_contested(&key, &fingerprint, Answer::KeyReused);
                contested.await
            }
            Ok(ClaimOutcome::Blocked(Blocked::Unknown(_))) => {
                let contested = till.answer_contested(&key, &fingerprint, Answer::OutcomeUnknown);
                contested.await
            }
            Err(error) => {
                tracing::warn!(
                    idempotency.error = %error,
                    "a request was turned away: nothing decides whether it may run"
                );
                Answer::Unavailable
            }
        };
        CreateOutcome {
            answer,
            degraded_to: claim.degraded_to,
            has_waited: claim.has_waited,
        }
    }
}

impl From<Answer> for CreateOutcome {
    /// An answer that needed no store of keys.
    fn from(answer: Answer) -> Self {
        Self {
            answer,
            degraded_to: None,
            has_waited: false,
        }
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
    async fn check_taken(&self, key: &DerivedKey, faults: &[BodyError]) -> Result<(), Answer> {
        match self.read(key).await? {
            Some(_) => Ok(()),
            None => Err(Answer::InvalidBody(faults.to_vec())),
        }
    }

    async fn work(&self, lease: Lease, asked: NewPayment) -> Answer {
        let key = lease.derived_key();
        let fingerprint = asked.fingerprint;
        let payment = Payment::new(
            &key,
            asked.tenant.as_str(),
            &fingerprint,
            asked.order,
            self.provider.name(),
            Timestamp::now(),
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
                return Answer::without_payment(&error);
            }
        };
        if opened.fingerprint != fingerprint.to_string() {
            // Another request opened it under this key, and may still be charged.
            lease.release().await;
            return Answer::KeyReused;
        }
        let was_open = opened.state.is_open();
        // The store of keys may have forgotten the attempt that opened the row; that one may still run.
        let is_forgotten = lease.is_first() && opened != payment;
        let others = if lease.took_over() || is_forgotten {
            ConcurrentAttempt::Possible
        } else {
            ConcurrentAttempt::None
        };
        match self.advance(opened, &key, others).await {
            AttemptOutcome::Ended(ended) => {
                if let Some(answer) = ended.final_response() {
                    // The ledger has the bytes; the engine only makes the next answer quicker.
                    lease.complete(answer).await;
                }
                Answer::of_ended(&ended, was_open)
            }
            AttemptOutcome::Pending(payment, more) => {
                match payment.state {
                    State::RequiresAction | State::Processing => {
                        lease.complete(payment.reference()).await;
                    }
                    _ => {
                        lease.mark_unknown().await;
                    }
                }
                Answer::on_its_way(payment, more)
            }
            AttemptOutcome::NothingDone(payment) => match lease.release().await {
                WriteResult::Stored(()) => Answer::Unavailable,
                // Somebody has taken over meanwhile, or may have, and charges.
                _ => Answer::on_its_way(steps::unknown(payment), Map::new()),
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
        refusal: Answer,
    ) -> Answer {
        match self.read(key).await {
            Ok(Some(payment)) if payment.fingerprint == fingerprint.to_string() => {
                self.look_again(key).await
            }
            Ok(Some(_)) => Answer::KeyReused,
            Ok(None) => refusal,
            Err(unavailable) => unavailable,
        }
    }

    /// Answers for a payment that was on its way when its request was answered last.
    async fn look_again(&self, key: &DerivedKey) -> Answer {
        let payment = match self.read(key).await {
            Ok(Some(payment)) => payment,
            Ok(None) => {
                let id = super::payment::id_of(key);
                tracing::error!(payment.id = id, "a payment is not in the ledger");
                // It was taken once, and may have been charged.
                return Answer::OutcomeUnknown;
            }
            Err(refusal) => return refusal,
        };
        let was_open = payment.state.is_open();
        match self
            .advance(payment, key, ConcurrentAttempt::Possible)
            .await
        {
            AttemptOutcome::Ended(ended) => Answer::of_ended(&ended, was_open),
            AttemptOutcome::Pending(payment, more) => Answer::on_its_way(payment, more),
            AttemptOutcome::NothingDone(payment) => {
                Answer::on_its_way(steps::unknown(payment), Map::new())
            }
        }
    }

    /// The payment of a key, if there is one.
    async fn read(&self, key: &DerivedKey) -> Result<Option<Payment>, Answer> {
        let id = super::payment::id_of(key);
        self.ledger.read(&id, self.deadline).await.map_err(|error| {
            tracing::warn!(payment.id = id, ledger.error = %error, "a payment could not be read");
            Answer::without_payment(&error)
        })
    }

    async fn advance(
        &self,
        payment: Payment,
        key: &DerivedKey,
        others: ConcurrentAttempt,
    ) -> AttemptOutcome {
        let purpose = if is_due(payment.created_at, self.cancel_after, Timestamp::now()) {
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

impl Answer {
    /// Where the ledger gives no payment.
    fn without_payment(error: &LedgerError) -> Self {
        match error {
            LedgerError::Unavailable(_) => Self::Unavailable,
            LedgerError::Unreadable { .. } => Self::OutcomeUnknown,
        }
    }

    /// Of a payment that has ended. It is a replay only where it had ended before this request looked.
    fn of_ended(ended: &Payment, was_open: bool) -> Self {
        match ended.final_response() {
            Some(answer) => Self::Ended {
                answer,
                is_replay: !was_open,
            },
            // Another program has written the row: it was taken, and may have been charged.
            None => Self::OutcomeUnknown,
        }
    }

    fn on_its_way(payment: Payment, more: Map<String, Value>) -> Self {
        Self::Pending {
            payment: Box::new(payment),
            more,
        }
    }
}

/// Whether a result is the answer itself: not where to look for it, and not a summary of what was too long for the engine.
fn is_answer(saved: &SavedResponse) -> bool {
    !Payment::is_reference(saved) && saved.whole_body().is_some()
}
