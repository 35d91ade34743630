//! What a provider says that does as little as it can.

use async_trait::async_trait;
use foundation::Deadline;

use super::{NEVER, World, asked};
use crate::finding::ProviderFinding;
use crate::ledger::{Change, ChangeResult, FileLedger, Ledger};
use crate::provider::{
    Intent, NO_SUCH_INTENT, Provider, ProviderError, Sandbox, UNEXPECTED_AMOUNT,
};
use crate::steps::{AttemptOutcome, ConcurrentAttempt, PaymentBackends, Purpose, advance, settle};
use crate::{End, Order, Payment, State, Timestamp, payment};

/// A provider that fails so where it is asked for a confirmation, or for a look.
struct Failing {
    inner: Sandbox,
    confirm: Option<ProviderError>,
    inspect: Option<ProviderError>,
}

#[async_trait]
impl Provider for Failing {
    fn name(&self) -> &'static str {
        self.inner.name()
    }

    async fn create(
        &self,
        payment: &Payment,
        key: &str,
        deadline: Deadline,
    ) -> Result<Intent, ProviderError> {
        self.inner.create(payment, key, deadline).await
    }

    async fn confirm(
        &self,
        intent: &str,
        order: &Order,
        deadline: Deadline,
    ) -> Result<Intent, ProviderError> {
        match self.confirm {
            Some(failure) => Err(failure),
            None => self.inner.confirm(intent, order, deadline).await,
        }
    }

    async fn inspect(&self, intent: &str, deadline: Deadline) -> Result<Intent, ProviderError> {
        match self.inspect {
            Some(failure) => Err(failure),
            None => self.inner.inspect(intent, deadline).await,
        }
    }

    async fn cancel(&self, intent: &str, deadline: Deadline) -> Result<Intent, ProviderError> {
        self.inner.cancel(intent, deadline).await
    }
}

impl World {
    fn failing(&self, confirm: Option<ProviderError>, inspect: Option<ProviderError>) -> Failing {
        Failing {
            inner: Sandbox::new(self.folder.path()),
            confirm,
            inspect,
        }
    }
}

/// Its intent would wait for a confirmation for ever, and the client for its answer.
#[tokio::test]
async fn a_confirmation_that_is_refused_for_good_fails_the_payment() {
    let world = World::new(false);
    let mut process = world.process(NEVER);
    let refusing = world.failing(Some(ProviderError::Rejected("refused")), None);
    process.provider = Some(std::sync::Arc::new(refusing));

    let answer = process.told(&asked("pm_card_visa")).await;

    assert_eq!(answer.status.as_u16(), 402);
    assert_eq!(world.charges(), 0);
}

/// `payments settle` says which it was: waiting helps only where the provider did not answer.
#[tokio::test]
async fn an_amount_that_no_payment_has_is_not_silence() {
    let world = World::new(false);
    let acting = asked("pm_sandbox_requires_action");
    world.process(NEVER).told(&acting).await;
    let ledger = FileLedger::new(world.folder.path());
    let id = payment::id_of(&world.key());
    let cases = [
        (
            ProviderError::OutcomeUnknown("timeout"),
            ProviderFinding::Unreachable("timeout"),
        ),
        (UNEXPECTED_AMOUNT, ProviderFinding::AmountMismatch),
        (NO_SUCH_INTENT, ProviderFinding::NoSuchIntent),
    ];
    for (failure, expected) in cases {
        let payment = ledger.read(&id, Deadline::UNKNOWN).await;
        let payment = payment.expect("read").expect("a payment");
        let backends = PaymentBackends {
            ledger: &ledger,
            provider: &world.failing(None, Some(failure)),
            anomalies: &world.process(NEVER).anomalies,
        };
        let settled = settle(backends, payment, Purpose::Reconcile, Deadline::UNKNOWN).await;
        assert_eq!(settled.found, expected);
        assert!(settled.payment.state.is_open());
    }
}

/// It was answered as on its way, and its client came again for what was already known.
#[tokio::test]
async fn what_another_attempt_ended_is_answered_though_the_provider_is_silent() {
    let world = World::new(false);
    let acting = asked("pm_sandbox_requires_action");
    world.process(NEVER).told(&acting).await;
    let ledger = FileLedger::new(world.folder.path());
    let id = payment::id_of(&world.key());
    let seen = ledger.read(&id, Deadline::UNKNOWN).await;
    let seen = seen.expect("read").expect("a payment");
    let ended = Change::End(Box::new(seen.ended(&End::Succeeded, Timestamp::EPOCH)));
    let changed = ledger.change(&seen, &ended, Deadline::UNKNOWN).await;
    assert!(matches!(changed, Ok(ChangeResult::Applied(_))));
    let backends = PaymentBackends {
        ledger: &ledger,
        provider: &world.failing(None, Some(ProviderError::OutcomeUnknown("timeout"))),
        anomalies: &world.process(NEVER).anomalies,
    };

    let (key, others) = (world.key(), ConcurrentAttempt::Possible);
    let reached = advance(
        backends,
        seen,
        &key,
        Purpose::Pay,
        others,
        Deadline::UNKNOWN,
    )
    .await;

    assert!(matches!(reached, AttemptOutcome::Ended(ended) if ended.state == State::Succeeded));
}
