//! From an open payment to what can be said of it.
//!
//! Every attempt takes the same steps from wherever the ones before it got to. An intent is created, its name is written into
//! the ledger, and only the name that is *read back* is confirmed: whoever loses that race never confirms its own. After
//! that the intent's status decides ([`decide`]), and what the ledger then says is what everybody is answered.
//!
//! "Not charged" is said only after the provider said `canceled`, or after the ledger closed a payment that has no intent: nobody
//! will confirm one for it any more.

mod next_step;

use std::time::Duration;

use serde_json::{Map, Value};
use tracing::{info, warn};

pub(super) use self::next_step::Purpose;
use foundation::Deadline;
use idempotency::DerivedKey;

use self::next_step::{LastRequest, Step, decide};
use super::anomaly::{Anomalies, Anomaly};
use super::finding::{Findings, ProviderFinding};
use super::ledger::{Change, ChangeResult, Ledger, LedgerError};
use super::payment::{End, Payment, State};
use super::provider::{
    Intent, IntentStatus, OTHER_LIVEMODE, Provider, ProviderError, UNEXPECTED_AMOUNT,
};
use super::timestamp::Timestamp;

/// Where a payment has got to.
pub(super) enum AttemptOutcome {
    /// It has ended.
    Ended(Payment),
    /// It is on its way, in its state; with what the customer's browser needs to go on.
    Pending(Payment, Map<String, Value>),
    /// This attempt had no effect and can have none. Another one may have taken over since.
    NothingDone(Payment),
}

/// Whether another attempt may be about. One that froze and was taken over may thaw: it has lost its lease, yet what it sends to
/// the provider has its effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum ConcurrentAttempt {
    None,
    Possible,
}

/// What payments are made with.
#[derive(Clone, Copy)]
pub(super) struct PaymentBackends<'a> {
    pub(super) ledger: &'a dyn Ledger,
    pub(super) provider: &'a dyn Provider,
    pub(super) anomalies: &'a Anomalies,
}

/// What the provider leaves of the time for the ledger, the engine and the answer.
const PROVIDER_RESERVE: Duration = Duration::from_millis(700);
/// More steps than any way needs after the intent was created: confirm, look, cancel, look.
const MOST_STEPS: usize = 6;

/// Takes a payment as far as it goes.
///
/// # Cancel safety
///
/// A dropped call leaves the payment open wherever it was; the next attempt goes on from there.
pub(super) async fn advance(
    backends: PaymentBackends<'_>,
    payment: Payment,
    key: &DerivedKey,
    purpose: Purpose,
    others: ConcurrentAttempt,
    deadline: Deadline,
) -> AttemptOutcome {
    if !payment.state.is_open() {
        return AttemptOutcome::Ended(payment);
    }
    let attempt = Attempt {
        backends,
        purpose,
        others,
        deadline,
        findings: Findings::none(),
    };
    if payment.intent.is_some() {
        return attempt.resume(payment).await;
    }
    if purpose == Purpose::Close {
        return attempt.close(payment).await;
    }
    match attempt.begin(payment, key).await {
        Ok((payment, intent, others)) => attempt.go_on(payment, intent, others).await,
        Err(reached) => *reached,
    }
}

/// A payment that was settled, and what was found at the provider.
pub(super) struct Settled {
    /// As it then is.
    pub(super) payment: Payment,
    pub(super) found: ProviderFinding,
    /// Whether the ledger acknowledged what followed from that.
    pub(super) is_acknowledged: bool,
}

/// Finds out what has become of a payment, and closes it where it is time to.
///
/// # Cancel safety
///
/// A dropped call leaves the payment open wherever it was.
pub(super) async fn settle(
    backends: PaymentBackends<'_>,
    payment: Payment,
    purpose: Purpose,
    deadline: Deadline,
) -> Settled {
    if !payment.state.is_open() {
        return Settled {
            payment,
            found: ProviderFinding::AlreadyEnded,
            is_acknowledged: true,
        };
    }
    let attempt = Attempt {
        backends,
        purpose,
        others: ConcurrentAttempt::Possible,
        deadline,
        findings: Findings::none(),
    };
    let payment = match (&payment.intent, purpose) {
        (None, Purpose::Pay | Purpose::Reconcile) => payment,
        (None, Purpose::Close) => attempt.close(payment).await.into_payment(),
        (Some(_), _) => attempt.resume(payment).await.into_payment(),
    };
    Settled {
        payment,
        found: attempt.findings.found(),
        is_acknowledged: attempt.findings.is_acknowledged(),
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

struct Attempt<'a> {
    backends: PaymentBackends<'a>,
    purpose: Purpose,
    others: ConcurrentAttempt,
    deadline: Deadline,
    findings: Findings,
}

impl Attempt<'_> {
    /// By when the provider has to answer: what it says is to be written yet.
    fn provider_deadline(&self) -> Deadline {
        self.deadline.reserving(PROVIDER_RESERVE)
    }

    /// Creates the intent and writes its name into the ledger; returns the one whose name is there, and whether another attempt
    /// may confirm it.
    async fn begin(
        &self,
        payment: Payment,
        key: &DerivedKey,
    ) -> Result<(Payment, Intent, ConcurrentAttempt), Box<AttemptOutcome>> {
        let key = key.step("create intent");
        let created = self
            .backends
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
            Err(failure @ ProviderError::NotProcessed(_)) => {
                self.report_if_mismatch(&payment, *failure);
                warn!(payment.id, provider.error = %failure, "no intent was created");
                return Err(Box::new(match self.others {
                    ConcurrentAttempt::None => AttemptOutcome::NothingDone(payment),
                    ConcurrentAttempt::Possible => {
                        self.wait(payment, State::Unknown, Map::new()).await
                    }
                }));
            }
            Err(failure @ ProviderError::OutcomeUnknown(_)) => {
                self.report_if_mismatch(&payment, *failure);
                warn!(payment.id, provider.error = %failure, "it is not known whether an intent was created");
                return Err(Box::new(
                    self.wait(payment, State::Unknown, Map::new()).await,
                ));
            }
        };
        let changed = self
            .backends
            .ledger
            .change(&payment, &change, self.deadline)
            .await;
        let (payment, others) = match changed {
            Ok(ChangeResult::Applied(payment)) => (payment, self.others),
            // Every attempt creates the same intent: a name that is like this one's own was written by another one all the same.
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
            _ => self.look(&payment).await,
        };
        match intent {
            Some(intent) => Ok((payment, intent, others)),
            None => Err(Box::new(
                self.wait(payment, State::Unknown, Map::new()).await,
            )),
        }
    }

    /// Goes on with a payment whose intent has a name.
    async fn resume(&self, payment: Payment) -> AttemptOutcome {
        match self.look(&payment).await {
            Some(intent) => {
                self.go_on(payment, intent, ConcurrentAttempt::Possible)
                    .await
            }
            None => self.wait(payment, State::Unknown, Map::new()).await,
        }
    }

    /// Ends a payment whose intent has no name in the ledger, and so is never confirmed. Where it has got one meanwhile, that
    /// one decides.
    async fn close(&self, payment: Payment) -> AttemptOutcome {
        let ended = payment.ended(&End::Failed, Timestamp::now());
        let change = Change::EndWithoutIntent(Box::new(ended));
        match self.change(&payment, &change).await {
            Ok(ended) if !ended.state.is_open() => {
                info!(
                    payment.id,
                    "a payment that the provider has never named is closed"
                );
                AttemptOutcome::Ended(ended)
            }
            Ok(named) => self.resume(named).await,
            Err(_) => AttemptOutcome::Pending(payment, Map::new()),
        }
    }

    async fn go_on(
        &self,
        payment: Payment,
        mut intent: Intent,
        others: ConcurrentAttempt,
    ) -> AttemptOutcome {
        let mut tried = LastRequest::None;
        let mut decline_code = None;
        for _ in 0..MOST_STEPS {
            // A cancelled one charges no customer, whatever its amount.
            if intent.status != IntentStatus::Canceled && !intent.is_of(&payment.order) {
                self.report_mismatch(&payment);
                return self.wait(payment, State::Unknown, Map::new()).await;
            }
            if let Some(code) = intent.decline_code() {
                decline_code = Some(code.to_owned());
            }
            match decide(self.purpose, intent.status, tried, decline_code.as_deref()) {
                Step::End(end) => return self.end(payment, &end).await,
                Step::Wait(state) => {
                    return self.wait(payment, state, for_the_browser(&intent)).await;
                }
                Step::Confirm => {
                    let confirming = self.backends.provider.confirm(
                        &intent.id,
                        &payment.order,
                        self.provider_deadline(),
                    );
                    match confirming.await {
                        Ok(confirmed) => {
                            (tried, intent) = (LastRequest::Confirmation, confirmed);
                            continue;
                        }
                        Err(failure) => {
                            warn!(payment.id, provider.error = %failure, "the intent was not confirmed, or it is not known");
                            tried = match failure {
                                // Another attempt may have sent its confirmation all the same.
                                ProviderError::NotProcessed(_)
                                    if others == ConcurrentAttempt::None =>
                                {
                                    return AttemptOutcome::NothingDone(payment);
                                }
                                ProviderError::Rejected(_) => LastRequest::RejectedConfirmation,
                                _ => LastRequest::Confirmation,
                            };
                        }
                    }
                }
                Step::Cancel => {
                    tried = LastRequest::Cancellation;
                    // What counts is what the intent says afterwards.
                    let cancelling = self
                        .backends
                        .provider
                        .cancel(&intent.id, self.provider_deadline());
                    let _ = cancelling.await;
                }
            }
            match self.look(&payment).await {
                Some(seen) => intent = seen,
                None => break,
            }
        }
        self.wait(payment, State::Unknown, Map::new()).await
    }

    async fn look(&self, payment: &Payment) -> Option<Intent> {
        let intent = payment.intent.as_deref()?;
        let inspected = self
            .backends
            .provider
            .inspect(intent, self.provider_deadline())
            .await;
        self.findings.note(inspected.as_ref());
        inspected
            .inspect_err(|failure| {
                self.report_if_mismatch(payment, *failure);
                warn!(payment.id, provider.error = %failure, "the intent could not be looked at");
            })
            .ok()
    }

    fn report_if_mismatch(&self, payment: &Payment, failure: ProviderError) {
        if failure == UNEXPECTED_AMOUNT {
            self.report_mismatch(payment);
        } else if failure.code() == OTHER_LIVEMODE {
            let intent = payment.intent.as_deref();
            let anomalies = self.backends.anomalies;
            anomalies.report(Anomaly::LivemodeMismatch, &payment.id, intent);
        }
    }

    fn report_mismatch(&self, payment: &Payment) {
        let intent = payment.intent.as_deref();
        let anomalies = self.backends.anomalies;
        anomalies.report(Anomaly::AmountMismatch, &payment.id, intent);
        self.findings.note_amount_mismatch();
    }

    /// Writes the end, which fixes the bytes that everybody is answered; whatever the ledger then says counts.
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
                warn!(payment.id, ledger.error = %unavailable, "a payment's end is not acknowledged");
                AttemptOutcome::Pending(unknown(payment), Map::new())
            }
        }
    }

    /// Notes how far it is, for those who look at the ledger alone.
    async fn wait(
        &self,
        payment: Payment,
        state: State,
        more: Map<String, Value>,
    ) -> AttemptOutcome {
        let moving = Change::Move(state);
        match self.change(&payment, &moving).await {
            Ok(ended) if !ended.state.is_open() => AttemptOutcome::Ended(ended),
            Ok(open) => AttemptOutcome::Pending(open, more),
            Err(_) => AttemptOutcome::Pending(unknown(payment), Map::new()),
        }
    }

    /// The row after a change, whoever has made it.
    async fn change(&self, payment: &Payment, change: &Change) -> Result<Payment, LedgerError> {
        let changed = self
            .backends
            .ledger
            .change(payment, change, self.deadline)
            .await;
        if changed.is_err() {
            self.findings.note_unacknowledged();
        }
        changed.map(ChangeResult::into_payment)
    }
}

/// The payment, as one of which it is not known whether it was charged.
pub(super) fn unknown(payment: Payment) -> Payment {
    Payment {
        state: State::Unknown,
        ..payment
    }
}

/// What a browser needs to go on where the customer has to act: never stored, never logged.
fn for_the_browser(intent: &Intent) -> Map<String, Value> {
    let mut more = Map::new();
    if intent.status == IntentStatus::RequiresAction {
        let next_action = intent.next_action.clone().unwrap_or_default();
        more.insert("next_action".to_owned(), next_action);
        let secret = intent.client_secret.clone();
        more.insert("client_secret".to_owned(), secret.into());
    }
    more
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_acting_customers_browser_gets_a_secret() {
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
            let gets_one = for_the_browser(&intent).contains_key("client_secret");
            assert_eq!(gets_one, status == IntentStatus::RequiresAction);
        }
    }
}
