//! Laws about work that fails, does not end in time, or renews its lease.

#![expect(missing_docs, reason = "the name of a law states the behaviour")]

use std::time::Duration;

use foundation::Deadline;

use super::Subject;
use super::abandoned::{LIMIT, with_short_leases};
use super::payment::{a_payment, a_resumable_payment, charged, claim, patience, started};
use super::waiting::eventually;
use crate::{
    Blocked, ClaimOutcome, Failure, Idempotency, Lease, Operation, RunOutcome, UnknownCause,
    WriteResult,
};

pub async fn a_release_lets_the_next_one_run(subject: Subject) {
    let (engine, payment) = (subject.engine(), a_payment());
    assert_eq!(
        started(&engine, &payment).await.release().await,
        WriteResult::Stored(())
    );

    let lease = started(&subject.engine(), &payment).await;

    assert_eq!(lease.attempt(), 2);
    assert!(!lease.took_over());
    assert_eq!(
        lease.complete(charged()).await,
        WriteResult::Stored(charged())
    );
}

pub async fn the_caller_receives_the_failure_of_its_work(subject: Subject) {
    let (engine, payment) = (subject.engine(), a_payment());
    let ran = engine
        .run(&payment, patience(), async |_: &mut Lease| {
            Err(Failure::NothingHappened("no route"))
        })
        .await;

    assert_eq!(
        ran.expect("decided").value,
        RunOutcome::NothingHappened("no route")
    );
    drop(started(&engine, &payment).await);
}

pub async fn a_failure_with_possible_effect_leaves_unknown(subject: Subject) {
    let (engine, payment) = (subject.engine(), a_payment());
    let ran = engine
        .run(&payment, patience(), async |_: &mut Lease| {
            Err(Failure::MayHaveHappened("time-out"))
        })
        .await;

    assert_eq!(
        ran.expect("decided").value,
        RunOutcome::MayHaveHappened("time-out")
    );
    assert_eq!(engine.counts().unknown, 1, "counted for the alarm");
    let outcome = claim(&subject.engine(), &payment).await;
    assert!(
        matches!(
            outcome,
            ClaimOutcome::Blocked(Blocked::Unknown(UnknownCause::Abandoned))
        ),
        "{outcome:?}"
    );
}

pub async fn work_that_overruns_leaves_unknown(subject: Subject) {
    let payment = overrun(&subject.engine()).await;

    // The store may not have acknowledged in time that the outcome is unknown. Then the outcome becomes unknown when
    // the lease ends.
    let elsewhere = subject.engine();
    eventually(LIMIT, async || match claim(&elsewhere, &payment).await {
        ClaimOutcome::Blocked(Blocked::InProgress { .. }) => false,
        ClaimOutcome::Blocked(Blocked::Unknown(_)) => true,
        other => panic!("ran again: {other:?}"),
    })
    .await;
}

/// Runs a payment whose work starts but does not end in time. Tries longer and longer deadlines, until this machine
/// starts the work before the deadline.
async fn overrun(engine: &Idempotency) -> Operation {
    for seconds in [1, 2, 4, 8, 16] {
        let (payment, mut began) = (a_payment(), false);
        let deadline = Deadline::after(Duration::from_secs(seconds));
        let ran = engine
            .run(&payment, deadline, async |_: &mut Lease| {
                began = true;
                std::future::pending::<()>().await;
                Err(Failure::NothingHappened(()))
            })
            .await;
        if began {
            assert_eq!(ran.expect("decided").value, RunOutcome::Overran);
            return payment;
        }
    }
    panic!("the work never started");
}

/// Without a known deadline, only the end of the lease limits the time for the work. This test tries longer and longer
/// leases, until this machine renews a lease before that lease ends.
pub async fn work_that_renews_its_lease_continues(mut subject: Subject) {
    for milliseconds in [500, 1_000, 2_000, 4_000, 8_000] {
        subject = subject.with_lease(Duration::from_millis(milliseconds));
        let (engine, mut renewed) = (subject.engine(), false);
        let ran = engine
            .run(
                &a_payment(),
                Deadline::UNKNOWN,
                async |lease: &mut Lease| {
                    lease.renew(Duration::from_secs(60)).await;
                    renewed = true;
                    tokio::time::sleep(Duration::from_millis(milliseconds + 200)).await;
                    Ok::<_, Failure<()>>(charged())
                },
            )
            .await;
        if renewed {
            assert_eq!(ran.expect("decided").value, RunOutcome::Fresh(charged()));
            return;
        }
    }
    panic!("no lease was renewed in its time");
}

pub async fn a_renewed_lease_lasts(subject: Subject) {
    let subject = with_short_leases(subject);
    let (engine, payment) = (subject.engine(), a_resumable_payment());
    let mut lease = started(&engine, &payment).await;

    let renewal = lease.renew(Duration::from_secs(60)).await;

    assert!(matches!(renewal, WriteResult::Stored(_)), "{renewal:?}");
    assert!(lease.time_left() > Duration::from_secs(50));
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(matches!(
        claim(&subject.engine(), &payment).await,
        ClaimOutcome::Blocked(Blocked::InProgress { .. })
    ));
    assert_eq!(
        lease.complete(charged()).await,
        WriteResult::Stored(charged())
    );
}
