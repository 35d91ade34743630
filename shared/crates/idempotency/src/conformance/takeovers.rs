//! Laws of takeovers: when another attempt starts, and what the abandoned attempt may still write.

#![expect(missing_docs, reason = "the name of a law states the behaviour")]

use std::time::Duration;

use futures_util::future::join_all;

use super::Subject;
use super::abandoned::{lease_is_over, overdue, seen_at_work, with_short_leases};
use super::payment::{
    Provider, a_payment, a_resumable_payment, answer, charged, claim, patience, paying, started,
};
use crate::{Blocked, ClaimOutcome, Operation, Policy, RunOutcome, UnknownCause, WriteResult};

pub async fn a_crashed_owner_is_taken_over_under_rerun(subject: Subject) {
    let (dead, payment, elsewhere) = seen_at_work(&subject).await;
    let takeovers = elsewhere.counts().takeover;
    drop(dead);
    lease_is_over(&subject.engine(), &payment).await;

    let lease = started(&elsewhere, &payment).await;

    assert_eq!(lease.attempt(), 2);
    assert!(lease.took_over() && !lease.is_repeated());
    assert_eq!(elsewhere.counts().takeover, takeovers + 1);
}

pub async fn a_crashed_owner_leaves_unknown_under_at_most_once(subject: Subject) {
    let subject = with_short_leases(subject);
    let (engine, payment) = (subject.engine(), a_payment());
    drop(overdue(&engine, &payment).await);

    for engine in [&engine, &subject.engine()] {
        let outcome = claim(engine, &payment).await;
        assert!(
            matches!(
                outcome,
                ClaimOutcome::Blocked(Blocked::Unknown(UnknownCause::Abandoned))
            ),
            "{outcome:?}"
        );
    }
    let other = Operation {
        fingerprint: paying(20),
        ..payment
    };
    assert!(matches!(
        claim(&engine, &other).await,
        ClaimOutcome::Blocked(Blocked::Mismatch)
    ));
}

pub async fn the_stricter_policy_decides(subject: Subject) {
    let subject = with_short_leases(subject);
    let engine = subject.engine();
    let resumable = a_resumable_payment();
    let strict = a_payment();
    drop(overdue(&engine, &resumable).await);
    drop(overdue(&engine, &strict).await);

    let as_strict = resumable.with_policy(Policy::AtMostOnce);
    let as_resumable = strict.with_policy(Policy::RerunAlways);

    assert!(matches!(
        claim(&engine, &as_strict).await,
        ClaimOutcome::Blocked(Blocked::Unknown(_))
    ));
    assert!(matches!(
        claim(&engine, &as_resumable).await,
        ClaimOutcome::Blocked(Blocked::Unknown(_))
    ));
}

pub async fn an_abandoned_attempt_is_taken_over_once(subject: Subject) {
    let subject = with_short_leases(subject);
    let engines = [subject.engine(), subject.engine()];
    let payment = a_resumable_payment();
    drop(overdue(&engines[0], &payment).await);
    drop(started(&engines[1], &a_payment()).await);

    // These claims have a known deadline, so the winner's lease lasts longer than the race.
    let claims = (0..40).map(|caller| engines[caller % 2].claim(&payment, patience()));
    let started = join_all(claims)
        .await
        .into_iter()
        .filter(|claimed| {
            let outcome = &claimed.as_ref().expect("decided").value;
            matches!(outcome, ClaimOutcome::Claimed(_))
        })
        .count();

    assert_eq!(started, 1);
}

pub async fn two_crashes_in_a_row_block_no_later_attempt(subject: Subject) {
    let subject = with_short_leases(subject);
    let (engine, provider, payment) =
        (subject.engine(), Provider::default(), a_resumable_payment());
    drop(overdue(&engine, &payment).await);
    drop(overdue(&subject.engine(), &payment).await);

    let end = provider.pay(&subject.engine(), &payment, charged()).await;

    assert_eq!(end, RunOutcome::Fresh(charged()));
}

pub async fn a_finished_owner_is_not_taken_over(subject: Subject) {
    let (lease, payment, elsewhere) = seen_at_work(&subject).await;
    let left = lease.time_left();
    lease.complete(charged()).await;
    tokio::time::sleep(left).await;

    let ClaimOutcome::Blocked(Blocked::Replay(replayed)) = claim(&elsewhere, &payment).await else {
        panic!("ran again");
    };
    assert_eq!(replayed, charged());
}

pub async fn an_overdue_owner_may_complete_without_a_takeover(subject: Subject) {
    let subject = with_short_leases(subject);
    let (engine, payment) = (subject.engine(), a_payment());
    let stalled = overdue(&engine, &payment).await;
    let elsewhere = subject.engine();
    assert!(matches!(
        claim(&elsewhere, &payment).await,
        ClaimOutcome::Blocked(Blocked::Unknown(_))
    ));

    assert_eq!(
        stalled.complete(charged()).await,
        WriteResult::Stored(charged())
    );

    assert!(matches!(
        claim(&elsewhere, &payment).await,
        ClaimOutcome::Blocked(Blocked::Replay(_))
    ));
}

pub async fn an_attempt_that_was_taken_over_cannot_complete(subject: Subject) {
    let subject = with_short_leases(subject);
    let (engine, payment) = (subject.engine(), a_resumable_payment());
    let stalled = overdue(&engine, &payment).await;
    let second = started(&subject.engine(), &payment).await;
    second.complete(answer("second")).await;

    let late = stalled.complete(answer("first")).await;

    assert_eq!(
        late,
        WriteResult::Superseded(Some(Blocked::Replay(answer("second"))))
    );
    assert_eq!(engine.counts().superseded, 1);
    let ClaimOutcome::Blocked(Blocked::Replay(replayed)) = claim(&subject.engine(), &payment).await
    else {
        panic!("lost");
    };
    assert_eq!(replayed, answer("second"));
}

pub async fn an_attempt_that_was_taken_over_cannot_release(subject: Subject) {
    let subject = with_short_leases(subject);
    let (engine, payment) = (subject.engine(), a_resumable_payment());
    let stalled = overdue(&engine, &payment).await;
    let second = started(&subject.engine(), &payment).await;

    assert!(matches!(
        stalled.release().await,
        WriteResult::Superseded(_)
    ));

    assert_eq!(
        second.complete(charged()).await,
        WriteResult::Stored(charged())
    );
}

/// The first attempt may still charge ten euros. So if the same key allowed a charge of twenty euros, that would be a
/// second payment.
pub async fn a_release_after_a_takeover_does_not_cover_the_first_attempt(subject: Subject) {
    let subject = with_short_leases(subject);
    let (engine, payment) = (subject.engine(), a_resumable_payment());
    drop(overdue(&engine, &payment).await);
    let second = started(&engine, &payment).await;
    assert_eq!(second.release().await, WriteResult::Stored(()));

    let other = Operation {
        fingerprint: paying(20),
        ..payment.clone()
    };
    assert!(matches!(
        claim(&engine, &other).await,
        ClaimOutcome::Blocked(Blocked::Mismatch)
    ));
    let strict = payment.clone().with_policy(Policy::AtMostOnce);
    assert!(matches!(
        claim(&engine, &strict).await,
        ClaimOutcome::Blocked(Blocked::Unknown(_))
    ));
    let third = started(&engine, &payment).await;
    assert!(third.took_over());
    assert_eq!(third.attempt(), 3);
}

pub async fn the_next_attempt_gets_the_checkpoint(subject: Subject) {
    let subject = with_short_leases(subject);
    let (engine, payment) = (subject.engine(), a_resumable_payment());
    let mut lease = started(&engine, &payment).await;
    assert!(lease.last_checkpoint().is_empty());
    assert_eq!(
        lease.checkpoint("intent pi_1").await,
        WriteResult::Stored(())
    );
    assert_eq!(lease.last_checkpoint(), "intent pi_1");
    drop(lease);
    lease_is_over(&engine, &payment).await;

    let mut second = started(&subject.engine(), &payment).await;
    assert_eq!(second.last_checkpoint(), "intent pi_1");
    assert_eq!(
        second.checkpoint("intent pi_1, confirmed").await,
        WriteResult::Stored(())
    );
    assert_eq!(second.release().await, WriteResult::Stored(()));

    let third = started(&subject.engine(), &payment).await;
    assert_eq!(third.last_checkpoint(), "intent pi_1, confirmed");
}

pub async fn a_takeover_needs_a_provider_that_recognises_the_key(subject: Subject) {
    let subject = with_short_leases(subject);
    let engine = subject.engine();
    let within = |ms| Policy::Rerun {
        within: Duration::from_millis(ms),
    };
    let (remembered, forgotten) = (
        a_payment().with_policy(within(60_000)),
        a_payment().with_policy(within(200)),
    );
    drop(overdue(&engine, &remembered).await);
    drop(overdue(&engine, &forgotten).await);

    let mut lease = started(&engine, &remembered).await;
    assert!(lease.may_send());
    assert_eq!(
        lease.renew(Duration::from_secs(120)).await,
        WriteResult::TooLate
    );
    let renewal = lease.renew(Duration::from_secs(20)).await;
    assert!(matches!(renewal, WriteResult::Stored(_)), "{renewal:?}");
    assert!(matches!(
        claim(&engine, &forgotten).await,
        ClaimOutcome::Blocked(Blocked::Unknown(_))
    ));
}
