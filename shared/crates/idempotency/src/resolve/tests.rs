use http::StatusCode;

use super::*;
use crate::store_time::StoreTime;
use crate::{
    ClaimOutcome, Fingerprint, IdempotencyKey, Lease, NoEffect, Operation, Policy, Request,
    SavedResponse, Scope,
};

fn engine() -> Idempotency {
    Idempotency::in_memory()
}

fn operation(key: &str) -> Operation {
    let key = IdempotencyKey::parse(key).expect("a key");
    let fingerprint = Fingerprint::of(&Request::default()).expect("unambiguous");
    Operation::new(RecordKey::new(&Scope::none(), &key), fingerprint)
}

async fn started(engine: &Idempotency, operation: &Operation) -> Lease {
    let claimed = engine.claim(operation, Deadline::UNKNOWN).await;
    match claimed.expect("decided").value {
        ClaimOutcome::Claimed(lease) => lease,
        other => panic!("claim failed: {other:?}"),
    }
}

/// A key with an unknown outcome, at the revision that an operator has read.
async fn unknown(engine: &Idempotency, operation: &Operation) -> Revision {
    started(engine, operation).await.mark_unknown().await;
    revision(engine, operation).await
}

async fn revision(engine: &Idempotency, operation: &Operation) -> Revision {
    let entry = engine.entry(&operation.key, Deadline::UNKNOWN).await;
    entry.expect("read").expect("there").revision()
}

async fn resolve(
    engine: &Idempotency,
    operation: &Operation,
    seen: Revision,
    resolution: &Resolution,
) -> ResolveOutcome {
    let (key, resolution) = (&operation.key, resolution.clone());
    let resolved = engine.resolve(key, seen, resolution, Deadline::UNKNOWN);
    resolved.await.expect("decided")
}

fn completed(body: &'static str) -> Resolution {
    Resolution::Completed(SavedResponse::new(StatusCode::CREATED, body))
}

fn progress(resolved: ResolveOutcome) -> Option<Progress> {
    match resolved {
        ResolveOutcome::Refused(Lookup::Found(entry)) => Some(entry.progress),
        ResolveOutcome::Stored | ResolveOutcome::Refused(_) => None,
    }
}

#[tokio::test]
async fn a_repeated_resolution_succeeds_and_a_different_one_is_refused() {
    let engine = engine();
    let released = Resolution::Released(NoEffect::AttemptEnded);
    let cases = [
        ("completed", completed("one"), completed("two"), &released),
        (
            "released",
            released.clone(),
            completed("one"),
            &completed("two"),
        ),
    ];
    for (name, resolution, other, another) in cases {
        let payment = operation(name).with_policy(Policy::RerunAlways);
        let seen = unknown(&engine, &payment).await;
        for _ in 0..2 {
            let resolved = resolve(&engine, &payment, seen, &resolution).await;
            assert_eq!(resolved, ResolveOutcome::Stored, "{name}");
        }
        for other in [&other, another] {
            let refused = resolve(&engine, &payment, seen, other).await;
            assert!(progress(refused).is_some(), "{name}: {other:?}");
        }
    }
}

#[tokio::test]
async fn only_the_seen_record_without_a_running_attempt_is_resolved() {
    let engine = engine();
    let running = operation("running");
    let _lease = started(&engine, &running).await;
    let seen = revision(&engine, &running).await;
    let refused = resolve(&engine, &running, seen, &completed("one")).await;
    assert!(matches!(
        progress(refused),
        Some(Progress::InProgress { .. })
    ));

    let stuck = operation("stuck");
    unknown(&engine, &stuck).await;
    let refused = resolve(&engine, &stuck, seen, &completed("one")).await;
    assert_eq!(progress(refused), Some(Progress::Unknown));
    let seen_now = revision(&engine, &stuck).await;
    let refused = resolve(&engine, &stuck, seen_now, &Resolution::Reopened).await;
    assert_eq!(progress(refused), Some(Progress::Unknown), "at most once");

    let absent = operation("absent");
    let refused = resolve(&engine, &absent, seen, &completed("one")).await;
    assert_eq!(refused, ResolveOutcome::Refused(Lookup::Absent));
}

#[tokio::test]
async fn a_finished_record_is_absent_after_its_retention() {
    let (engine, payment) = (engine(), operation("k"));
    started(&engine, &payment).await.release().await;
    let found = engine.engine.store.read(&payment.key, Deadline::UNKNOWN);
    let Found::Record(record, _) = found.await.expect("read") else {
        panic!("absent");
    };
    let end = record.finished_at().expect("released").as_ms() + 86_400_000;
    let lookup = |ms| {
        let found = Found::Record(record.clone(), StoreTime::from_ms(ms));
        engine.lookup_of(&payment.key, found)
    };
    assert!(matches!(lookup(end - 1), Lookup::Found(_)));
    assert_eq!(lookup(end), Lookup::Absent);
}

#[tokio::test]
async fn all_keys_and_unfinished_keys_can_be_listed() {
    let (engine, finished, stuck) = (engine(), operation("a"), operation("b"));
    started(&engine, &finished).await.release().await;
    unknown(&engine, &stuck).await;

    let keys = engine.keys(10, Deadline::UNKNOWN).await;
    assert_eq!(keys, Ok(vec![finished.key, stuck.key.clone()]));
    let mut pages = engine.unfinished(RecordKey::PREFIX);
    let unfinished = pages.next_page(Deadline::UNKNOWN).await;
    let unfinished = unfinished.expect("read").expect("a page");
    let [(key, Lookup::Found(entry))] = unfinished.as_slice() else {
        panic!("{unfinished:?}");
    };
    assert_eq!((key, &entry.progress), (&stuck.key, &Progress::Unknown));
    let rest = pages.next_page(Deadline::UNKNOWN).await;
    assert_eq!(rest, Ok(None));
}
