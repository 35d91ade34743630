//! Laws of claims: which callers run the operation, and what the other callers receive.

#![expect(missing_docs, reason = "the name of a law states the behaviour")]

use std::time::Duration;

use foundation::Deadline;
use futures_util::future::{join, join_all};

use super::Subject;
use super::payment::{
    Provider, a_payment, a_resumable_payment, answer, charged, claim, patience, paying, started,
};
use super::waiting::within;
use crate::{Blocked, ClaimOutcome, Lease, Operation, Progress, RunOutcome, StoreError};

pub async fn another_request_under_the_key_is_refused_and_harms_nothing(subject: Subject) {
    let (engine, provider, payment) = (subject.engine(), Provider::default(), a_payment());
    provider.pay(&engine, &payment, charged()).await;
    let other = Operation {
        fingerprint: paying(20),
        ..payment.clone()
    };

    let elsewhere = subject.engine();
    for engine in [&elsewhere, &engine] {
        assert_eq!(
            provider.pay(engine, &other, charged()).await,
            RunOutcome::Blocked(Blocked::Mismatch)
        );
        let honest = provider.pay(engine, &payment, charged()).await;
        assert_eq!(honest, RunOutcome::Blocked(Blocked::Replay(charged())));
    }
    assert_eq!(provider.charges(), 1);
}

pub async fn another_request_is_refused_while_the_first_one_runs(subject: Subject) {
    let (engine, payment) = (subject.engine(), a_payment());
    let other = Operation {
        fingerprint: paying(20),
        ..payment.clone()
    };
    let lease = started(&engine, &payment).await;
    let before = engine.entry(&payment.key, patience()).await;

    let elsewhere = subject.engine();
    assert!(matches!(
        claim(&elsewhere, &other).await,
        ClaimOutcome::Blocked(Blocked::Mismatch)
    ));
    assert!(matches!(
        claim(&elsewhere, &payment).await,
        ClaimOutcome::Blocked(Blocked::InProgress { .. })
    ));

    let (before, after) = (
        before.expect("read").expect("there"),
        engine.entry(&payment.key, patience()).await,
    );
    let after = after.expect("read").expect("there");
    assert_eq!(
        (before.revision(), before.attempt),
        (after.revision(), after.attempt)
    );
    lease.complete(charged()).await;
    assert!(matches!(
        claim(&elsewhere, &payment).await,
        ClaimOutcome::Blocked(Blocked::Replay(_))
    ));
}

pub async fn of_two_callers_one_runs(subject: Subject) {
    let (engine, payment) = (subject.engine(), a_payment());
    let lease = started(&engine, &payment).await;

    let ClaimOutcome::Blocked(Blocked::InProgress { retry_after }) =
        claim(&subject.engine(), &payment).await
    else {
        panic!("two run");
    };

    assert!(
        retry_after > Duration::from_secs(28) && retry_after <= Duration::from_secs(30),
        "{retry_after:?}"
    );
    lease.complete(charged()).await;
}

pub async fn of_a_hundred_callers_one_runs(subject: Subject) {
    let (provider, payment) = (Provider::default(), a_payment());
    let engines = [subject.engine(), subject.engine()];
    let callers = (0..100).map(|caller| provider.pay(&engines[caller % 2], &payment, charged()));

    let ends = join_all(callers).await;

    assert_eq!(provider.charges(), 1);
    for end in ends {
        match end {
            RunOutcome::Blocked(Blocked::InProgress { .. }) => {}
            RunOutcome::Fresh(response) | RunOutcome::Blocked(Blocked::Replay(response)) => {
                assert_eq!(response, charged())
            }
            other => panic!("{other:?}"),
        }
    }
}

pub async fn a_waiter_gets_the_result(subject: Subject) {
    let (engine, payment) = (subject.engine(), a_payment());
    let lease = started(&engine, &payment).await;
    let elsewhere = subject.engine();
    let owner = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        lease.complete(charged()).await
    };

    let waiting = within(
        Duration::from_secs(5),
        elsewhere.wait_for(&payment, patience()),
    );
    let (_, waited) = join(owner, waiting).await;

    assert_eq!(waited.expect("decided"), Some(Blocked::Replay(charged())));
}

pub async fn a_waiter_gives_up_at_its_limit(subject: Subject) {
    let (engine, payment) = (subject.engine(), a_payment());
    let lease = started(&engine, &payment).await;

    let limit = Deadline::after(Duration::from_millis(400));
    let waiting = subject.engine();
    let waited = within(Duration::from_secs(3), waiting.wait_for(&payment, limit)).await;

    assert!(matches!(
        waited.expect("decided"),
        Some(Blocked::InProgress { .. })
    ));
    lease.complete(charged()).await;
}

/// Tests a wait with many time limits. Some limits leave no time for the last look at the key. On a busy machine, some
/// looks may time out.
pub async fn a_wait_returns_the_last_state_at_every_limit(subject: Subject) {
    let (engine, payment) = (subject.engine(), a_payment());
    let lease = started(&engine, &payment).await;

    let waiting = (1_000..2_200).step_by(60).map(|milliseconds| {
        let limit = Deadline::after(Duration::from_millis(milliseconds));
        engine.wait_for(&payment, limit)
    });
    for waited in join_all(waiting).await {
        let blocked = waited.expect("decided");
        assert!(
            matches!(blocked, Some(Blocked::InProgress { .. })),
            "{blocked:?}"
        );
    }
    let degraded = engine.counts().degraded;
    assert!(
        degraded <= 5,
        "{degraded} of 20 waits ended without a last look"
    );
    lease.complete(charged()).await;
}

pub async fn a_waiter_never_runs_anything(subject: Subject) {
    let subject = subject.with_lease(Duration::from_millis(100));
    let (engine, at_most_once, resumable) = (subject.engine(), a_payment(), a_resumable_payment());
    drop(started(&engine, &at_most_once).await);
    drop(started(&engine, &resumable).await);

    let unknown = engine.wait_for(&at_most_once, patience()).await;
    let free = engine.wait_for(&resumable, patience()).await;

    assert!(matches!(
        unknown.expect("decided"),
        Some(Blocked::Unknown(_))
    ));
    assert_eq!(free.expect("decided"), None);
    let entry = engine.entry(&resumable.key, patience()).await;
    assert_eq!(entry.expect("read").expect("there").attempt, 1);
}

pub async fn one_operation_may_wait_for_another(subject: Subject) {
    let (engine, provider) = (subject.engine(), Provider::default());
    let (outer, inner) = (a_payment(), a_payment());
    for _ in 0..2 {
        let ran = engine
            .run(&outer, patience(), async |_: &mut Lease| {
                provider.pay(&engine, &inner, charged()).await;
                Ok::<_, crate::Failure<()>>(answer("outer"))
            })
            .await;
        let end = ran.expect("decided").value;
        assert!(
            matches!(&end, RunOutcome::Fresh(response) | RunOutcome::Blocked(Blocked::Replay(response)) if *response == answer("outer")),
            "{end:?}"
        );
    }
    let end = provider.pay(&engine, &inner, charged()).await;
    assert_eq!(end, RunOutcome::Blocked(Blocked::Replay(charged())));
    assert_eq!(provider.charges(), 1);
}

pub async fn each_claim_has_the_lease_of_its_own_deadline(subject: Subject) {
    let engine = subject.engine();
    let operations = [a_payment(), a_payment()];
    let claims = [5, 60].map(|seconds| Deadline::after(Duration::from_secs(seconds)));
    let (short, long) = join(
        engine.claim(&operations[0], claims[0]),
        engine.claim(&operations[1], claims[1]),
    )
    .await;

    let left = async |operation: &Operation| {
        let entry = engine.entry(&operation.key, patience()).await;
        match entry.expect("read").expect("there").progress {
            Progress::InProgress { lease_left } => lease_left.as_secs(),
            other => panic!("not in progress: {other:?}"),
        }
    };
    assert!((5..=7).contains(&left(&operations[0]).await));
    assert!((59..=62).contains(&left(&operations[1]).await));
    drop((short, long));
}

pub async fn without_time_nothing_is_claimed(subject: Subject) {
    let (engine, payment) = (subject.engine(), a_payment());
    for left in [Duration::ZERO, Duration::from_millis(50)] {
        let claimed = engine.claim(&payment, Deadline::after(left)).await;
        assert_eq!(claimed.err(), Some(StoreError::TooLate));
    }
    let entry = engine.entry(&payment.key, patience()).await;
    assert_eq!(entry.expect("read"), None);
}
