//! MongoDB with Redis in front of it (`tiered`): no fault of the two stores leads to a second charge.

use std::time::Duration;

use harness::{MongoServer, RedisServer, eventually, within};
use shared::deadline::Deadline;
use shared::idempotency::{
    Backend, Blocked, ClaimOutcome, Operation, OwnerId, RecordKey, Resolution, ResolveResult,
    WriteResult,
};

use super::faults::{self, World, at_every_moment};
use super::stage::{Stage, a_payment, answer, charged, claim, patience, paying, started};

const SOON: Duration = Duration::from_millis(300);

fn soon() -> Deadline {
    Deadline::after(SOON)
}

async fn nothing(_: &World) {}

async fn heal(world: &World) {
    world.redis_proxy.heal();
    world.mongo_proxy.heal();
}

/// Defines a test for each line. A line has the test's name, the fault, and the action that ends the fault.
macro_rules! strikes {
    ($($name:ident: $strike:expr, $heal:expr;)*) => { $(
        #[tokio::test]
        async fn $name() {
            at_every_moment(World::tiered, $strike, $heal).await;
        }
    )* };
}

strikes! {
    no_second_charge_without_a_fault: nothing, heal;
    no_second_charge_when_redis_is_killed_and_returns_empty:
        async |world: &World| world.redis.stop().await,
        async |world: &World| world.redis.restart().await;
    no_second_charge_when_redis_restarts_empty:
        async |world: &World| world.redis.restart().await, heal;
    no_second_charge_when_redis_is_flushed:
        async |world: &World| { world.redis.command(&["FLUSHALL"]).await; }, heal;
    no_second_charge_when_redis_never_replies:
        async |world: &World| world.redis_proxy.black_hole(), heal;
    no_second_charge_when_redis_loses_a_reply:
        async |world: &World| world.redis_proxy.drop_next_reply(), heal;
    no_second_charge_when_redis_resets:
        async |world: &World| world.redis_proxy.reset_connections(), heal;
    no_second_charge_when_redis_is_full:
        async |world: &World| { world.redis.command(&["CONFIG", "SET", "maxmemory", "1"]).await; },
        async |world: &World| { world.redis.command(&["CONFIG", "SET", "maxmemory", "0"]).await; };
    no_second_charge_when_mongodb_refuses:
        async |world: &World| world.mongo_proxy.refuse(), heal;
    no_second_charge_when_mongodb_resets:
        async |world: &World| world.mongo_proxy.reset_connections(), heal;
    no_second_charge_when_mongodb_never_replies:
        async |world: &World| world.mongo_proxy.black_hole(), heal;
    no_second_charge_when_mongodb_loses_a_reply:
        async |world: &World| world.mongo_proxy.drop_next_reply(), heal;
    no_second_charge_when_both_stores_are_away:
        async |world: &World| { world.mongo_proxy.refuse(); world.redis_proxy.refuse(); }, heal;
}

/// A failover of Redis: a replica that lacks all writes becomes primary.
#[tokio::test]
async fn a_failover_to_a_lagging_replica_leads_to_no_second_charge() {
    let replica = RedisServer::start().await;
    at_every_moment(
        World::tiered,
        async |world: &World| {
            world.redis_proxy.lead_to(replica.address());
            world.redis_proxy.reset_connections();
        },
        nothing,
    )
    .await;
}

/// The first process is stopped at different times. In each case, all attempts together charge at most once.
#[tokio::test]
async fn a_process_that_ends_anywhere_leads_to_no_second_charge() {
    for milliseconds in (0..120).step_by(6) {
        let world = World::tiered().await;
        world.redis_proxy.delay(Duration::from_millis(10));
        world.mongo_proxy.delay(Duration::from_millis(10));
        let ends = Duration::from_millis(milliseconds);
        let _ = tokio::time::timeout(ends, world.retry()).await;
        heal(&world).await;
        world.retry_until_final().await;
        world.assert_charged_at_most_once(&format!("after {milliseconds} ms"));
    }
}

/// Regression: MongoDB had acknowledged the result, but the engine made the client wait for the slowest Redis
/// timeout.
#[tokio::test]
async fn a_silent_redis_does_not_delay_an_acknowledged_result() {
    let world = World::tiered().await;
    let engine = world.engine_with(&[("REDIS_RESPONSE_TIMEOUT_MS", "20000")]);
    let lease = started(&engine, &world.payment).await;
    world.redis_proxy.black_hole();

    let completed = within(Duration::from_secs(8), lease.complete(charged())).await;

    assert_eq!(completed, WriteResult::Stored(charged()));
}

#[tokio::test]
async fn a_delayed_insert_starts_no_attempt() {
    let world = World::tiered().await;
    let late = world.engine();
    late.claim(&a_payment(), patience())
        .await
        .expect("connected");
    world.mongo_proxy.stall();
    let gave_up = late
        .claim(&world.payment, Deadline::after(Duration::from_millis(600)))
        .await;
    assert!(gave_up.is_err());
    let direct = MongoServer::shared().await.uri();
    let quick = world.engine_with(&[("MONGODB_URI", &direct)]);
    let lease = started(&quick, &world.payment).await;

    world.mongo_proxy.heal();

    assert_eq!(
        lease.complete(charged()).await,
        WriteResult::Stored(charged())
    );
    let ClaimOutcome::Blocked(Blocked::Replay(replayed)) = claim(&late, &world.payment).await
    else {
        panic!("the claim does not replay a result");
    };
    assert_eq!(replayed, charged());
}

#[tokio::test]
async fn an_unacknowledged_claim_starts_no_attempt() {
    let world = World::tiered().await;
    let engine = world.engine();
    engine
        .claim(&a_payment(), patience())
        .await
        .expect("connected");
    world.mongo_proxy.drop_next_reply();
    let claiming = engine.claim(&world.payment, Deadline::after(Duration::from_millis(800)));
    let (claimed, ()) = tokio::join!(claiming, async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        world.mongo_proxy.black_hole();
    });
    assert!(claimed.is_err(), "{claimed:?}");

    world.mongo_proxy.heal();
    world.retry_until_final().await;

    assert_eq!(world.provider.charges(), 0);
}

/// Process A crashes after its claim is in Redis (a hint) and before the claim is in MongoDB. Then process B,
/// without Redis, completes the key in MongoDB for another request.
#[tokio::test]
async fn the_hint_of_a_crashed_process_blocks_no_caller() {
    let world = World::tiered().await;
    let dead = world.engine();
    dead.claim(&a_payment(), patience())
        .await
        .expect("connected");
    world.mongo_proxy.stall();
    let claiming = dead.claim(&world.payment, patience());
    let died = tokio::time::timeout(SOON, claiming).await;
    assert!(died.is_err());
    let key = world.payment.key.as_str();
    assert!(world.redis.query::<bool>(&["EXISTS", key]).await);
    let direct = MongoServer::shared().await.uri();
    let without_redis = world.engine_with(&[("MONGODB_URI", &direct), ("REDIS_URL", "")]);
    let other = Operation {
        fingerprint: paying(20),
        ..world.payment.clone()
    };
    started(&without_redis, &other)
        .await
        .complete(charged())
        .await;

    let ClaimOutcome::Blocked(Blocked::Replay(replayed)) =
        claim(&world.engine_with(&[("MONGODB_URI", &direct)]), &other).await
    else {
        panic!("the claim does not replay the result");
    };

    assert_eq!(replayed, charged());
}

#[tokio::test]
async fn a_result_that_mongodb_did_not_acknowledge_is_not_replayed() {
    let world = World::tiered().await;
    let engine = world.engine();
    let claimed = engine
        .claim(&world.payment, Deadline::after(Duration::from_secs(1)))
        .await;
    let ClaimOutcome::Claimed(lease) = claimed.expect("decided").value else {
        panic!("claim failed");
    };
    world.mongo_proxy.black_hole();

    let completion = lease.complete(charged()).await;

    assert_eq!(completion, WriteResult::NotDurable);
    // The hint may have expired with its lease.
    let stored: Option<String> = world
        .redis
        .query(&["GET", world.payment.key.as_str()])
        .await;
    assert!(
        stored
            .as_ref()
            .is_none_or(|stored| stored.contains(" in_progress ")),
        "{stored:?}"
    );
    world.mongo_proxy.heal();
    let elsewhere = world.engine();
    eventually(Duration::from_secs(10), async || {
        matches!(
            claim(&elsewhere, &world.payment).await,
            ClaimOutcome::Blocked(Blocked::Unknown(_))
        )
    })
    .await;
}

#[tokio::test]
async fn storing_a_result_is_retried_while_mongodb_is_away() {
    let world = World::tiered().await;
    let engine = world.engine();
    let claimed = engine.claim(&world.payment, patience()).await;
    let ClaimOutcome::Claimed(lease) = claimed.expect("decided").value else {
        panic!("claim failed");
    };
    world.mongo_proxy.refuse();

    let (completion, ()) = tokio::join!(lease.complete(charged()), async {
        tokio::time::sleep(Duration::from_secs(6)).await;
        world.mongo_proxy.heal();
    });

    assert_eq!(completion, WriteResult::Stored(charged()));
    let again = claim(&world.engine(), &world.payment).await;
    assert!(
        matches!(again, ClaimOutcome::Blocked(Blocked::Replay(_))),
        "{again:?}"
    );
}

#[tokio::test]
async fn a_delayed_write_undoes_nothing() {
    let world = World::tiered().await;
    faults::a_delayed_write_undoes_nothing(&world, &world.mongo_proxy).await;
}

#[tokio::test]
async fn a_renewal_after_an_unacknowledged_one_is_written() {
    let world = World::tiered().await;
    faults::a_renewal_after_an_unacknowledged_one_is_written(&world, &world.mongo_proxy).await;
}

#[tokio::test]
async fn a_resumed_attempt_keeps_its_hint_in_redis() {
    let world = World::tiered().await;
    let lease = started(&world.engine(), &world.payment).await;
    let key = world.payment.key.as_str();
    let hint: String = world.redis.query(&["GET", key]).await;

    let mut elsewhere = world.engine().resume(lease.token(), patience());
    assert_eq!(
        elsewhere.checkpoint("a note").await,
        WriteResult::Stored(())
    );
    let renewal = elsewhere.renew(Duration::from_secs(60)).await;

    assert!(matches!(renewal, WriteResult::Stored(_)), "{renewal:?}");
    assert_eq!(world.redis.query::<String>(&["GET", key]).await, hint);
}

/// The engine stops waiting for MongoDB some time before its deadline. In the remaining time, it removes the claim from
/// Redis.
#[tokio::test]
async fn a_claim_without_a_reply_from_mongodb_leaves_no_hint() {
    let world = World::tiered().await;
    let engine = world.engine();
    let connected = engine.claim(&a_payment(), patience()).await;
    connected.expect("decided");
    world.mongo_proxy.stall();

    for milliseconds in [600, 2_500] {
        let deadline = Deadline::after(Duration::from_millis(milliseconds));
        let owner = OwnerId::fresh();
        let lease = Duration::from_secs(900);
        let claimed = engine
            .claim_as(owner, lease, &world.payment, deadline)
            .await;
        assert!(claimed.is_err(), "{claimed:?}");
        let key = world.payment.key.as_str();
        assert!(!world.redis.query::<bool>(&["EXISTS", key]).await);
    }
}

/// The stall is longer than MongoDB's timeout for one call. The engine sends the claim again. If the first
/// claim arrives too, MongoDB recognises that both have the same owner.
#[tokio::test]
async fn a_claim_is_retried_while_mongodb_stalls() {
    let world = World::tiered().await;
    let engine = world.engine();
    let connected = engine.claim(&a_payment(), patience()).await;
    connected.expect("decided");
    world.mongo_proxy.stall();

    let (claimed, ()) = tokio::join!(engine.claim(&world.payment, patience()), async {
        tokio::time::sleep(Duration::from_secs(6)).await;
        world.mongo_proxy.heal();
    });

    let outcome = claimed.expect("decided").value;
    assert!(matches!(outcome, ClaimOutcome::Claimed(_)), "{outcome:?}");
}

#[tokio::test]
async fn an_attempt_taken_over_during_a_partition_returns_the_replay() {
    let stage = Stage::tiered().await.with("IDEMPOTENCY_LEASE_MS", "100");
    let (first, second) = (stage.engine(), stage.engine());
    let payment = super::stage::a_resumable_payment();
    let stalled = started(&first, &payment).await;
    tokio::time::sleep(Duration::from_millis(150)).await;
    let winner = started(&second, &payment).await;
    winner.complete(answer("second")).await;
    let redis = stage.redis.as_ref().expect("tiered");
    redis.command(&["FLUSHALL"]).await;

    let late = stalled.complete(answer("first")).await;

    let expected = Some(Blocked::Replay(answer("second")));
    assert_eq!(late, WriteResult::Superseded(expected.clone()));
    for _ in 0..2 {
        let blocked = stage.engine().wait_for(&payment, patience()).await;
        assert_eq!(blocked.expect("decided"), expected);
        redis.command(&["FLUSHALL"]).await;
    }
}

#[tokio::test]
async fn a_resolution_during_an_outage_of_redis_is_replayed_after_it() {
    let stage = Stage::tiered().await.with("IDEMPOTENCY_LEASE_MS", "400");
    let (engine, payment) = (stage.engine(), a_payment());
    drop(started(&engine, &payment).await);
    let without_redis = stage.clone_settings().with("REDIS_URL", "").new_engine();
    let entry = without_redis.entry(&payment.key, patience()).await;
    let entry = entry.expect("read").expect("there");
    let resolved = without_redis
        .resolve_entry(&entry, Resolution::Completed(charged()), patience())
        .await;
    assert_eq!(resolved, Ok(ResolveResult::Stored));

    eventually(Duration::from_secs(5), async || {
        match claim(&engine, &payment).await {
            ClaimOutcome::Blocked(Blocked::Replay(replayed)) => replayed == charged(),
            ClaimOutcome::Blocked(Blocked::InProgress { .. }) => false,
            other => panic!("{other:?}"),
        }
    })
    .await;
}

#[tokio::test]
async fn a_blocked_claim_copies_the_result_of_mongodb_to_redis() {
    let world = World::tiered().await;
    let engine = world.engine();
    started(&engine, &world.payment)
        .await
        .complete(charged())
        .await;
    world.redis.command(&["FLUSHALL"]).await;
    let key = world.payment.key.as_str();

    let again = claim(&engine, &world.payment).await;

    assert!(matches!(again, ClaimOutcome::Blocked(Blocked::Replay(_))));
    let stored: String = world.redis.query(&["GET", key]).await;
    assert!(stored.contains(" completed "), "{stored}");
    let left: i64 = world.redis.query(&["PTTL", key]).await;
    assert!((86_000_000..=86_400_000).contains(&left), "{left}");
}

#[tokio::test]
async fn a_blocked_claim_removes_only_its_own_hint() {
    let world = World::tiered().await;
    let engine = world.engine();
    let lease = started(&engine, &world.payment).await;
    let key = world.payment.key.as_str();
    let held: String = world.redis.query(&["GET", key]).await;
    let other = Operation {
        fingerprint: paying(20),
        ..world.payment.clone()
    };

    assert!(matches!(
        claim(&engine, &other).await,
        ClaimOutcome::Blocked(Blocked::Mismatch)
    ));

    let still_held: String = world.redis.query(&["GET", key]).await;
    assert_eq!(still_held, held);
    lease.release().await;
    assert_eq!(world.redis.keys("*").await, Vec::<String>::new());
}

/// The retention of the old result is over, and a new attempt has started. Then Redis gets the old result
/// again, as if the network had delayed the message.
#[tokio::test]
async fn redis_keeps_the_newer_of_two_results() {
    let stage = Stage::tiered().await.with("IDEMPOTENCY_TTL_SECONDS", "1");
    let (engine, payment) = (stage.engine(), a_payment());
    let redis = stage.redis.as_ref().expect("tiered");
    started(&engine, &payment)
        .await
        .complete(answer("old"))
        .await;
    let key = payment.key.as_str();
    let old: String = redis.query(&["GET", key]).await;
    let mut next = None;
    eventually(Duration::from_secs(5), async || {
        if let ClaimOutcome::Claimed(lease) = claim(&engine, &payment).await {
            next = Some(lease);
        }
        next.is_some()
    })
    .await;
    redis.command(&["SET", key, &old]).await;

    next.expect("started").complete(answer("new")).await;

    let kept: String = redis.query(&["GET", key]).await;
    assert!(kept.ends_with("new"), "{kept}");
}

#[tokio::test]
async fn without_mongodb_nothing_starts_and_redis_keeps_no_claim() {
    let world = World::tiered().await;
    let engine = world.engine();
    world.mongo_proxy.refuse();

    let claimed = engine.claim(&world.payment, patience()).await;

    assert!(claimed.is_err());
    assert_eq!(world.redis.keys("*").await, Vec::<String>::new());
    assert_eq!(engine.counts().degraded, 1);
}

#[tokio::test]
async fn without_redis_mongodb_decides_the_same_and_reports_it() {
    let world = World::tiered().await;
    world.redis_proxy.refuse();
    let engine = world.engine();
    let claimed = engine
        .claim(&world.payment, patience())
        .await
        .expect("decided");
    assert_eq!(claimed.degraded_to, Some(Backend::MongoDb));
    let ClaimOutcome::Claimed(lease) = claimed.value else {
        panic!("claim failed");
    };
    assert!(matches!(
        claim(&engine, &world.payment).await,
        ClaimOutcome::Blocked(Blocked::InProgress { .. })
    ));
    assert_eq!(
        lease.complete(charged()).await,
        WriteResult::Stored(charged())
    );

    world.redis_proxy.heal();

    eventually(Duration::from_secs(5), async || {
        let claimed = engine.claim(&world.payment, soon()).await.expect("decided");
        assert!(matches!(
            claimed.value,
            ClaimOutcome::Blocked(Blocked::Replay(_))
        ));
        claimed.degraded_to.is_none()
    })
    .await;
}

/// Redis holds only hints (copies of some records). So the engine lists keys from MongoDB and creates the index in
/// MongoDB.
#[tokio::test]
async fn keys_are_listed_and_indexed_in_mongodb() {
    let stage = Stage::tiered().await;
    let (engine, payment) = (stage.engine(), a_payment());
    engine.prepare(patience()).await.expect("prepared");
    drop(started(&engine, &payment).await);
    let redis = stage.redis.as_ref().expect("redis");
    redis.command(&["FLUSHALL"]).await;

    let keys = engine.keys(10, patience()).await;
    assert_eq!(keys, Ok(vec![payment.key.clone()]));
    let mut pages = engine.unfinished(RecordKey::PREFIX);
    let page = pages.next_page(patience()).await.expect("read");
    assert_eq!(page.expect("a page").len(), 1);
    let server = MongoServer::shared().await;
    let database = stage.database.as_deref().expect("mongodb");
    let records = server.collection(database, "idempotency").await;
    let names = records.list_index_names().await.expect("listed");
    assert!(
        names.contains(&"idempotency_unfinished".to_owned()),
        "{names:?}"
    );
}
