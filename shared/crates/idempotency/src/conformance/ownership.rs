//! Laws of ownership: which attempts may finish, take over, or be resolved.

#![expect(missing_docs, reason = "the name of a law states the behaviour")]

use std::time::Duration;

use foundation::Deadline;
use futures_util::future::join_all;

use super::Subject;
use super::payment::{
    Provider, a_payment, a_resumable_payment, answer, charged, claim, patience, paying, started,
};
use super::waiting::eventually;
use crate::{
    Blocked, ClaimOutcome, Failure, Idempotency, Lease, LeaseToken, NoEffect, Operation, OwnerId,
    Policy, Progress, Resolution, ResolveResult, RunOutcome, UnknownCause, WriteResult,
};

/// The length of a lease whose attempt is abandoned. It is short, so that the lease ends soon.
const SHORT_LEASE: Duration = Duration::from_millis(150);
const LIMIT: Duration = Duration::from_secs(10);

fn with_short_leases(subject: Subject) -> Subject {
    subject.with_lease(SHORT_LEASE)
}

async fn lease_is_over(engine: &Idempotency, operation: &Operation) {
    eventually(LIMIT, async || {
        let entry = engine.entry(&operation.key, patience()).await;
        !matches!(
            entry.expect("read").expect("there").progress,
            Progress::InProgress { .. }
        )
    })
    .await;
}

/// A lease that another caller has seen while it was running. Tries longer and longer leases, until the other caller's
/// claim arrives before the lease ends. Returns the lease, the operation, and the other caller's engine.
async fn seen_at_work(subject: &Subject) -> (Lease, Operation, Idempotency) {
    for milliseconds in [150, 600, 2_400, 9_600] {
        let (engine, elsewhere) = (subject.engine(), subject.engine());
        let (payment, lease) = (a_resumable_payment(), Duration::from_millis(milliseconds));
        let held = claim_as(&engine, OwnerId::fresh(), lease, &payment).await;
        match claim(&elsewhere, &payment).await {
            ClaimOutcome::Blocked(Blocked::InProgress { .. }) => {
                return (lease_of(held), payment, elsewhere);
            }
            ClaimOutcome::Claimed(later) => assert!(later.took_over(), "{later:?}"),
            other => panic!("{other:?}"),
        }
    }
    panic!("no caller asked in time");
}

/// A lease that is over. Its owner may still write.
async fn overdue(engine: &Idempotency, operation: &Operation) -> Lease {
    let lease = started(engine, operation).await;
    lease_is_over(engine, operation).await;
    // The memory as a cache in front of Redis has a clock of its own, so a claim can see the end of the lease later.
    let waited = engine.wait_for(operation, Deadline::after(LIMIT)).await;
    let blocked = waited.expect("read");
    assert!(
        !matches!(blocked, Some(Blocked::InProgress { .. })),
        "{blocked:?}"
    );
    lease
}

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

/// The first attempt may still charge ten euros, so a charge of twenty euros under the same key would be a second
/// payment.
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

    // If the store has not acknowledged in time that the outcome is unknown, the outcome becomes unknown when the lease
    // ends.
    let elsewhere = subject.engine();
    eventually(LIMIT, async || match claim(&elsewhere, &payment).await {
        ClaimOutcome::Blocked(Blocked::InProgress { .. }) => false,
        ClaimOutcome::Blocked(Blocked::Unknown(_)) => true,
        other => panic!("ran again: {other:?}"),
    })
    .await;
}

/// A payment whose work started but did not end in time. Tries longer and longer deadlines, until this machine starts
/// the work before the deadline.
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

/// Without a known deadline, the lease limits the work. Tries longer and longer leases, until this machine renews the
/// lease before it ends.
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

pub async fn a_resolved_result_is_replayed_to_every_caller(subject: Subject) {
    let subject = with_short_leases(subject);
    let (engine, payment) = (subject.engine(), a_payment());
    let frozen = overdue(&engine, &payment).await;
    let elsewhere = subject.engine();
    let entry = elsewhere.entry(&payment.key, patience()).await;
    let entry = entry.expect("read").expect("there");

    let resolved = elsewhere
        .resolve_entry(&entry, Resolution::Completed(charged()), patience())
        .await;

    assert_eq!(resolved, Ok(ResolveResult::Stored));
    for engine in [&engine, &elsewhere] {
        let ClaimOutcome::Blocked(Blocked::Replay(replayed)) = claim(engine, &payment).await else {
            panic!("not resolved");
        };
        assert_eq!(replayed, charged());
    }
    assert_eq!(
        frozen.complete(answer("frozen")).await,
        WriteResult::Superseded(Some(Blocked::Replay(charged())))
    );
}

pub async fn a_resolution_supersedes_the_owner(subject: Subject) {
    let subject = with_short_leases(subject);
    let (engine, payment) = (subject.engine(), a_payment());
    let frozen = overdue(&engine, &payment).await;
    let entry = engine.entry(&payment.key, patience()).await;
    let entry = entry.expect("read").expect("there");
    let fenced = Resolution::Released(NoEffect::FencedByProvider);
    assert_eq!(
        engine.resolve_entry(&entry, fenced, patience()).await,
        Ok(ResolveResult::Stored)
    );
    let next = started(&subject.engine(), &payment).await;

    let late = frozen.complete(answer("frozen")).await;

    assert!(
        matches!(late, WriteResult::Superseded(_)),
        "the frozen attempt has overwritten its successor: {late:?}"
    );
    assert_eq!(
        next.complete(charged()).await,
        WriteResult::Stored(charged())
    );
}

pub async fn nothing_is_released_over_a_running_lease(subject: Subject) {
    let (engine, payment) = (subject.engine(), a_payment());
    let lease = started(&engine, &payment).await;
    let entry = engine.entry(&payment.key, patience()).await;
    let entry = entry.expect("read").expect("there");

    let fenced = Resolution::Released(NoEffect::FencedByProvider);
    let resolved = engine.resolve_entry(&entry, fenced, patience()).await;

    assert_eq!(resolved, Ok(ResolveResult::Refused));
    assert_eq!(
        lease.complete(charged()).await,
        WriteResult::Stored(charged())
    );
}

pub async fn a_resolution_applies_only_to_the_seen_record(subject: Subject) {
    let subject = with_short_leases(subject);
    let (engine, payment) = (subject.engine(), a_resumable_payment());
    drop(overdue(&engine, &payment).await);
    let seen = engine.entry(&payment.key, patience()).await;
    let seen = seen.expect("read").expect("there");
    let second = started(&engine, &payment).await;

    let resolved = engine
        .resolve_entry(&seen, Resolution::Completed(answer("stale")), patience())
        .await;

    assert_eq!(resolved, Ok(ResolveResult::Refused));
    assert_eq!(
        second.complete(charged()).await,
        WriteResult::Stored(charged())
    );
}

pub async fn a_completed_key_cannot_be_resolved(subject: Subject) {
    let (engine, provider, payment) = (subject.engine(), Provider::default(), a_payment());
    provider.pay(&engine, &payment, charged()).await;
    let entry = engine.entry(&payment.key, patience()).await;
    let entry = entry.expect("read").expect("there");
    assert_eq!(entry.progress, Progress::Completed(charged()));

    let another = Resolution::Completed(answer("another"));
    let resolved = engine.resolve_entry(&entry, another, patience()).await;

    assert_eq!(resolved, Ok(ResolveResult::Refused));
    let end = provider.pay(&engine, &payment, charged()).await;
    assert_eq!(end, RunOutcome::Blocked(Blocked::Replay(charged())));
}

pub async fn the_derived_key_is_the_same_for_every_attempt(subject: Subject) {
    let subject = with_short_leases(subject);
    let (engine, payment) = (subject.engine(), a_resumable_payment());
    let first = started(&engine, &payment).await;
    lease_is_over(&engine, &payment).await;
    let second = started(&subject.engine(), &payment).await;

    assert_eq!(first.derived_key(), second.derived_key());
    assert_ne!(
        started(&engine, &a_payment()).await.derived_key(),
        first.derived_key()
    );
}

const MINUTE: Duration = Duration::from_secs(60);

/// The outcome of a claim with this owner and a lease of this length.
async fn claim_as(
    engine: &Idempotency,
    owner: OwnerId,
    lease: Duration,
    operation: &Operation,
) -> ClaimOutcome<Lease> {
    let claimed = engine.claim_as(owner, lease, operation, patience()).await;
    claimed.expect("decided").value
}

fn lease_of(outcome: ClaimOutcome<Lease>) -> Lease {
    match outcome {
        ClaimOutcome::Claimed(lease) => lease,
        other => panic!("claim failed: {other:?}"),
    }
}

pub async fn an_attempt_continues_in_another_process(subject: Subject) {
    let (engine, payment) = (subject.engine(), a_payment());
    let owner = OwnerId::fresh();
    let mut token = lease_of(claim_as(&engine, owner, MINUTE, &payment).await).token();

    let resume_with = |token: &LeaseToken| subject.engine().resume(token.clone(), patience());
    let mut elsewhere = resume_with(&token);
    assert_eq!(
        elsewhere.checkpoint("charging").await,
        WriteResult::Stored(())
    );
    let outdated = resume_with(&token).renew(MINUTE).await;
    assert!(
        matches!(outdated, WriteResult::Outdated(_)),
        "it follows another write"
    );
    token = elsewhere.token();
    let renewal = resume_with(&token).renew(MINUTE).await;
    assert!(matches!(renewal, WriteResult::Stored(_)), "{renewal:?}");
    token.rev = None;
    let renewal = resume_with(&token).renew(MINUTE).await;
    assert!(matches!(renewal, WriteResult::Stored(_)), "{renewal:?}");
    let resume = || resume_with(&token);
    let completed = resume().complete(charged()).await;
    assert_eq!(completed, WriteResult::Stored(charged()));
    let another = resume().complete(answer("another")).await;
    assert_eq!(another, WriteResult::Stored(charged()));
    let superseded = WriteResult::Superseded(Some(Blocked::Replay(charged())));
    assert_eq!(resume().release().await, superseded);
}

pub async fn a_repeated_claim_has_what_is_left_of_its_lease(subject: Subject) {
    let (engine, payment) = (subject.engine(), a_payment());
    let owner = OwnerId::fresh();
    let first = lease_of(claim_as(&engine, owner, MINUTE, &payment).await);
    assert!(!first.is_repeated());
    assert!(first.lasts() <= MINUTE && first.lasts() > MINUTE / 2);
    let short = Duration::from_millis(1);
    let renewed = engine.resume(first.token(), patience()).renew(short).await;
    assert!(matches!(renewed, WriteResult::Stored(_)), "{renewed:?}");
    lease_is_over(&engine, &payment).await;

    let again = lease_of(claim_as(&subject.engine(), owner, MINUTE, &payment).await);

    assert!(again.is_repeated() && again.attempt() == 1);
    assert_eq!(again.lasts(), Duration::ZERO);
}

pub async fn an_owner_that_is_used_for_two_requests_is_refused(subject: Subject) {
    let (engine, payment) = (subject.engine(), a_payment());
    let owner = OwnerId::fresh();
    lease_of(claim_as(&engine, owner, MINUTE, &payment).await);

    let other = Operation {
        fingerprint: paying(20),
        ..payment
    };
    let outcome = claim_as(&subject.engine(), owner, MINUTE, &other).await;

    assert!(
        matches!(outcome, ClaimOutcome::Blocked(Blocked::Mismatch)),
        "{outcome:?}"
    );
}
