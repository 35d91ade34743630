//! The memory store: alone, in front of Redis, and when it is full.

use std::time::Duration;

use harness::{FaultProxy, RedisServer, eventually};
use shared::deadline::Deadline;
use shared::idempotency::{
    Authority, Backend, Blocked, ClaimOutcome, Failure, Idempotency, Lease, LeaseToken, NoEffect,
    Operation, Policy, Progress, Resolution, ResolveResult, RunOutcome, SavedBody, StoreError,
    WriteResult,
};

use super::stage::{
    Provider, Stage, a_payment, a_resumable_payment, answer, charged, claim, patience, started,
};

#[tokio::test]
async fn a_full_memory_refuses_claims_and_keeps_its_records() {
    let stage = Stage::memory()
        .await
        .with("IDEMPOTENCY_MEMORY_ENTRIES", "2");
    let (engine, provider) = (stage.engine(), Provider::default());
    let kept = [a_payment(), a_payment()];
    for payment in &kept {
        provider.pay(&engine, payment, charged()).await;
    }

    let claimed = engine.claim(&a_payment(), patience()).await;

    assert_eq!(claimed.err(), Some(StoreError::Full));
    for payment in &kept {
        let end = provider.pay(&engine, payment, charged()).await;
        assert_eq!(end, RunOutcome::Blocked(Blocked::Replay(charged())));
    }
}

#[tokio::test]
async fn a_full_memory_evicts_expired_records() {
    let stage = Stage::memory()
        .await
        .with("IDEMPOTENCY_MEMORY_ENTRIES", "1")
        .with("IDEMPOTENCY_TTL_SECONDS", "1");
    let (engine, provider) = (stage.engine(), Provider::default());
    provider.pay(&engine, &a_payment(), charged()).await;

    let next = a_payment();
    eventually(Duration::from_secs(5), async || {
        engine.claim(&next, patience()).await.is_ok()
    })
    .await;
}

#[tokio::test]
async fn a_full_memory_stores_a_result_as_a_summary() {
    let stage = Stage::memory()
        .await
        .with("IDEMPOTENCY_MEMORY_BYTES", "2000");
    let (engine, provider, payment) = (stage.engine(), Provider::default(), a_payment());
    let end = provider
        .pay(&engine, &payment, answer(vec![b'x'; 4_000]))
        .await;
    assert!(matches!(end, RunOutcome::Fresh(_)));

    let ClaimOutcome::Blocked(Blocked::Replay(replayed)) = claim(&engine, &payment).await else {
        panic!("the claim does not replay the result");
    };

    assert!(matches!(
        replayed.body,
        SavedBody::Summary { length: 4_000, .. }
    ));
}

#[tokio::test]
async fn memory_never_decides_outside_development() {
    let production = Stage::memory().await.with("ENVIRONMENT", "production");
    let engine = production.engine();

    assert_eq!(engine.authority(), Authority::NoStore);
    let claimed = engine.claim(&a_payment(), patience()).await;
    assert_eq!(claimed.err(), Some(StoreError::NoStore));
}

/// A Redis server, a proxy that can make the server unreachable, and a stage whose engines use the proxy. Each engine
/// has its own memory in front of Redis.
async fn redis_behind_a_proxy() -> (RedisServer, FaultProxy, Stage) {
    let redis = RedisServer::start().await;
    let proxy = FaultProxy::in_front_of(redis.address());
    let stage = Stage::memory()
        .await
        .with("REDIS_URL", &redis.url_through(&proxy));
    (redis, proxy, stage)
}

/// The process runs the operation of each key only once. This is true for requests before, during and after an outage
/// of Redis. For each run, the process reports the authoritative store.
#[tokio::test]
async fn a_process_runs_a_key_once_despite_an_outage_of_redis() {
    let (_redis, proxy, stage) = redis_behind_a_proxy().await;
    let (engine, provider) = (stage.new_engine(), Provider::default());
    assert_eq!(engine.authority(), Authority::RedisBehindMemory);
    let [before, during, across] = std::array::from_fn(|_| a_payment());
    let pay = async |payment: &Operation| {
        let work = async |_: &mut Lease| -> Result<_, Failure<()>> {
            provider.charge();
            Ok(charged())
        };
        let ran = engine
            .run(payment, patience(), work)
            .await
            .expect("decided");
        (ran.value, ran.degraded_to)
    };
    assert_eq!(pay(&before).await, (RunOutcome::Fresh(charged()), None));
    let held = started(&engine, &across).await;

    proxy.refuse();
    let degraded_to = Some(Backend::Memory);
    assert_eq!(
        pay(&during).await,
        (RunOutcome::Fresh(charged()), degraded_to)
    );
    assert_eq!(
        pay(&during).await.0,
        RunOutcome::Blocked(Blocked::Replay(charged()))
    );
    assert_eq!(
        pay(&before).await.0,
        RunOutcome::Blocked(Blocked::Replay(charged()))
    );
    assert!(matches!(
        claim(&engine, &across).await,
        ClaimOutcome::Blocked(Blocked::InProgress { .. })
    ));
    assert!(engine.counts().degraded > 0);

    proxy.heal();
    held.complete(charged()).await;
    eventually(Duration::from_secs(5), async || {
        pay(&a_payment()).await.1.is_none()
    })
    .await;
    let charges = provider.charges();
    for payment in [&before, &during, &across] {
        assert_eq!(
            pay(payment).await.0,
            RunOutcome::Blocked(Blocked::Replay(charged()))
        );
    }
    assert_eq!(provider.charges(), charges);
}

/// Redis has stored the release of the first attempt. Redis has no record of the next attempt, which started during the
/// outage.
#[tokio::test]
async fn an_old_release_does_not_free_a_newer_attempt() {
    let (_redis, proxy, stage) = redis_behind_a_proxy().await;
    let stage = stage.with("IDEMPOTENCY_LEASE_MS", "150");
    let (engine, payment) = (stage.new_engine(), a_payment());
    started(&engine, &payment).await.release().await;
    proxy.refuse();
    drop(started(&engine, &payment).await);
    proxy.heal();
    redis_is_back(&engine).await;
    tokio::time::sleep(Duration::from_millis(200)).await;

    let claimed = engine.claim(&payment, patience()).await.expect("decided");
    assert!(matches!(
        claimed.value,
        ClaimOutcome::Blocked(Blocked::Unknown(_))
    ));
    assert_eq!(claimed.degraded_to, Some(Backend::Memory));
}

/// There are two cases: Redis was unavailable when the key became unknown in this process, or Redis lost the key later.
/// In both cases, a release by another process does not concern the attempt of this process.
#[tokio::test]
async fn a_release_by_another_process_frees_no_attempt_that_redis_lacks() {
    for is_away in [true, false] {
        let (redis, proxy, stage) = redis_behind_a_proxy().await;
        let (here, elsewhere, payment) = (stage.new_engine(), stage.new_engine(), a_payment());
        if is_away {
            proxy.refuse();
        }
        started(&here, &payment).await.mark_unknown().await;
        proxy.heal();
        redis.command(&["FLUSHALL"]).await;
        redis_is_back(&elsewhere).await;
        started(&elsewhere, &payment).await.release().await;
        redis_is_back(&here).await;

        let outcome = claim(&here, &payment).await;
        assert!(
            matches!(outcome, ClaimOutcome::Blocked(Blocked::Unknown(_))),
            "{outcome:?}"
        );
    }
}

/// Waits until Redis is authoritative again after an outage.
async fn redis_is_back(engine: &Idempotency) {
    eventually(Duration::from_secs(5), async || {
        let claimed = engine.claim(&a_payment(), patience()).await;
        claimed.expect("decided").degraded_to.is_none()
    })
    .await;
}

/// While Redis is unavailable, this process's memory is authoritative, so the engine copies each resolution from
/// Redis to the memory.
#[tokio::test]
async fn a_resolution_in_redis_is_copied_to_memory() {
    let (_redis, proxy, stage) = redis_behind_a_proxy().await;
    let (engine, payment) = (stage.new_engine(), a_payment());
    started(&engine, &payment).await.mark_unknown().await;
    let entry = engine.entry(&payment.key, patience()).await;
    let entry = entry.expect("read").expect("there");
    let resolved = engine
        .resolve_entry(&entry, Resolution::Completed(charged()), patience())
        .await;
    assert_eq!(resolved, Ok(ResolveResult::Stored));

    proxy.refuse();

    assert!(matches!(
        claim(&engine, &payment).await,
        ClaimOutcome::Blocked(Blocked::Replay(_))
    ));
}

/// The attempts started while Redis was available. Redis is authoritative for them, so no write is acknowledged
/// during the outage.
#[tokio::test]
async fn without_redis_no_write_of_its_attempts_is_acknowledged() {
    let (_redis, proxy, stage) = redis_behind_a_proxy().await;
    let stage = stage.with("IDEMPOTENCY_LEASE_MS", "60000");
    let (here, restarted) = (stage.new_engine(), stage.new_engine());
    let (held, running) = (a_payment(), a_payment());
    let mut lease = started(&here, &held).await;
    drop(started(&here, &running).await);
    proxy.refuse();

    assert_eq!(lease.checkpoint("note").await, WriteResult::NotDurable);
    assert_eq!(
        lease.renew(Duration::from_secs(90)).await,
        WriteResult::NotDurable
    );
    let resumed = restarted.resume(lease.token(), patience());
    assert_eq!(resumed.mark_unknown().await, WriteResult::NotDurable);
    assert!(matches!(
        claim(&here, &running).await,
        ClaimOutcome::Blocked(Blocked::InProgress { .. })
    ));

    proxy.heal();
    redis_is_back(&here).await;
    eventually(Duration::from_secs(5), async || {
        lease.checkpoint("note").await == WriteResult::Stored(())
    })
    .await;
    assert_eq!(
        lease.complete(charged()).await,
        WriteResult::Stored(charged())
    );
    redis_is_back(&restarted).await;
    let outcome = claim(&restarted, &held).await;
    assert!(
        matches!(outcome, ClaimOutcome::Blocked(Blocked::Replay(_))),
        "{outcome:?}"
    );
}

/// The lease ends during the outage. This process cannot find out whether another process has taken over in Redis.
#[tokio::test]
async fn without_redis_a_process_does_not_start_what_redis_may_have_started() {
    let (_redis, proxy, stage) = redis_behind_a_proxy().await;
    let stage = stage.with("IDEMPOTENCY_LEASE_MS", "150");
    let (engine, payment) = (stage.new_engine(), a_resumable_payment());
    drop(started(&engine, &payment).await);
    proxy.refuse();
    tokio::time::sleep(Duration::from_millis(200)).await;

    let claimed = engine.claim(&payment, patience()).await;

    let unavailable = claimed.expect_err("undecided");
    assert!(
        matches!(
            unavailable,
            StoreError::Unavailable {
                store: Backend::Redis,
                ..
            }
        ),
        "{unavailable:?}"
    );
    proxy.heal();
    eventually(Duration::from_secs(5), async || {
        let claimed = engine.claim(&payment, patience()).await;
        claimed.is_ok_and(|claimed| matches!(claimed.value, ClaimOutcome::Claimed(_)))
    })
    .await;
}

/// Redis has executed a renewal, and the reply was lost. The caller sends no revision, so it can renew the lease
/// again.
#[tokio::test]
async fn a_caller_without_a_revision_renews_after_a_lost_reply() {
    let (_redis, proxy, stage) = redis_behind_a_proxy().await;
    let stage = stage.with("IDEMPOTENCY_LEASE_MS", "60000");
    let (engine, payment) = (stage.new_engine(), a_payment());
    let token = LeaseToken {
        rev: None,
        ..started(&engine, &payment).await.token()
    };
    let renew = async || {
        let mut lease = engine.resume(token.clone(), patience());
        lease.renew(Duration::from_secs(100)).await
    };
    proxy.close_on_next_reply();
    renew().await;
    renew().await;

    let renewal = renew().await;

    assert!(matches!(renewal, WriteResult::Stored(_)), "{renewal:?}");
}

/// A restarted process has no record of the attempt in memory; Redis has the record.
#[tokio::test]
async fn a_mark_after_a_restart_is_resolved_in_redis() {
    let stage = Stage::redis_behind_memory().await;
    let (before, restarted, operator) = (stage.engine(), stage.engine(), stage.engine());
    let (once, resumable) = (a_payment(), a_resumable_payment());
    for payment in [&once, &resumable] {
        let token = started(&before, payment).await.token();
        let hold = restarted.resume(token, patience());
        assert_eq!(hold.mark_unknown().await, WriteResult::Stored(()));
    }
    let entry = operator.entry(&once.key, patience()).await;
    let entry = entry.expect("read").expect("there");
    let released = Resolution::Released(NoEffect::FencedByProvider);
    let resolved = operator.resolve_entry(&entry, released, patience()).await;
    assert_eq!(resolved, Ok(ResolveResult::Stored));

    for payment in [&once, &resumable] {
        started(&restarted, payment).await;
    }
}

/// Redis has stored the release of an earlier attempt. Redis has no record of the next attempt, which started during
/// the outage.
#[tokio::test]
async fn an_attempt_started_without_redis_ends_without_it() {
    let (_redis, proxy, stage) = redis_behind_a_proxy().await;
    let engine = stage.new_engine();
    let [known, unknown] = std::array::from_fn(|_| a_payment());
    for payment in [&known, &unknown] {
        started(&engine, payment).await.release().await;
    }
    proxy.refuse();
    let ending = started(&engine, &known).await;
    let in_doubt = started(&engine, &unknown).await;
    proxy.heal();
    redis_is_back(&engine).await;

    let completion = ending.complete(charged()).await;
    assert_eq!(completion, WriteResult::Stored(charged()));
    assert_eq!(in_doubt.mark_unknown().await, WriteResult::Stored(()));

    let outcome = claim(&engine, &known).await;
    assert!(
        matches!(outcome, ClaimOutcome::Blocked(Blocked::Replay(_))),
        "{outcome:?}"
    );
    let entry = engine.entry(&unknown.key, patience()).await;
    let entry = entry.expect("read").expect("there");
    assert_eq!(entry.progress, Progress::Unknown);
    let released = Resolution::Released(NoEffect::AttemptEnded);
    let resolved = engine.resolve_entry(&entry, released, patience()).await;
    assert_eq!(resolved, Ok(ResolveResult::Stored));
    started(&engine, &unknown).await;
}

/// Redis has lost the record of the attempt, so Redis alone would accept the late result. The memory of this process
/// has the resolution.
#[tokio::test]
async fn a_late_result_does_not_change_a_resolution_in_memory() {
    let stage = Stage::redis_behind_memory()
        .await
        .with("IDEMPOTENCY_LEASE_MS", "150");
    let (engine, payment) = (stage.engine(), a_payment());
    let frozen = started(&engine, &payment).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    let redis = stage.redis.as_ref().expect("redis");
    redis.command(&["FLUSHALL"]).await;
    let entry = engine.entry(&payment.key, patience()).await;
    let entry = entry.expect("read").expect("there");
    let resolved = engine
        .resolve_entry(
            &entry,
            Resolution::Completed(answer("resolved")),
            patience(),
        )
        .await;
    assert_eq!(resolved, Ok(ResolveResult::Stored));

    let late = frozen.complete(answer("late")).await;

    let replay = Some(Blocked::Replay(answer("resolved")));
    assert_eq!(late, WriteResult::Superseded(replay));
}

/// The deadline of the quick completion ends before Redis replies. The slow completion waits for the reply of Redis.
#[tokio::test]
async fn concurrent_completions_get_one_result() {
    let (_redis, proxy, stage) = redis_behind_a_proxy().await;
    let (engine, payment) = (stage.new_engine(), a_payment());
    let token = started(&engine, &payment).await.token();
    let complete = async |time, body: &'static str| {
        let deadline = Deadline::after(time);
        let hold = engine.resume(token.clone(), deadline);
        hold.complete(answer(body)).await
    };
    proxy.stall();

    let (slow, (), quick) = tokio::join!(
        complete(Duration::from_secs(10), "slow"),
        async {
            tokio::time::sleep(Duration::from_millis(800)).await;
            proxy.heal();
        },
        complete(Duration::from_millis(300), "quick"),
    );

    assert_eq!(slow, quick);
    let ClaimOutcome::Blocked(Blocked::Replay(replayed)) = claim(&engine, &payment).await else {
        panic!("the claim does not replay the result");
    };
    assert_eq!(slow, WriteResult::Stored(replayed));
}

/// Redis has the outcome `unknown`. Only the memory of this process has the result.
#[tokio::test]
async fn a_claim_replays_a_result_stored_while_redis_was_asked() {
    let (_redis, proxy, stage) = redis_behind_a_proxy().await;
    let stage = stage.with("IDEMPOTENCY_LEASE_MS", "150");
    let (engine, payment) = (stage.new_engine(), a_payment());
    let lease = started(&engine, &payment).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    let impatient = engine.resume(lease.token(), Deadline::after(Duration::from_millis(300)));
    proxy.stall();

    let (claimed, (), completed) = tokio::join!(
        engine.claim(&payment, patience()),
        async {
            tokio::time::sleep(Duration::from_millis(800)).await;
            // Messages that the proxy held back during the stall never arrive.
            proxy.black_hole_existing();
            proxy.heal();
        },
        impatient.complete(charged()),
    );

    assert_eq!(completed, WriteResult::Stored(charged()));
    let outcome = claimed.expect("decided").value;
    assert!(
        matches!(outcome, ClaimOutcome::Blocked(Blocked::Replay(replayed)) if replayed == charged()),
    );
}

/// The first result is final, even if the lease holder sends other results for the same attempt.
#[tokio::test]
async fn the_first_result_is_replayed_to_every_caller() {
    let (redis, proxy, stage) = redis_behind_a_proxy().await;
    let (here, elsewhere) = (stage.new_engine(), stage.new_engine());
    let [through_another, after_an_outage, after_a_flush] = std::array::from_fn(|_| a_payment());
    let complete = async |engine: &Idempotency, token: &LeaseToken, body: &'static str| {
        let hold = engine.resume(token.clone(), patience());
        hold.complete(answer(body)).await
    };
    let completed = WriteResult::Stored(answer("first"));

    let token = started(&here, &through_another).await.token();
    assert_eq!(complete(&elsewhere, &token, "first").await, completed);
    assert_eq!(complete(&here, &token, "second").await, completed);

    let token = started(&here, &after_an_outage).await.token();
    proxy.refuse();
    assert_eq!(complete(&here, &token, "first").await, completed);
    proxy.heal();
    redis_is_back(&here).await;
    assert_eq!(complete(&here, &token, "second").await, completed);

    let token = started(&here, &after_a_flush).await.token();
    assert_eq!(complete(&here, &token, "first").await, completed);
    redis.command(&["FLUSHALL"]).await;
    assert_eq!(complete(&here, &token, "second").await, completed);

    for payment in [through_another, after_an_outage, after_a_flush] {
        let outcome = claim(&here, &payment).await;
        assert!(
            matches!(outcome, ClaimOutcome::Blocked(Blocked::Replay(replayed)) if replayed == answer("first"))
        );
    }
}

/// A call of `wait_for` returns the outcome that a claim would return at that time.
#[tokio::test]
async fn a_look_at_an_unfinished_attempt_asks_redis() {
    let stage = Stage::redis_behind_memory().await;
    let (here, elsewhere) = (stage.engine(), stage.engine());
    let (resolved, forgotten) = (a_payment(), a_payment());
    for payment in [&resolved, &forgotten] {
        started(&here, payment).await.mark_unknown().await;
    }
    let entry = elsewhere.entry(&resolved.key, patience()).await;
    let entry = entry.expect("read").expect("there");
    let completed = Resolution::Completed(charged());
    let done = elsewhere.resolve_entry(&entry, completed, patience()).await;
    assert_eq!(done, Ok(ResolveResult::Stored));
    let look = async |payment| here.wait_for(payment, patience()).await.expect("decided");

    assert_eq!(look(&resolved).await, Some(Blocked::Replay(charged())));
    let redis = stage.redis.as_ref().expect("redis");
    redis.command(&["FLUSHALL"]).await;
    assert!(matches!(look(&forgotten).await, Some(Blocked::Unknown(_))));
}

/// When the abandoned attempts resume later, they are superseded, and their writes change nothing.
#[tokio::test]
async fn a_resolution_in_another_process_survives_the_return_of_the_attempt() {
    let stage = Stage::redis_behind_memory()
        .await
        .with("IDEMPOTENCY_LEASE_MS", "150");
    let (here, elsewhere) = (stage.engine(), stage.engine());
    let [in_doubt, ending] = std::array::from_fn(|_| a_payment());
    let leases = [
        started(&here, &in_doubt).await,
        started(&here, &ending).await,
    ];
    tokio::time::sleep(Duration::from_millis(200)).await;
    for payment in [&in_doubt, &ending] {
        let entry = elsewhere.entry(&payment.key, patience()).await;
        let entry = entry.expect("read").expect("there");
        let released = Resolution::Released(NoEffect::FencedByProvider);
        let resolved = elsewhere.resolve_entry(&entry, released, patience()).await;
        assert_eq!(resolved, Ok(ResolveResult::Stored));
    }

    let [late_mark, late_result] = leases;
    let noted = late_mark.mark_unknown().await;
    assert_eq!(noted, WriteResult::Superseded(None));
    let completion = late_result.complete(charged()).await;
    assert_eq!(completion, WriteResult::Superseded(None));

    for payment in [&in_doubt, &ending] {
        started(&elsewhere, payment).await.release().await;
        started(&here, payment).await;
    }
}

/// Another process has taken over. Its attempt is still running when the earlier attempt sends a result.
#[tokio::test]
async fn a_superseded_result_is_not_replayed_from_memory() {
    let stage = Stage::redis_behind_memory()
        .await
        .with("IDEMPOTENCY_LEASE_MS", "150");
    let (here, elsewhere, payment) = (stage.engine(), stage.engine(), a_resumable_payment());
    let stalled = started(&here, &payment).await;
    let mut other = taken_over(&elsewhere, &payment).await;
    other.renew(Duration::from_secs(60)).await;

    let late = stalled.complete(answer("late")).await;
    assert!(
        matches!(
            late,
            WriteResult::Superseded(Some(Blocked::InProgress { .. }))
        ),
        "{late:?}"
    );
    other.complete(answer("other")).await;

    let outcome = claim(&here, &payment).await;
    assert!(
        matches!(outcome, ClaimOutcome::Blocked(Blocked::Replay(replayed)) if replayed == answer("other"))
    );
}

/// After the flush, Redis counts the next attempt as the first attempt. The memory of this process has the record of
/// an earlier attempt.
#[tokio::test]
async fn attempts_lost_by_a_flushed_redis_are_known_from_memory() {
    let stage = Stage::redis_behind_memory()
        .await
        .with("IDEMPOTENCY_LEASE_MS", "150");
    let engine = stage.engine();
    let within = Duration::from_secs(5);
    let payment = a_payment().with_policy(Policy::Rerun { within });
    let mut lease = started(&engine, &payment).await;
    assert_eq!(lease.checkpoint("note").await, WriteResult::Stored(()));
    drop(lease);
    let redis = stage.redis.as_ref().expect("redis");
    redis.command(&["FLUSHALL"]).await;

    for _ in 0..2 {
        let mut next = taken_over(&engine, &payment).await;
        assert!(next.took_over());
        assert_eq!(next.last_checkpoint(), "note");
        assert_eq!(next.renew(within).await, WriteResult::TooLate);
        next.release().await;
    }
}

/// Redis has a record of the attempt. Redis was unavailable when the attempt completed, so only the memory of this
/// process has the result.
#[tokio::test]
async fn a_result_that_redis_missed_is_the_only_response() {
    let (_redis, proxy, stage) = redis_behind_a_proxy().await;
    let (here, elsewhere, payment) = (stage.new_engine(), stage.new_engine(), a_payment());
    let lease = started(&here, &payment).await;
    let entry = async |engine: &Idempotency| {
        let entry = engine.entry(&payment.key, patience()).await;
        entry.expect("read").expect("there")
    };
    let before = entry(&elsewhere).await;
    proxy.refuse();
    lease.complete(charged()).await;
    proxy.heal();
    redis_is_back(&here).await;

    for seen in [before, entry(&here).await] {
        let other = Resolution::Completed(answer("other"));
        let resolved = here.resolve_entry(&seen, other, patience()).await;
        assert_eq!(resolved, Ok(ResolveResult::Refused));
    }
    let found = entry(&here).await;
    assert_eq!(found.progress, Progress::Completed(charged()));
    let outcome = claim(&here, &payment).await;
    assert!(
        matches!(outcome, ClaimOutcome::Blocked(Blocked::Replay(replayed)) if replayed == charged())
    );
}

#[tokio::test]
async fn a_key_known_only_to_this_process_can_be_resolved() {
    let (_redis, proxy, stage) = redis_behind_a_proxy().await;
    let (engine, payment) = (stage.new_engine(), a_payment());
    proxy.refuse();
    started(&engine, &payment).await.mark_unknown().await;
    proxy.heal();
    let entry = engine.entry(&payment.key, patience()).await;
    let entry = entry.expect("read").expect("there");

    let resolved = engine
        .resolve_entry(&entry, Resolution::Completed(charged()), patience())
        .await;

    assert_eq!(resolved, Ok(ResolveResult::Stored));
    assert!(matches!(
        claim(&engine, &payment).await,
        ClaimOutcome::Blocked(Blocked::Replay(_))
    ));
}

/// Without Redis, the process cannot find out whether the record still exists.
#[tokio::test]
async fn a_resolution_without_acknowledgement_fails() {
    let (_redis, proxy, stage) = redis_behind_a_proxy().await;
    let (here, elsewhere, payment) = (stage.new_engine(), stage.new_engine(), a_payment());
    started(&elsewhere, &payment).await.mark_unknown().await;
    let entry = here.entry(&payment.key, patience()).await;
    let entry = entry.expect("read").expect("there");
    proxy.refuse();

    let resolved = here
        .resolve_entry(&entry, Resolution::Completed(charged()), patience())
        .await;

    assert!(
        matches!(
            resolved,
            Err(StoreError::Unavailable {
                store: Backend::Redis,
                ..
            })
        ),
        "{resolved:?}"
    );
}

#[tokio::test]
async fn a_key_lost_by_a_flushed_redis_can_be_resolved() {
    let stage = Stage::redis_behind_memory().await;
    let (engine, payment) = (stage.engine(), a_payment());
    started(&engine, &payment).await.mark_unknown().await;
    let redis = stage.redis.as_ref().expect("redis");
    redis.command(&["FLUSHALL"]).await;
    let entry = engine.entry(&payment.key, patience()).await;
    let entry = entry.expect("read").expect("there");

    let resolved = engine
        .resolve_entry(&entry, Resolution::Completed(charged()), patience())
        .await;

    assert_eq!(resolved, Ok(ResolveResult::Stored));
    assert!(matches!(
        claim(&engine, &payment).await,
        ClaimOutcome::Blocked(Blocked::Replay(_))
    ));
}

/// The memory of this process still has the record that the caller read. In Redis, another process has taken over.
#[tokio::test]
async fn a_resolution_refused_by_redis_is_refused() {
    let stage = Stage::redis_behind_memory()
        .await
        .with("IDEMPOTENCY_LEASE_MS", "150");
    let (here, elsewhere, payment) = (stage.engine(), stage.engine(), a_resumable_payment());
    drop(started(&here, &payment).await);
    let entry = here.entry(&payment.key, patience()).await;
    let entry = entry.expect("read").expect("there");
    drop(taken_over(&elsewhere, &payment).await);

    let resolved = here
        .resolve_entry(&entry, Resolution::Completed(charged()), patience())
        .await;

    assert_eq!(resolved, Ok(ResolveResult::Refused));
}

#[tokio::test]
async fn an_attempt_taken_over_elsewhere_gets_the_other_result() {
    let (_redis, proxy, stage) = redis_behind_a_proxy().await;
    let stage = stage.with("IDEMPOTENCY_LEASE_MS", "150");
    let (here, elsewhere, payment) = (
        stage.new_engine(),
        stage.new_engine(),
        a_resumable_payment(),
    );
    let stalled = started(&here, &payment).await;
    let token = stalled.token();
    let other = taken_over(&elsewhere, &payment).await;
    other.complete(answer("other")).await;

    let late = stalled.complete(answer("late")).await;

    let replay = Some(Blocked::Replay(answer("other")));
    assert_eq!(late, WriteResult::Superseded(replay.clone()));
    proxy.refuse();
    let again = here
        .resume(token, patience())
        .complete(answer("late"))
        .await;
    assert_eq!(again, WriteResult::Superseded(replay));
    let ClaimOutcome::Blocked(Blocked::Replay(replayed)) = claim(&here, &payment).await else {
        panic!("the claim does not replay the result");
    };
    assert_eq!(replayed, answer("other"));
}

/// The revision in Redis includes the writes of another process; the revision in this process's memory does not.
#[tokio::test]
async fn a_renewal_renews_the_lease_in_both_stores() {
    let stage = Stage::redis_behind_memory().await;
    let (here, elsewhere, payment) = (stage.engine(), stage.engine(), a_payment());
    started(&elsewhere, &payment).await.release().await;
    let mut lease = started(&here, &payment).await;

    let renewal = lease.renew(Duration::from_secs(600)).await;

    assert!(matches!(renewal, WriteResult::Stored(_)), "{renewal:?}");
    for engine in [&here, &elsewhere] {
        let outcome = claim(engine, &payment).await;
        assert!(
            matches!(outcome, ClaimOutcome::Blocked(Blocked::InProgress { retry_after }) if retry_after > Duration::from_secs(300)),
            "{outcome:?}"
        );
    }
}

#[tokio::test]
async fn keys_are_listed_from_redis() {
    for stage in [Stage::redis().await, Stage::redis_behind_memory().await] {
        let (engine, payment) = (stage.engine(), a_payment());
        drop(started(&engine, &payment).await);
        let keys = engine.keys(10, patience()).await;
        assert_eq!(keys, Ok(vec![payment.key]));
    }
}

/// Claims the operation again and again until the earlier lease is over. Returns the new lease.
async fn taken_over(engine: &Idempotency, operation: &Operation) -> Lease {
    let mut taken = None;
    eventually(Duration::from_secs(5), async || {
        if let ClaimOutcome::Claimed(lease) = claim(engine, operation).await {
            taken = Some(lease);
        }
        taken.is_some()
    })
    .await;
    taken.expect("started")
}

#[tokio::test]
async fn a_process_runs_a_key_once_despite_a_flush_of_redis() {
    let stage = Stage::redis_behind_memory().await;
    let (engine, provider, payment) = (stage.engine(), Provider::default(), a_payment());
    provider.pay(&engine, &payment, charged()).await;
    let redis = stage.redis.as_ref().expect("redis");
    redis.command(&["FLUSHALL"]).await;

    let end = provider.pay(&engine, &payment, charged()).await;

    assert_eq!(end, RunOutcome::Blocked(Blocked::Replay(charged())));
}

#[tokio::test]
async fn a_claim_rejected_by_redis_leaves_no_reservation() {
    let stage = Stage::redis_behind_memory().await;
    let (here, elsewhere, payment) = (stage.engine(), stage.engine(), a_payment());
    let lease = started(&elsewhere, &payment).await;
    assert!(matches!(
        claim(&here, &payment).await,
        ClaimOutcome::Blocked(Blocked::InProgress { .. })
    ));
    lease.release().await;

    let lease = started(&here, &payment).await;

    assert_eq!(lease.attempt(), 2);
}
