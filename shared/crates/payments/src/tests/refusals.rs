//! Payments at a provider that rejects requests or does not answer.

use async_trait::async_trait;
use foundation::Deadline;

use super::{NEVER, World, request, service};
use crate::finding::ProviderFinding;
use crate::ledger::{Change, ChangeResult, FileLedger, Ledger};
use crate::provider::{
    Intent, NO_SUCH_INTENT, Provider, ProviderError, Sandbox, UNEXPECTED_AMOUNT,
};
use crate::service::PaymentService;
use crate::steps::{Attempt, AttemptOutcome, ConcurrentAttempt, Purpose};
use crate::{End, Order, Payment, State, Timestamp, payment};

/// A provider that answers confirmations or inspections with these errors.
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
            Some(error) => Err(error),
            None => self.inner.confirm(intent, order, deadline).await,
        }
    }

    async fn inspect(&self, intent: &str, deadline: Deadline) -> Result<Intent, ProviderError> {
        match self.inspect {
            Some(error) => Err(error),
            None => self.inner.inspect(intent, deadline).await,
        }
    }

    async fn cancel(&self, intent: &str, deadline: Deadline) -> Result<Intent, ProviderError> {
        self.inner.cancel(intent, deadline).await
    }
}

impl World {
    fn attempt<'a>(&self, service: &'a PaymentService, purpose: Purpose) -> Attempt<'a> {
        Attempt::new(
            service,
            purpose,
            ConcurrentAttempt::Possible,
            Deadline::UNKNOWN,
        )
    }

    fn failing(&self, confirm: Option<ProviderError>, inspect: Option<ProviderError>) -> Failing {
        Failing {
            inner: Sandbox::new(self.folder.path()),
            confirm,
            inspect,
        }
    }
}

/// If the payment stayed open, the intent would never be confirmed or cancelled, and the client would never get a final
/// answer.
#[tokio::test]
async fn a_payment_fails_if_the_provider_rejects_its_confirmation() {
    let world = World::new(false);
    let rejecting = world.failing(Some(ProviderError::Rejected("refused")), None);

    let process = world.process_with(rejecting);
    let answer = process.answer(&request("pm_card_visa")).await;

    assert_eq!(answer.status.as_u16(), 402);
    assert_eq!(world.charges(), 0);
}

/// The operator must be able to distinguish these errors, because waiting helps only if the provider did not answer.
#[tokio::test]
async fn an_amount_mismatch_differs_from_an_unreachable_provider() {
    let world = World::new(false);
    let acting = request("pm_sandbox_requires_action");
    world.process(NEVER).answer(&acting).await;
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
    for (error, expected) in cases {
        let payment = ledger.read(&id, Deadline::UNKNOWN).await;
        let payment = payment.expect("read").expect("a payment");
        let service = service(
            FileLedger::new(world.folder.path()),
            world.failing(None, Some(error)),
        );
        let reconciled = world
            .attempt(&service, Purpose::Reconcile)
            .reconcile(payment);
        let reconciled = reconciled.await;
        assert_eq!(reconciled.finding, expected);
        assert!(reconciled.payment.state.is_open());
    }
}

/// Regression: an attempt answered a payment as pending, although the ledger already had the
/// payment's final state.
#[tokio::test]
async fn a_payment_that_another_attempt_ended_is_answered_without_the_provider() {
    let world = World::new(false);
    let acting = request("pm_sandbox_requires_action");
    world.process(NEVER).answer(&acting).await;
    let ledger = FileLedger::new(world.folder.path());
    let id = payment::id_of(&world.key());
    let seen = ledger.read(&id, Deadline::UNKNOWN).await;
    let seen = seen.expect("read").expect("a payment");
    let ended = Change::End(Box::new(seen.ended(&End::Succeeded, Timestamp::EPOCH)));
    let changed = ledger.change(&seen, &ended, Deadline::UNKNOWN).await;
    assert!(matches!(changed, Ok(ChangeResult::Applied(_))));
    let silent = world.failing(None, Some(ProviderError::OutcomeUnknown("timeout")));
    let service = service(FileLedger::new(world.folder.path()), silent);
    let attempt = world.attempt(&service, Purpose::Pay);

    let outcome = attempt.pay(seen, &world.key()).await;

    assert!(matches!(outcome, AttemptOutcome::Ended(ended) if ended.state == State::Succeeded));
}
