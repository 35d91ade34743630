//! The steps of an attempt: from an open payment to its end, or to a pending state.
//!
//! The worst failure would be a second charge. So every attempt takes these steps, starting from the ledger's row:
//!
//! 1. Create an intent at the provider. This charges nothing.
//! 2. Write the intent's id into the row, if the row has none.
//! 3. Confirm the intent whose id is *read back* from the row. If another attempt wrote its id first, this attempt confirms
//!    that attempt's intent.
//! 4. Take the next step by the intent's status ([`next_step()`]), and write the end into the ledger.
//!
//! The answer to a client is what the ledger contains after these steps. A payment ends as "not charged" in two cases. Either the
//! provider reports its intent as `canceled`, or the ledger closes a payment that has no intent. In both cases, no intent of the
//! payment can be confirmed any more.

mod next_step;

use std::time::Duration;

use foundation::Deadline;
use idempotency::DerivedKey;
use serde_json::{Map, Value};
use tracing::{info, warn};

pub(super) use self::next_step::Purpose;
use self::next_step::{LastRequest, NextStep, next_step};
use super::anomaly::Anomaly;
use super::finding::{Findings, ProviderFinding};
use super::ledger::{Change, ChangeResult, LedgerError};
use super::payment::{End, Payment, State};
use super::provider::{Intent, IntentStatus, OTHER_LIVEMODE, ProviderError, UNEXPECTED_AMOUNT};
use super::service::PaymentService;
use super::timestamp::Timestamp;

/// The state in which an attempt left a payment.
pub(super) enum AttemptOutcome {
    /// The payment has ended.
    Ended(Payment),
    /// The payment is still open. The map has what the customer's browser needs to continue.
    Pending(Payment, Map<String, Value>),
    /// This attempt had no effect and can have none. Another attempt may have taken over since.
    NothingDone(Payment),
}

/// Whether another attempt on the same payment may be running.
///
/// A frozen attempt can continue after another attempt has taken over. The frozen attempt has lost its lease, but its requests to the
/// provider still take effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum ConcurrentAttempt {
    None,
    Possible,
}

/// A payment after it was reconciled.
pub(super) struct Reconciliation {
    /// The payment as it is in the ledger after the reconciliation.
    pub(super) payment: Payment,
    /// What the reconciliation found at the provider.
    pub(super) finding: ProviderFinding,
    /// Whether the ledger acknowledged every write.
    pub(super) is_recorded: bool,
}

/// One run on a payment, by a client's request or by the reconciler.
pub(super) struct Attempt<'a> {
    service: &'a PaymentService,
    purpose: Purpose,
    concurrent: ConcurrentAttempt,
    deadline: Deadline,
    findings: Findings,
}

/// The time that is reserved for the ledger, the engine and the response after the provider has answered.
const PROVIDER_RESERVE: Duration = Duration::from_millis(700);
/// The most steps of an attempt after the intent was created. The longest path is: confirm, inspect, cancel, inspect.
const MOST_STEPS: usize = 6;

impl PaymentService {
    /// Advances a client's payment until it ends or has to wait. If the payment is due for closing, closes it instead
    /// of confirming it.
    ///
    /// # Cancel safety
    ///
    /// A dropped call leaves the payment open; the next attempt continues from the ledger's row.
    pub(super) async fn pay(
        &self,
        payment: Payment,
        key: &DerivedKey,
        concurrent: ConcurrentAttempt,
        deadline: Deadline,
    ) -> AttemptOutcome {
        let purpose = self.purpose(&payment, Purpose::Pay);
        let attempt = Attempt::new(self, purpose, concurrent, deadline);
        attempt.pay(payment, key).await
    }

    /// Reads the payment's intent at the provider, and records the resulting state of the payment. Closes the payment
    /// if it is due for closing.
    ///
    /// Reconciling never confirms an intent, because the customer may no longer want to buy.
    ///
    /// # Cancel safety
    ///
    /// A dropped call leaves the payment open.
    pub(super) async fn reconcile(&self, payment: Payment, deadline: Deadline) -> Reconciliation {
        let purpose = self.purpose(&payment, Purpose::Reconcile);
        // The attempt that opened the payment may still be running.
        let attempt = Attempt::new(self, purpose, ConcurrentAttempt::Possible, deadline);
        attempt.reconcile(payment).await
    }

    /// The purpose of a run on this payment: `requested`, or closing if the payment is due for closing.
    fn purpose(&self, payment: &Payment, requested: Purpose) -> Purpose {
        if self.is_due_for_closing(payment) {
            Purpose::Close
        } else {
            requested
        }
    }
}

impl<'a> Attempt<'a> {
    pub(super) fn new(
        service: &'a PaymentService,
        purpose: Purpose,
        concurrent: ConcurrentAttempt,
        deadline: Deadline,
    ) -> Self {
        Self {
            service,
            purpose,
            concurrent,
            deadline,
            findings: Findings::none(),
        }
    }

    /// Advances a client's payment until it ends or has to wait; `key` makes every attempt create the same intent.
    ///
    /// # Cancel safety
    ///
    /// A dropped call leaves the payment open; the next attempt continues from the ledger's row.
    pub(super) async fn pay(self, payment: Payment, key: &DerivedKey) -> AttemptOutcome {
        if !payment.state.is_open() {
            return AttemptOutcome::Ended(payment);
        }
        if payment.intent.is_some() {
            return self.resume(payment).await;
        }
        if self.purpose == Purpose::Close {
            return self.close(payment).await;
        }
        match self.begin(payment, key).await {
            Ok((payment, intent, concurrent)) => self.advance(payment, intent, concurrent).await,
            Err(outcome) => *outcome,
        }
    }

    /// Records the state of a payment by the status of its intent. If the purpose is [`Purpose::Close`], also closes
    /// the payment.
    ///
    /// # Cancel safety
    ///
    /// A dropped call leaves the payment open.
    pub(super) async fn reconcile(self, payment: Payment) -> Reconciliation {
        if !payment.state.is_open() {
            return Reconciliation {
                payment,
                finding: ProviderFinding::AlreadyEnded,
                is_recorded: true,
            };
        }
        let payment = match (&payment.intent, self.purpose) {
            (None, Purpose::Pay | Purpose::Reconcile) => payment,
            (None, Purpose::Close) => self.close(payment).await.into_payment(),
            (Some(_), _) => self.resume(payment).await.into_payment(),
        };
        Reconciliation {
            payment,
            finding: self.findings.latest(),
            is_recorded: self.findings.is_recorded(),
        }
    }

    /// The time by which the provider has to answer. After it, there is still time to record the answer.
    fn provider_deadline(&self) -> Deadline {
        self.deadline.reserving(PROVIDER_RESERVE)
    }

    /// Creates the intent and writes its id into the ledger. Returns the intent whose id the ledger has, and whether another attempt
    /// may confirm it.
    async fn begin(
        &self,
        payment: Payment,
        key: &DerivedKey,
    ) -> Result<(Payment, Intent, ConcurrentAttempt), Box<AttemptOutcome>> {
        let key = key.step("create intent");
        let created = self
            .service
            .provider
            .create(&payment, key.as_str(), self.provider_deadline())
            .await;
        let change = match &created {
            Ok(intent) => Change::Attach {
                intent: intent.id.clone(),
                livemode: intent.livemode,
            },
            Err(ProviderError::Rejected(_)) => {
                Change::EndWithoutIntent(Box::new(payment.ended(&End::Failed, Timestamp::now())))
            }
            Err(error @ ProviderError::NotProcessed(_)) => {
                self.report_if_mismatch(&payment, *error);
                warn!(payment.id, provider.error = %error, "no intent was created; this attempt charged nothing");
                return Err(Box::new(match self.concurrent {
                    ConcurrentAttempt::None => AttemptOutcome::NothingDone(payment),
                    ConcurrentAttempt::Possible => {
                        self.wait(payment, State::Unknown, Map::new()).await
                    }
                }));
            }
            Err(error @ ProviderError::OutcomeUnknown(_)) => {
                self.report_if_mismatch(&payment, *error);
                warn!(payment.id, provider.error = %error, "an intent may have been created; it is not confirmed, so this attempt charged nothing");
                return Err(Box::new(
                    self.wait(payment, State::Unknown, Map::new()).await,
                ));
            }
        };
        let changed = self
            .service
            .ledger
            .change(&payment, &change, self.deadline)
            .await;
        let (payment, concurrent) = match changed {
            Ok(ChangeResult::Applied(payment)) => (payment, self.concurrent),
            // Every attempt creates the same intent. So the row can have the intent of this attempt, although another attempt wrote the
            // id into the row.
            Ok(ChangeResult::Conflict(payment)) => (payment, ConcurrentAttempt::Possible),
            Err(_) => {
                return Err(Box::new(
                    self.wait(payment, State::Unknown, Map::new()).await,
                ));
            }
        };
        if !payment.state.is_open() {
            return Err(Box::new(AttemptOutcome::Ended(payment)));
        }
        let intent = match created {
            Ok(intent) if payment.intent.as_deref() == Some(&intent.id) => Some(intent),
            _ => self.inspect(&payment).await,
        };
        match intent {
            Some(intent) => Ok((payment, intent, concurrent)),
            None => Err(Box::new(
                self.wait(payment, State::Unknown, Map::new()).await,
            )),
        }
    }

    /// Continues a payment whose intent is in the ledger.
    async fn resume(&self, payment: Payment) -> AttemptOutcome {
        match self.inspect(&payment).await {
            Some(intent) => {
                self.advance(payment, intent, ConcurrentAttempt::Possible)
                    .await
            }
            None => self.wait(payment, State::Unknown, Map::new()).await,
        }
    }

    /// Ends a payment that has no intent in the ledger, and so was never confirmed. If another attempt has attached an intent
    /// meanwhile, continues with that intent.
    async fn close(&self, payment: Payment) -> AttemptOutcome {
        let ended = payment.ended(&End::Failed, Timestamp::now());
        let change = Change::EndWithoutIntent(Box::new(ended));
        match self.change(&payment, &change).await {
            Ok(ended) if !ended.state.is_open() => {
                info!(
                    payment.id,
                    "an old payment without an intent was closed; it was never charged"
                );
                AttemptOutcome::Ended(ended)
            }
            Ok(attached) => self.resume(attached).await,
            Err(_) => AttemptOutcome::Pending(payment, Map::new()),
        }
    }

    /// Takes the steps that follow from the intent's status, until the payment ends or has to wait.
    async fn advance(
        &self,
        payment: Payment,
        mut intent: Intent,
        concurrent: ConcurrentAttempt,
    ) -> AttemptOutcome {
        let mut last = LastRequest::None;
        let mut decline_code = None;
        for _ in 0..MOST_STEPS {
            // A cancelled intent charges no customer, so its amount does not matter.
            if intent.status != IntentStatus::Canceled && !intent.is_of(&payment.order) {
                self.report_amount_mismatch(&payment);
                return self.wait(payment, State::Unknown, Map::new()).await;
            }
            if let Some(code) = intent.decline_code() {
                decline_code = Some(code.to_owned());
            }
            match next_step(self.purpose, intent.status, last, decline_code.as_deref()) {
                NextStep::End(end) => return self.end(payment, &end).await,
                NextStep::Wait(state) => {
                    return self.wait(payment, state, browser_fields(&intent)).await;
                }
                NextStep::Confirm => {
                    let confirming = self.service.provider.confirm(
                        &intent.id,
                        &payment.order,
                        self.provider_deadline(),
                    );
                    match confirming.await {
                        Ok(confirmed) => {
                            (last, intent) = (LastRequest::Confirmation, confirmed);
                            continue;
                        }
                        Err(error) => {
                            warn!(payment.id, provider.error = %error, "the intent was not confirmed, or the outcome is unknown; the intent's status shows the result");
                            last = match error {
                                // If another attempt may be running, the answer must not be "nothing done", because that attempt may have
                                // confirmed.
                                ProviderError::NotProcessed(_)
                                    if concurrent == ConcurrentAttempt::None =>
                                {
                                    return AttemptOutcome::NothingDone(payment);
                                }
                                ProviderError::Rejected(_) => LastRequest::RejectedConfirmation,
                                _ => LastRequest::Confirmation,
                            };
                        }
                    }
                }
                NextStep::Cancel => {
                    last = LastRequest::Cancellation;
                    // The reply does not matter, because the intent's status determines the next step.
                    let cancelling = self
                        .service
                        .provider
                        .cancel(&intent.id, self.provider_deadline());
                    let _ = cancelling.await;
                }
            }
            match self.inspect(&payment).await {
                Some(inspected) => intent = inspected,
                None => break,
            }
        }
        self.wait(payment, State::Unknown, Map::new()).await
    }

    /// Reads the payment's intent at the provider.
    async fn inspect(&self, payment: &Payment) -> Option<Intent> {
        let intent = payment.intent.as_deref()?;
        let inspected = self
            .service
            .provider
            .inspect(intent, self.provider_deadline())
            .await;
        self.findings.note(inspected.as_ref());
        inspected
            .inspect_err(|error| {
                self.report_if_mismatch(payment, *error);
                warn!(payment.id, provider.error = %error, "the intent was not read; the payment may have been charged and stays open until the intent is read");
            })
            .ok()
    }

    fn report_if_mismatch(&self, payment: &Payment, error: ProviderError) {
        if error == UNEXPECTED_AMOUNT {
            self.report_amount_mismatch(payment);
        } else if error.code() == OTHER_LIVEMODE {
            let intent = payment.intent.as_deref();
            let anomalies = &self.service.anomalies;
            anomalies.report(Anomaly::LivemodeMismatch, &payment.id, intent);
        }
    }

    fn report_amount_mismatch(&self, payment: &Payment) {
        let intent = payment.intent.as_deref();
        let anomalies = &self.service.anomalies;
        anomalies.report(Anomaly::AmountMismatch, &payment.id, intent);
        self.findings.note_amount_mismatch();
    }

    /// Writes the end and the final response into the ledger. If another attempt wrote an end first, that end counts.
    async fn end(&self, payment: Payment, end: &End) -> AttemptOutcome {
        let change = Change::End(Box::new(payment.ended(end, Timestamp::now())));
        match self.change(&payment, &change).await {
            Ok(ended) if !ended.state.is_open() => {
                info!(
                    payment.id,
                    payment.state = ended.state.name(),
                    "a payment ended"
                );
                AttemptOutcome::Ended(ended)
            }
            Ok(open) => AttemptOutcome::Pending(unknown(open), Map::new()),
            Err(unavailable) => {
                warn!(payment.id, ledger.error = %unavailable, "the end of a payment was not recorded in the ledger; a repeated request or the reconciler records it");
                AttemptOutcome::Pending(unknown(payment), Map::new())
            }
        }
    }

    /// Writes an open state of the payment into the ledger. Returns the payment as pending, or as ended if another
    /// attempt has ended it.
    async fn wait(
        &self,
        payment: Payment,
        state: State,
        extra: Map<String, Value>,
    ) -> AttemptOutcome {
        let change = Change::Move(state);
        match self.change(&payment, &change).await {
            Ok(ended) if !ended.state.is_open() => AttemptOutcome::Ended(ended),
            Ok(open) => AttemptOutcome::Pending(open, extra),
            Err(_) => AttemptOutcome::Pending(unknown(payment), Map::new()),
        }
    }

    /// Applies a change. Returns the row afterwards, whether this attempt or another attempt changed it.
    async fn change(&self, payment: &Payment, change: &Change) -> Result<Payment, LedgerError> {
        let changed = self
            .service
            .ledger
            .change(payment, change, self.deadline)
            .await;
        if changed.is_err() {
            self.findings.note_unrecorded();
        }
        changed.map(ChangeResult::into_payment)
    }
}

impl AttemptOutcome {
    fn into_payment(self) -> Payment {
        match self {
            Self::Ended(payment) | Self::Pending(payment, _) | Self::NothingDone(payment) => {
                payment
            }
        }
    }
}

/// The payment in the state [`State::Unknown`]: it may have been charged.
pub(super) fn unknown(payment: Payment) -> Payment {
    Payment {
        state: State::Unknown,
        ..payment
    }
}

/// The members that a browser needs if the customer has to act. They include a secret, so they are never stored or logged.
fn browser_fields(intent: &Intent) -> Map<String, Value> {
    let mut fields = Map::new();
    if intent.status == IntentStatus::RequiresAction {
        let next_action = intent.next_action.clone().unwrap_or_default();
        fields.insert("next_action".to_owned(), next_action);
        let secret = intent.client_secret.clone();
        fields.insert("client_secret".to_owned(), secret.into());
    }
    fields
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_client_secret_is_returned_only_when_the_customer_has_to_act() {
        for status in [IntentStatus::Processing, IntentStatus::RequiresAction] {
            let intent = Intent {
                id: "pi_1".to_owned(),
                status,
                amount: 1,
                currency: "eur".to_owned(),
                livemode: false,
                client_secret: Some("secret".to_owned()),
                next_action: None,
                last_payment_error: None,
            };
            let has_secret = browser_fields(&intent).contains_key("client_secret");
            assert_eq!(has_secret, status == IntentStatus::RequiresAction);
        }
    }
}
