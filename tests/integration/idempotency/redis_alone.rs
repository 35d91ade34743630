//! Redis alone: at most one execution as long as Redis keeps its data, and one round trip per step.

use std::time::Duration;

use harness::{FaultProxy, RedisServer};
use shared::idempotency::{
    Blocked, ClaimOutcome, Idempotency, LeaseToken, Operation, Policy, StoreError, WriteResult,
};

use super::faults::{self, World, at_every_moment};
use super::stage::{
    Provider, Stage, a_payment, a_resumable_payment, charged, claim, patience, paying, started,
};

async fn heal(world: &World) {
    world.redis_proxy.heal();
}

/// Defines a test for each line: the test's name, and a fault in which Redis keeps its data.
macro_rules! strikes {
    ($($name:ident: $strike:expr;)*) => { $(
        #[tokio::test]
        async fn $name() {
            at_every_moment(World::redis_alone, $strike, heal).await;
        }
    )* };
}

strikes! {
    no_second_charge_when_redis_refuses:
        async |world: &World| world.redis_proxy.refuse();
    no_second_charge_when_redis_resets:
        async |world: &World| world.redis_proxy.reset_connections();
    no_second_charge_when_redis_never_replies:
        async |world: &World| world.redis_proxy.black_hole();
    no_second_charge_when_redis_loses_a_reply:
        async |world: &World| world.redis_proxy.drop_next_reply();
    no_second_charge_when_redis_closes_instead_of_a_reply:
        async |world: &World| world.redis_proxy.close_on_next_reply();
}

#[tokio::test]
async fn a_full_redis_leads_to_no_second_charge() {
    let limit = |bytes: &'static str| {
        async move |world: &World| {
            let set = ["CONFIG", "SET", "maxmemory", bytes];
            world.redis.command(&set).await;
        }
    };
    at_every_moment(World::redis_alone, limit("1"), limit("0")).await;
}

#[tokio::test]
async fn a_restart_with_an_append_only_file_leads_to_no_second_charge() {
    let stage = Stage::memory().await;
    let redis = RedisServer::builder()
        .setting("appendonly", "yes")
        .setting("appendfsync", "always")
        .start()
        .await;
    let stage = stage
        .with("REDIS_URL", &redis.url())
        .with("IDEMPOTENCY_FALLBACK", "reject");
    let (engine, provider, payment) = (stage.new_engine(), Provider::default(), a_payment());
    let lease = started(&engine, &payment).await;
    provider.charge();
    redis.restart().await;

    assert!(matches!(
        claim(&stage.new_engine(), &payment).await,
        ClaimOutcome::Blocked(Blocked::InProgress { .. })
    ));
    assert_eq!(
        lease.complete(charged()).await,
        WriteResult::Stored(charged())
    );
    redis.restart().await;
    provider.pay(&engine, &payment, charged()).await;
    assert_eq!(provider.charges(), 1);
}

/// A documented limit: Redis cannot detect that it has lost data. Only a setup with MongoDB behind Redis prevents
/// the second execution.
#[tokio::test]
async fn a_flushed_redis_lets_a_completed_payment_run_again() {
    let stage = Stage::redis().await;
    let (engine, provider, payment) = (stage.engine(), Provider::default(), a_payment());
    provider.pay(&engine, &payment, charged()).await;

    let redis = stage.redis.as_ref().expect("redis");
    redis.command(&["FLUSHALL"]).await;
    provider.pay(&engine, &payment, charged()).await;

    assert_eq!(provider.charges(), 2);
}

/// A completion writes the whole record, even if Redis has lost it. So a flush during a payment loses nothing.
#[tokio::test]
async fn a_redis_flushed_during_a_payment_keeps_its_result() {
    let stage = Stage::redis().await;
    let (engine, provider, payment) = (stage.engine(), Provider::default(), a_payment());
    let lease = started(&engine, &payment).await;
    provider.charge();
    let redis = stage.redis.as_ref().expect("redis");
    redis.command(&["FLUSHALL"]).await;

    let completion = lease.complete(charged()).await;
    provider.pay(&stage.engine(), &payment, charged()).await;

    assert_eq!(completion, WriteResult::Stored(charged()));
    assert_eq!(provider.charges(), 1);
}

#[tokio::test]
async fn a_delayed_write_undoes_nothing() {
    let world = World::redis_alone().await;
    faults::a_delayed_write_undoes_nothing(&world, &world.redis_proxy).await;
}

#[tokio::test]
async fn a_renewal_after_an_unacknowledged_one_is_written() {
    let world = World::redis_alone().await;
    faults::a_renewal_after_an_unacknowledged_one_is_written(&world, &world.redis_proxy).await;
}

#[tokio::test]
async fn a_checkpoint_whose_reply_was_lost_is_written_once_and_a_renewal_again() {
    let world = World::redis_alone().await;
    let mut lease = started(&world.engine(), &world.payment).await;
    let rev = async || {
        let entry = world.engine().entry(&world.payment.key, patience()).await;
        entry.expect("read").expect("there").revision().rev()
    };

    world.redis_proxy.drop_next_reply();
    assert_eq!(lease.checkpoint("a note").await, WriteResult::Stored(()));
    assert_eq!(rev().await, 2);
    world.redis_proxy.drop_next_reply();
    let renewal = lease.renew(Duration::from_secs(60)).await;
    assert!(matches!(renewal, WriteResult::Stored(_)), "{renewal:?}");
    assert_eq!(rev().await, 4);
}

/// The two processes have no revision, so each process reads the revision before it writes. The quick process writes
/// after the slow process has read the revision and before the slow process writes.
#[tokio::test]
async fn the_slower_of_two_processes_of_one_attempt_is_outdated() {
    let world = World::redis_alone().await;
    let patient = [("REDIS_RESPONSE_TIMEOUT_MS", "5000")];
    let lease = started(&world.engine(), &world.payment).await;
    let token = || LeaseToken {
        rev: None,
        ..lease.token()
    };
    let mut slow = world.engine_with(&patient).resume(token(), patience());
    let direct = world.redis.url();
    let mut quick = world
        .engine_with(&[("REDIS_URL", &direct)])
        .resume(token(), patience());
    for hold in [&mut slow, &mut quick] {
        assert_eq!(hold.checkpoint("connected").await, WriteResult::Stored(()));
    }
    world.redis_proxy.delay(Duration::from_millis(600));

    let (first, second) = tokio::join!(slow.checkpoint("first"), async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        quick.checkpoint("second").await
    });

    assert!(matches!(first, WriteResult::Outdated(_)), "{first:?}");
    assert_eq!(second, WriteResult::Stored(()));
    let entry = world
        .engine_with(&[("REDIS_URL", &direct)])
        .entry(&world.payment.key, patience())
        .await;
    assert_eq!(entry.expect("read").expect("there").checkpoint, "second");
}

#[tokio::test]
async fn storing_a_result_is_retried_while_redis_is_away() {
    let world = World::redis_alone().await;
    let lease = started(&world.engine(), &world.payment).await;
    world.redis_proxy.refuse();

    let (completion, ()) = tokio::join!(lease.complete(charged()), async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        world.redis_proxy.heal();
    });

    assert_eq!(completion, WriteResult::Stored(charged()));
}

#[tokio::test]
async fn a_claim_with_a_lost_reply_is_recognised() {
    let redis = RedisServer::start().await;
    let proxy = FaultProxy::in_front_of(redis.address());
    let stage = Stage::memory()
        .await
        .with("REDIS_URL", &redis.url_through(&proxy))
        .with("REDIS_RESPONSE_TIMEOUT_MS", "300")
        .with("IDEMPOTENCY_FALLBACK", "reject");
    let (engine, payment) = (stage.new_engine(), a_payment());
    drop(started(&engine, &a_payment()).await);
    proxy.drop_next_reply();

    let lease = started(&engine, &payment).await;

    assert!(lease.is_repeated());
    assert_eq!(lease.attempt(), 1);
    assert!(matches!(
        claim(&engine, &payment).await,
        ClaimOutcome::Blocked(Blocked::InProgress { .. })
    ));
}

#[tokio::test]
async fn a_connection_that_broke_during_a_freeze_fails_no_claim() {
    let redis = RedisServer::start().await;
    let proxy = FaultProxy::in_front_of(redis.address());
    let stage = Stage::memory()
        .await
        .with("REDIS_URL", &redis.url_through(&proxy))
        .with("REDIS_IDLE_CHECK_MS", "20")
        .with("IDEMPOTENCY_FALLBACK", "reject");
    let engine = stage.new_engine();
    let deaths: [fn(&FaultProxy); 3] = [
        FaultProxy::close_connections,
        FaultProxy::reset_connections,
        FaultProxy::black_hole_existing,
    ];
    for die in deaths {
        drop(started(&engine, &a_payment()).await);
        die(&proxy);
        tokio::time::sleep(Duration::from_millis(30)).await;
        assert!(!started(&engine, &a_payment()).await.is_repeated());
    }
    assert_eq!(engine.counts().degraded, 0);
}

#[tokio::test]
async fn without_redis_a_claim_fails_in_time() {
    let silent = FaultProxy::silent();
    let stage = Stage::memory()
        .await
        .with("REDIS_URL", &format!("redis://{}", silent.address()))
        .with("REDIS_CONNECT_TIMEOUT_MS", "200")
        .with("ENVIRONMENT", "production");
    let engine = stage.new_engine();

    let payment = a_payment();
    let claiming = engine.claim(&payment, patience());
    let claimed = harness::within(Duration::from_secs(1), claiming).await;

    assert!(
        matches!(claimed, Err(StoreError::Unavailable { .. })),
        "{claimed:?}"
    );
}

/// Each step except a takeover consists of plain commands in one round trip. A takeover takes a second round trip.
#[tokio::test]
async fn every_common_step_is_one_round_trip() {
    let redis = RedisServer::start().await;
    let proxy = FaultProxy::in_front_of(redis.address());
    let stage = Stage::memory()
        .await
        .with("REDIS_URL", &redis.url_through(&proxy))
        .with("IDEMPOTENCY_LEASE_MS", "100")
        .with("IDEMPOTENCY_FALLBACK", "reject");
    let engine = stage.new_engine();
    learn_commands(&engine, &proxy).await;
    let count =
        async |what: &str, trips: usize, expected: &[&str], step: &mut dyn FnMut() -> Step| {
            proxy.reset_counters();
            step().await;
            let commands = proxy.commands();
            assert!(
                commands == expected || (what == "complete" && commands == ["EVALSHA"]),
                "{what}: {commands:?}"
            );
            assert_eq!(proxy.round_trips(), trips, "{what}");
        };
    type Step = std::pin::Pin<Box<dyn Future<Output = ()>>>;
    let (payment, orphan) = (a_payment(), a_resumable_payment());
    let other = Operation {
        fingerprint: paying(20),
        ..payment.clone()
    };
    let claiming = |operation: &Operation| {
        let (engine, operation) = (engine.clone(), operation.clone());
        move || -> Step {
            let (engine, operation) = (engine.clone(), operation.clone());
            Box::pin(async move { drop(claim(&engine, &operation).await) })
        }
    };
    let held = started(&engine, &payment).await;
    count("conflict", 1, &["SET", "PTTL"], &mut claiming(&payment)).await;
    count("mismatch", 1, &["SET", "PTTL"], &mut claiming(&other)).await;
    let mut held = Some(held);
    count("complete", 1, &["SET"], &mut || {
        let lease = held.take().expect("once");
        Box::pin(async move { drop(lease.complete(charged()).await) })
    })
    .await;
    count("replay", 1, &["SET", "PTTL"], &mut claiming(&payment)).await;
    count("claim", 1, &["SET", "PTTL"], &mut claiming(&orphan)).await;
    tokio::time::sleep(Duration::from_millis(120)).await;
    count(
        "takeover",
        2,
        &["SET", "PTTL", "EVALSHA"],
        &mut claiming(&orphan),
    )
    .await;
    assert_eq!(engine.counts().takeover, 1);
}

/// A holder knows its record until it renews the lease. Until then it needs no script.
#[tokio::test]
async fn every_write_of_an_attempt_is_one_round_trip() {
    let redis = RedisServer::start().await;
    let proxy = FaultProxy::in_front_of(redis.address());
    let stage = Stage::memory()
        .await
        .with("REDIS_URL", &redis.url_through(&proxy))
        .with("IDEMPOTENCY_FALLBACK", "reject");
    let engine = stage.new_engine();
    let has_ifeq = learn_commands(&engine, &proxy).await;
    let conditional = if has_ifeq { "SET" } else { "EVALSHA" };
    let limited = Operation {
        policy: Policy::rerun_within(Duration::from_secs(86_400), Duration::from_secs(30)),
        ..a_payment()
    };
    for (payment, renews, command) in [
        (a_payment(), false, conditional),
        (a_payment(), true, "EVALSHA"),
        (limited, false, "EVALSHA"),
    ] {
        let mut lease = started(&engine, &payment).await;
        if renews {
            let renewed = lease.renew(Duration::from_secs(30)).await;
            assert!(matches!(renewed, WriteResult::Stored(_)), "{renewed:?}");
        }
        proxy.reset_counters();
        for note in ["one", "another"] {
            assert_eq!(lease.checkpoint(note).await, WriteResult::Stored(()));
        }
        lease.complete(charged()).await;
        assert_eq!(proxy.commands(), [command; 3], "{:?}", payment.policy);
        assert_eq!(proxy.round_trips(), 3, "{:?}", payment.policy);
    }
    let lease = started(&engine, &a_payment()).await;
    proxy.reset_counters();
    assert_eq!(lease.mark_unknown().await, WriteResult::Stored(()));
    assert_eq!(proxy.commands(), [conditional]);
    assert_eq!(proxy.round_trips(), 1);
}

/// Lets the client learn whether the server supports `IFEQ`, which is the result, and lets the server learn the scripts.
async fn learn_commands(engine: &Idempotency, proxy: &FaultProxy) -> bool {
    let by_script = started(engine, &a_payment()).await;
    by_script.release().await;
    let by_plain_commands = started(engine, &a_payment()).await;
    by_plain_commands.complete(charged()).await;
    proxy.reset_counters();
    let lease = started(engine, &a_payment()).await;
    lease.complete(charged()).await;
    !proxy.commands().contains(&"EVALSHA".to_owned())
}

#[tokio::test]
async fn every_key_expires() {
    let stage = Stage::redis().await;
    let engine = stage.engine();
    let redis = stage.redis.as_ref().expect("redis");
    let [held, released, unknown, noted, completed] =
        std::array::from_fn(|_| a_resumable_payment());
    drop(started(&engine, &held).await);
    started(&engine, &released).await.release().await;
    started(&engine, &unknown).await.mark_unknown().await;
    started(&engine, &noted).await.checkpoint("note").await;
    started(&engine, &completed).await.complete(charged()).await;

    let keys = redis.keys("*").await;

    assert_eq!(keys.len(), 5);
    for key in keys {
        let ttl: i64 = redis.query(&["PTTL", &key]).await;
        assert!((1..=86_430_000).contains(&ttl), "{key}: {ttl}");
    }
}

/// The operation takes longer than the retention.
#[tokio::test]
async fn a_claim_does_not_expire_while_its_owner_works() {
    let stage = Stage::redis().await.with("IDEMPOTENCY_TTL_SECONDS", "1");
    let (engine, payment) = (stage.engine(), a_payment());
    let mut lease = started(&engine, &payment).await;
    lease.renew(Duration::from_secs(3)).await;
    tokio::time::sleep(Duration::from_millis(1_300)).await;

    let second = claim(&stage.engine(), &payment).await;

    assert!(
        matches!(second, ClaimOutcome::Blocked(Blocked::InProgress { .. })),
        "{second:?}"
    );
    assert_eq!(
        lease.complete(charged()).await,
        WriteResult::Stored(charged())
    );
}
