//! MongoDB alone: the commands that the engine sends, and lost replies.

use std::time::Duration;

use harness::{FaultProxy, MongoServer};
use shared::deadline::Deadline;
use shared::idempotency::{
    Backend, Blocked, ClaimOutcome, LeaseToken, NoEffect, OwnerId, Resolution, ResolveResult,
    StoreError, WriteResult,
};

use super::stage::{Stage, a_payment, charged, claim, patience, started};

/// The MongoDB command with which the engine writes.
const WRITE: &str = "findAndModify";

/// MongoDB behind a proxy. The driver does not retry writes, so each write at the proxy is a write of the engine.
async fn mongodb_behind_a_proxy() -> (FaultProxy, Stage) {
    let server = MongoServer::shared().await;
    let proxy = FaultProxy::in_front_of(server.address());
    let uri = format!("{}&retryWrites=false", server.uri_through(&proxy));
    let stage = Stage::mongodb().await.with("MONGODB_URI", &uri);
    (proxy, stage)
}

fn writes(proxy: &FaultProxy) -> usize {
    let commands = proxy.mongo_commands();
    let writes = commands.iter().filter(|command| command.name == WRITE);
    writes.count()
}

/// All tries have the same owner. So a later try finds the effect of an earlier try.
#[tokio::test]
async fn an_unanswered_claim_is_sent_three_times() {
    let (proxy, stage) = mongodb_behind_a_proxy().await;
    let (engine, payment, owner) = (stage.engine(), a_payment(), OwnerId::fresh());
    let lease = Duration::from_secs(30);
    let claim = async || {
        let deadline = Deadline::after(Duration::from_secs(4));
        engine.claim_as(owner, lease, &payment, deadline).await
    };
    proxy.lose_replies_to(WRITE, u32::MAX);

    let undecided = claim().await.expect_err("no answer");

    assert!(
        matches!(
            undecided,
            StoreError::Unavailable {
                store: Backend::MongoDb,
                ..
            }
        ),
        "{undecided:?}"
    );
    assert_eq!(writes(&proxy), 3);
    proxy.heal();
    let outcome = claim().await.expect("decided").value;
    let ClaimOutcome::Claimed(lease) = outcome else {
        panic!("{outcome:?}");
    };
    assert_eq!(lease.attempt(), 1);
}

#[tokio::test]
async fn a_claim_whose_first_replies_are_lost_succeeds() {
    let (proxy, stage) = mongodb_behind_a_proxy().await;
    proxy.lose_replies_to(WRITE, 2);

    let lease = started(&stage.engine(), &a_payment()).await;

    assert_eq!(lease.attempt(), 1);
    assert_eq!(writes(&proxy), 3);
}

#[tokio::test]
async fn a_resolution_with_a_lost_reply_succeeds_and_a_second_one_is_refused() {
    let (proxy, stage) = mongodb_behind_a_proxy().await;
    let (engine, payment) = (stage.engine(), a_payment());
    started(&engine, &payment).await.mark_unknown().await;
    let entry = engine.entry(&payment.key, patience()).await;
    let entry = entry.expect("read").expect("there");
    let resolve = async || {
        let completed = Resolution::Completed(charged());
        engine.resolve_entry(&entry, completed, patience()).await
    };
    proxy.reset_counters();
    proxy.lose_replies_to(WRITE, 1);

    assert_eq!(resolve().await, Ok(ResolveResult::Stored));
    assert_eq!(writes(&proxy), 2);

    assert_eq!(resolve().await, Ok(ResolveResult::Refused));
    let outcome = claim(&engine, &payment).await;
    assert!(
        matches!(outcome, ClaimOutcome::Blocked(Blocked::Replay(_))),
        "{outcome:?}"
    );
}

/// Two operators resolve the same record at the same time.
#[tokio::test]
async fn of_two_resolutions_one_succeeds() {
    let (proxy, stage) = mongodb_behind_a_proxy().await;
    let direct = stage
        .clone_settings()
        .with("MONGODB_URI", &MongoServer::shared().await.uri());
    let (slow, quick, payment) = (stage.engine(), direct.new_engine(), a_payment());
    started(&slow, &payment).await.mark_unknown().await;
    let entry = quick.entry(&payment.key, patience()).await;
    let entry = entry.expect("read").expect("there");
    let released = || Resolution::Released(NoEffect::AttemptEnded);

    // The slow engine gets the reply to its read late. So its compare-and-set comes after the
    // compare-and-set of the quick engine.
    proxy.delay(Duration::from_millis(500));
    let (late, ()) = tokio::join!(slow.resolve_entry(&entry, released(), patience()), async {
        tokio::time::sleep(Duration::from_millis(250)).await;
        let resolved = quick.resolve_entry(&entry, released(), patience()).await;
        assert_eq!(resolved, Ok(ResolveResult::Stored));
    });

    assert_eq!(late, Ok(ResolveResult::Refused));
}

/// The caller has no revision, so the engine reads the revision and then writes once.
#[tokio::test]
async fn a_renewal_without_a_revision_writes_once() {
    let (proxy, stage) = mongodb_behind_a_proxy().await;
    let engine = stage.engine();
    let token = LeaseToken {
        rev: None,
        ..started(&engine, &a_payment()).await.token()
    };
    proxy.reset_counters();

    let renewal = engine
        .resume(token, patience())
        .renew(Duration::from_secs(60))
        .await;

    assert!(matches!(renewal, WriteResult::Stored(_)), "{renewal:?}");
    assert_eq!(writes(&proxy), 1);
}
