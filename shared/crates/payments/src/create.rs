//! Creates a payment for a client's request.
//!
//! The idempotency engine admits one attempt per key at a time. The attempt opens or finds the payment's row in the ledger, and
//! [`PaymentService::pay`] advances the payment until it ends or has to wait. A repeated request gets the engine's saved response.
//! If the saved response is only a reference to the payment, the answer comes from the ledger.
//!
//! This module renders no HTTP response: `payments-create` turns the [`Answer`] into one.

use std::time::Duration;

use foundation::{Deadline, Environment};
use http_api::Tenant;
use idempotency::{
    Backend, Blocked, ClaimOutcome, DerivedKey, Fingerprint, Idempotency, IdempotencyKey, Lease,
    Operation, Policy, RecordKey, Request, SavedResponse, Scope, WriteResult,
};
use serde_json::{Map, Value};
use tracing::{error, warn};

use super::body_error::BodyError;
use super::ledger::LedgerError;
use super::order::Parsed;
use super::payment::id_of;
use super::service::PaymentService;
use super::steps::{self, AttemptOutcome, ConcurrentAttempt};
use super::{Order, Payment, Setup, State, Timestamp};

/// Creates payments.
pub struct Payments {
    pub(super) idempotency: Idempotency,
    pub(super) environment: Environment,
    /// The service that pays. `None`: no ledger or no provider is configured, and the answer to each request is `Unavailable`.
    pub(super) service: Option<PaymentService>,
}

/// A client's request for a payment. It has passed every check that needs no store.
///
/// It has no `Debug`, because a person's purchase must not reach a log.
pub struct NewPayment {
    order: Order,
    /// Errors by rules that older versions did not have. If an older version accepted the order, these errors are ignored.
    newly_invalid: Vec<BodyError>,
    tenant: Tenant,
    key: IdempotencyKey,
    fingerprint: Fingerprint,
}

/// The answer to a client's request for a payment, and how the answer was found.
pub struct CreateOutcome {
    /// The answer to the client.
    pub answer: Answer,
    /// The only store that took part; `None`: the engine was not degraded.
    pub degraded_to: Option<Backend>,
    /// Whether the request waited for another attempt.
    pub has_waited: bool,
}

/// The answer to a client's request for a payment.
pub enum Answer {
    /// The payment has ended.
    Ended {
        /// The final response, byte for byte.
        response: SavedResponse,
        /// Whether the payment had already ended before this request.
        is_replay: bool,
    },
    /// The payment is still open. If the client repeats the request, the new response shows the payment's current state.
    Pending {
        /// The payment in its current state.
        payment: Box<Payment>,
        /// If the customer has to act: the provider's `next_action` and `client_secret`. Otherwise empty.
        extra: Map<String, Value>,
    },
    /// The body is invalid.
    InvalidBody(Vec<BodyError>),
    /// Another attempt is running. The lease of that attempt ends after this time.
    InProgress(Duration),
    /// The key was used for another request.
    KeyReused,
    /// The payment may have been charged; its row is missing or unreadable.
    OutcomeUnknown,
    /// This request did nothing. The client may repeat it soon.
    Unavailable,
}

/// The path of the endpoint. It is part of every request's fingerprint.
const ROUTE: &str = "/api/payments";
/// The least time for an attempt. If an invocation has less time left, it does not start a payment.
const LEAST_TIME: Duration = Duration::from_secs(2);

impl NewPayment {
    /// Parses the JSON body of a tenant's request. Returns the request with its order and its fingerprint.
    ///
    /// # Errors
    ///
    /// All errors in the body.
    pub fn parse(
        tenant: Tenant,
        key: IdempotencyKey,
        body: &[u8],
        environment: &Environment,
    ) -> Result<Self, Vec<BodyError>> {
        let Parsed {
            order,
            newly_invalid,
        } = Order::parse(body, environment)?;
        let request = Request {
            method: "POST",
            route: ROUTE,
            tenant: tenant.as_str(),
            payload: body,
        };
        let fingerprint = Fingerprint::of(&request)
            .map_err(|_| vec![BodyError::new("", "JSON without duplicate members")])?;
        Ok(Self {
            order,
            newly_invalid,
            tenant,
            key,
            fingerprint,
        })
    }

    /// The idempotent operation; `None` if the tenant's name is too long. The length limit of [`Tenant`] prevents that.
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
    /// The service that creates payments with the engine `idempotency`. That engine has to sign its saved responses with
    /// [`Setup::response_keys`]. This call opens no connection.
    pub fn new(setup: &Setup, idempotency: Idempotency) -> Self {
        Self {
            idempotency,
            environment: setup.environment.clone(),
            service: PaymentService::or_log(setup, |part| {
                error!("payments are refused: {part}");
            }),
        }
    }

    /// The environment. It determines which callers have access, and which orders are valid.
    pub fn environment(&self) -> &Environment {
        &self.environment
    }

    /// Creates one payment for each key. If another attempt is running, waits at most `patience` for the result of that
    /// attempt. Returns the answer to the client.
    ///
    /// # Cancel safety
    ///
    /// A dropped call leaves the payment open; a repeated request continues from the ledger's row.
    pub async fn create(
        &self,
        new: NewPayment,
        patience: Option<Duration>,
        deadline: Deadline,
    ) -> CreateOutcome {
        let (Some(service), Some(operation)) = (&self.service, new.operation()) else {
            return Answer::Unavailable.into();
        };
        let context = PaymentContext {
            service,
            key: self.idempotency.derived_key(&operation.key),
            fingerprint: new.fingerprint,
            deadline,
        };
        if !new.newly_invalid.is_empty()
            && let Err(answer) = context.check_accepted_before(&new.newly_invalid).await
        {
            return answer.into();
        }
        let claim = self
            .idempotency
            .claim_patiently(&operation, patience, deadline);
        let claim = claim.await;
        let answer = match claim.outcome {
            Ok(ClaimOutcome::Claimed(lease)) => context.run(lease, new).await,
            Ok(ClaimOutcome::Blocked(blocked)) => context.answer_blocked(blocked).await,
            Err(error) => {
                warn!(
                    idempotency.error = %error,
                    "a request was refused: the idempotency store is unavailable; nothing was charged by this request"
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
    /// The outcome if the answer was found without the idempotency store.
    fn from(answer: Answer) -> Self {
        Self {
            answer,
            degraded_to: None,
            has_waited: false,
        }
    }
}

/// A request for a payment that is being handled.
struct PaymentContext<'a> {
    service: &'a PaymentService,
    /// The derived key, from which the payment's id is made.
    key: DerivedKey,
    fingerprint: Fingerprint,
    deadline: Deadline,
}

impl PaymentContext<'_> {
    /// Checks whether the ledger already has a payment for an order that this version rejects. An older version may have accepted the
    /// order. If there is such a payment, the request gets the response of that payment.
    ///
    /// # Errors
    ///
    /// The answer to the request, if there is no such payment or the ledger did not return the payment.
    async fn check_accepted_before(&self, newly_invalid: &[BodyError]) -> Result<(), Answer> {
        match self.read().await? {
            Some(_) => Ok(()),
            None => Err(Answer::InvalidBody(newly_invalid.to_vec())),
        }
    }

    /// Runs an attempt: opens or finds the row, advances the payment, and finishes the key.
    async fn run(&self, lease: Lease, new: NewPayment) -> Answer {
        let payment = Payment::new(
            &self.key,
            new.tenant.as_str(),
            &self.fingerprint,
            new.order,
            self.service.provider.name(),
            Timestamp::now(),
        );
        let opened = match self.service.ledger.open(&payment, self.deadline).await {
            Ok(opened) => opened,
            Err(error) => {
                warn!(payment.id, ledger.error = %error, "a payment was not opened in the ledger; this attempt charged nothing");
                match error {
                    LedgerError::Unavailable(_) => lease.release().await,
                    // An earlier attempt may have charged.
                    LedgerError::Unreadable { .. } => lease.mark_unknown().await,
                };
                return Answer::without_payment(&error);
            }
        };
        if opened.fingerprint != self.fingerprint.to_string() {
            // Another request with the same key opened this row. Its payment may still be charged.
            lease.release().await;
            return Answer::KeyReused;
        }
        let was_open = opened.state.is_open();
        // The idempotency store may have lost the record of the attempt that opened the row. If so, that attempt may still be running.
        let is_record_lost = lease.is_first() && opened != payment;
        let concurrent = if lease.took_over() || is_record_lost {
            ConcurrentAttempt::Possible
        } else {
            ConcurrentAttempt::None
        };
        match self.pay(opened, concurrent).await {
            AttemptOutcome::Ended(ended) => {
                if let Some(response) = ended.final_response() {
                    // The ledger already has these bytes. The engine's copy only makes a replay faster.
                    lease.complete(response).await;
                }
                Answer::of_ended(&ended, was_open)
            }
            AttemptOutcome::Pending(payment, extra) => {
                match payment.state {
                    State::RequiresAction | State::Processing => {
                        lease.complete(payment.reference()).await;
                    }
                    _ => {
                        lease.mark_unknown().await;
                    }
                }
                Answer::pending(payment, extra)
            }
            AttemptOutcome::NothingDone(payment) => match lease.release().await {
                WriteResult::Stored(()) => Answer::Unavailable,
                // Another attempt may have taken over, and may charge.
                _ => Answer::pending(steps::unknown(payment), Map::new()),
            },
        }
    }

    /// Answers a request that the engine blocked.
    async fn answer_blocked(&self, blocked: Blocked) -> Answer {
        match blocked {
            Blocked::Replay(saved) if !is_final_response(&saved) => self.look_again().await,
            Blocked::Replay(response) => Answer::Ended {
                response,
                is_replay: true,
            },
            Blocked::InProgress { retry_after } => Answer::InProgress(retry_after),
            Blocked::Mismatch => self.answer_from_ledger(Answer::KeyReused).await,
            Blocked::Unknown(_) => self.answer_from_ledger(Answer::OutcomeUnknown).await,
        }
    }

    /// Answers from the ledger if the engine reports a mismatch or an unknown outcome. If the ledger has no row, the answer is
    /// `without_row`.
    ///
    /// The engine's report can be wrong. After the end of the key's retention, an attempt with another body may have claimed the key and
    /// stored another fingerprint. It is also possible that another program wrote the record. The ledger's row shows which request the
    /// payment belongs to.
    async fn answer_from_ledger(&self, without_row: Answer) -> Answer {
        match self.read().await {
            Ok(Some(payment)) if payment.fingerprint == self.fingerprint.to_string() => {
                self.look_again().await
            }
            Ok(Some(_)) => Answer::KeyReused,
            Ok(None) => without_row,
            Err(answer) => answer,
        }
    }

    /// Continues a payment that was pending when an earlier request was answered, and answers with its current state.
    async fn look_again(&self) -> Answer {
        let payment = match self.read().await {
            Ok(Some(payment)) => payment,
            Ok(None) => {
                error!(
                    payment.id = id_of(&self.key),
                    "a payment is missing from the ledger and may have been charged; see docs/runbook.md, Restoring"
                );
                return Answer::OutcomeUnknown;
            }
            Err(answer) => return answer,
        };
        let was_open = payment.state.is_open();
        match self.pay(payment, ConcurrentAttempt::Possible).await {
            AttemptOutcome::Ended(ended) => Answer::of_ended(&ended, was_open),
            AttemptOutcome::Pending(payment, extra) => Answer::pending(payment, extra),
            AttemptOutcome::NothingDone(payment) => {
                Answer::pending(steps::unknown(payment), Map::new())
            }
        }
    }

    /// The payment of this request's key, if there is one.
    async fn read(&self) -> Result<Option<Payment>, Answer> {
        let id = id_of(&self.key);
        let read = self.service.ledger.read(&id, self.deadline).await;
        read.map_err(|error| {
            warn!(payment.id = id, ledger.error = %error, "a payment was not read from the ledger; this request charged nothing");
            Answer::without_payment(&error)
        })
    }

    async fn pay(&self, payment: Payment, concurrent: ConcurrentAttempt) -> AttemptOutcome {
        self.service
            .pay(payment, &self.key, concurrent, self.deadline)
            .await
    }
}

impl Answer {
    /// The answer if the ledger did not return the payment.
    fn without_payment(error: &LedgerError) -> Self {
        match error {
            LedgerError::Unavailable(_) => Self::Unavailable,
            LedgerError::Unreadable { .. } => Self::OutcomeUnknown,
        }
    }

    /// The answer for a payment that has ended. `was_open`: whether the payment was open when this request read it. If it was not, the
    /// answer is a replay.
    fn of_ended(ended: &Payment, was_open: bool) -> Self {
        match ended.final_response() {
            Some(response) => Self::Ended {
                response,
                is_replay: !was_open,
            },
            // Another program wrote a final state without a final response. The payment may have been charged.
            None => Self::OutcomeUnknown,
        }
    }

    fn pending(payment: Payment, extra: Map<String, Value>) -> Self {
        Self::Pending {
            payment: Box::new(payment),
            extra,
        }
    }
}

/// Whether the saved response is the final one. Two other kinds exist: a reference to the payment, and the summary that the engine keeps
/// if a response is too long.
fn is_final_response(saved: &SavedResponse) -> bool {
    !Payment::is_reference(saved) && saved.whole_body().is_some()
}
