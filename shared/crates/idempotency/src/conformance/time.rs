//! Laws of the retention, after which a key is free again.

#![expect(missing_docs, reason = "the name of a law states the behaviour")]

use std::time::Duration;

use super::Subject;
use super::payment::{
    Provider, a_payment, a_resumable_payment, answer, charged, claim, patience, started,
};
use super::waiting::eventually;
use crate::{Blocked, ClaimOutcome, Idempotency, Lease, Operation, RunOutcome, WriteResult};

const LIMIT: Duration = Duration::from_secs(10);

fn with_a_short_retention(subject: Subject) -> Subject {
    subject
        .with_retention(Duration::from_secs(1))
        .with_lease(Duration::from_millis(100))
}

pub async fn after_the_retention_the_key_is_free(subject: Subject) {
    let subject = with_a_short_retention(subject);
    let (engine, provider, payment) = (subject.engine(), Provider::default(), a_payment());
    provider.pay(&engine, &payment, charged()).await;
    let end = provider.pay(&engine, &payment, charged()).await;
    assert_eq!(end, RunOutcome::Blocked(Blocked::Replay(charged())));

    eventually(LIMIT, async || {
        let end = provider.pay(&engine, &payment, answer("new")).await;
        end == RunOutcome::Fresh(answer("new"))
    })
    .await;

    assert_eq!(provider.charges(), 2);
    let end = provider.pay(&subject.engine(), &payment, charged()).await;
    assert_eq!(end, RunOutcome::Blocked(Blocked::Replay(answer("new"))));
}

pub async fn a_run_after_the_retention_starts_clean(subject: Subject) {
    let subject = with_a_short_retention(subject);
    let (engine, payment) = (subject.engine(), a_resumable_payment());
    let mut lease = started(&engine, &payment).await;
    lease.checkpoint("old").await;
    tokio::time::sleep(Duration::from_millis(150)).await;
    let second = started(&engine, &payment).await;
    assert_eq!(second.last_checkpoint(), "old");
    second.complete(charged()).await;

    let lease = of_the_next_run(&engine, &payment).await;

    assert!(!lease.took_over() && lease.last_checkpoint().is_empty());
    let entry = engine.entry(&payment.key, patience()).await;
    let entry = entry.expect("read").expect("there");
    assert!(entry.first_seen < Duration::from_millis(900));
}

/// Claims the key repeatedly, until a new attempt starts after the retention. Returns the lease of that attempt.
async fn of_the_next_run(engine: &Idempotency, operation: &Operation) -> Lease {
    let mut next = None;
    eventually(LIMIT, async || {
        if let ClaimOutcome::Claimed(lease) = claim(engine, operation).await {
            next = Some(lease);
        }
        next.is_some()
    })
    .await;
    next.expect("started")
}

pub async fn an_attempt_frozen_past_the_retention_cannot_finish(subject: Subject) {
    let subject = with_a_short_retention(subject);
    let (engine, payment) = (subject.engine(), a_resumable_payment());
    let (frozen, asleep) = (started(&engine, &payment).await, Duration::from_millis(150));
    tokio::time::sleep(asleep).await;
    started(&engine, &payment).await.complete(charged()).await;
    let next = of_the_next_run(&subject.engine(), &payment).await;

    let late = frozen.complete(answer("late")).await;

    assert!(matches!(late, WriteResult::Superseded(_)), "{late:?}");
    assert_eq!(
        next.complete(answer("next")).await,
        WriteResult::Stored(answer("next"))
    );
}

/// A store is allowed to delete the record only after the retention has passed since the last write of the record. It
/// must not delete the record as soon as the lease ends.
pub async fn an_unknown_key_outlasts_its_lease(subject: Subject) {
    let subject = with_a_short_retention(subject);
    let (engine, payment) = (subject.engine(), a_payment());
    started(&engine, &payment).await.mark_unknown().await;

    tokio::time::sleep(Duration::from_millis(600)).await;

    assert!(matches!(
        claim(&engine, &payment).await,
        ClaimOutcome::Blocked(Blocked::Unknown(_))
    ));
}
