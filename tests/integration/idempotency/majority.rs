//! Every operation of the engine uses MongoDB's majority read and write concerns.

use std::time::Duration;

use harness::eventually;
use shared::deadline::Deadline;
use shared::idempotency::{
    Blocked, ClaimOutcome, Entry, Idempotency, Lookup, NoEffect, Operation, Policy, Progress,
    RecordKey, Resolution, ResolveOutcome, ResolveResult, WriteResult,
};

use super::stage::{Stage, a_payment, a_resumable_payment, charged, claim, patience, started};
use crate::majority::Wire;

const WRITE: &str = "findAndModify";
const READ: &str = "aggregate";

#[tokio::test]
async fn each_write_of_a_lease_holder_waits_for_the_majority() {
    for wire in Wire::all().await {
        let stage = Stage::mongodb().await.with("MONGODB_URI", &wire.uri);
        let (engine, payment) = (stage.engine(), a_payment());
        let prepared = wire.sends(&["createIndexes"], engine.prepare(patience()));
        prepared.await.expect("prepared");

        let mut lease = wire.sends(&[WRITE], started(&engine, &payment)).await;
        let renewed = wire.sends(&[WRITE], lease.renew(Duration::from_secs(20)));
        assert!(matches!(renewed.await, WriteResult::Stored(_)));
        let noted = wire.sends(&[WRITE], lease.checkpoint("a note")).await;
        assert_eq!(noted, WriteResult::Stored(()));
        let released = wire.sends(&[WRITE], lease.release()).await;
        assert_eq!(released, WriteResult::Stored(()));

        let again = started(&engine, &payment);
        let lease = wire.sends(&[WRITE, READ], again).await;
        let completed = wire.sends(&[WRITE], lease.complete(charged())).await;
        assert_eq!(completed, WriteResult::Stored(charged()));

        let lease = started(&engine, &a_payment()).await;
        let marked = wire.sends(&[WRITE], lease.mark_unknown()).await;
        assert_eq!(marked, WriteResult::Stored(()));
    }
}

#[tokio::test]
async fn each_decision_is_read_from_the_majority() {
    for wire in Wire::all().await {
        let stage = Stage::mongodb().await.with("MONGODB_URI", &wire.uri);
        let (engine, payment) = (stage.engine(), a_payment());
        let lease = started(&engine, &payment).await;

        let waiting = engine.wait_for(&payment, Deadline::after(Duration::from_millis(300)));
        let blocked = wire.sends(&[READ], waiting).await.expect("read");
        assert!(matches!(blocked, Some(Blocked::InProgress { .. })));
        let looking = engine.look_up(&payment.key, patience());
        let found = wire.sends(&[READ], looking).await.expect("read");
        assert!(matches!(found, Lookup::Found(_)));
        let mut pages = engine.unfinished(RecordKey::PREFIX);
        let listing = pages.next_page(patience());
        let unfinished = wire.sends(&[READ], listing).await.expect("read");
        assert_eq!(unfinished.expect("a page").len(), 1);
        let listing = engine.keys(10, patience());
        let keys = wire.sends(&["find"], listing).await.expect("read");
        assert_eq!(keys, std::slice::from_ref(&payment.key));

        lease.complete(charged()).await;
        let repeated = claim(&engine, &payment);
        let outcome = wire.sends(&[WRITE, READ], repeated).await;
        assert!(matches!(outcome, ClaimOutcome::Blocked(Blocked::Replay(_))));
    }
}

#[tokio::test]
async fn takeovers_and_resolutions_wait_for_the_majority() {
    for wire in Wire::all().await {
        let stage = Stage::mongodb()
            .await
            .with("MONGODB_URI", &wire.uri)
            .with("IDEMPOTENCY_LEASE_MS", "100");
        let engine = stage.engine();

        let (resumable, _) = abandoned(&engine, a_resumable_payment()).await;
        let takeover = started(&engine, &resumable);
        let lease = wire.sends(&[WRITE, READ], takeover).await;
        assert!(lease.took_over());

        let (_, entry) = abandoned(&engine, a_payment()).await;
        let released = Resolution::Released(NoEffect::FencedByProvider);
        let resolving = engine.resolve_entry(&entry, released, patience());
        assert_eq!(
            wire.sends(&[WRITE, READ], resolving).await,
            Ok(ResolveResult::Stored)
        );

        let (_, entry) = abandoned(&engine, a_resumable_payment()).await;
        assert_eq!(entry.policy, Policy::RerunAlways);
        let resolving = engine.resolve_entry(&entry, Resolution::Reopened, patience());
        assert_eq!(
            wire.sends(&[WRITE, READ], resolving).await,
            Ok(ResolveResult::Stored)
        );

        let (payment, entry) = abandoned(&engine, a_payment()).await;
        let completed = Resolution::Completed(charged());
        let resolving = engine.resolve(&payment.key, entry.revision(), completed, patience());
        let resolved = wire.sends(&[WRITE, READ], resolving).await;
        assert_eq!(resolved, Ok(ResolveOutcome::Stored));
    }
}

/// Claims an operation, and waits until the lease is over. Returns the operation and its entry.
async fn abandoned(engine: &Idempotency, operation: Operation) -> (Operation, Entry) {
    drop(started(engine, &operation).await);
    let mut abandoned = None;
    eventually(Duration::from_secs(10), async || {
        let entry = engine.entry(&operation.key, patience()).await;
        let entry = entry.expect("read").expect("there");
        let is_over = !matches!(entry.progress, Progress::InProgress { .. });
        abandoned = Some(entry);
        is_over
    })
    .await;
    (operation, abandoned.expect("read"))
}
