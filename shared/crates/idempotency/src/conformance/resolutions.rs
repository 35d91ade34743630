//! Laws of resolutions: which record an operator or a caller may settle.

#![expect(missing_docs, reason = "the name of a law states the behaviour")]

use super::Subject;
use super::abandoned::{overdue, with_short_leases};
use super::payment::{
    Provider, a_payment, a_resumable_payment, answer, charged, claim, patience, started,
};
use crate::{
    Blocked, ClaimOutcome, NoEffect, Progress, Resolution, ResolveResult, RunOutcome, WriteResult,
};

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
