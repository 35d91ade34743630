//! The Redis client in cluster mode.

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::future::join_all;
use harness::{CacheUser, FaultProxy, Lambda, RedisCluster, RedisServer, eventually, within};
use redis_client::{Error, Expiry, Operation, Reason, RedisClient, Repeat, Script};
use shared::deadline::Deadline;

use crate::given;

fn client_of(url: &str) -> RedisClient {
    given::redis_client(&[
        ("REDIS_URL", url),
        ("REDIS_CLUSTER", "true"),
        ("REDIS_RESPONSE_TIMEOUT_MS", "300"),
    ])
}

#[tokio::test]
async fn every_key_reaches_its_node() {
    let cluster = RedisCluster::start().await;
    let client = client_of(&cluster.url());

    for number in 0..100 {
        let key = format!("key:{number}");
        client
            .set(&key, &key, Expiry::After(Duration::from_secs(60)))
            .await
            .expect("set");
        assert_eq!(client.get(&key).await, Ok(Some(key.into_bytes())));
    }

    assert_eq!(cluster.keys("key:*").await.len(), 100);
    for node in cluster.nodes() {
        assert!(!node.keys("key:*").await.is_empty(), "every node has keys");
    }
}

#[tokio::test]
async fn scan_lists_the_keys_of_all_nodes_or_fails() {
    let cluster = RedisCluster::start().await;
    let client = client_of(&cluster.url());
    // There are so many keys that one reply cannot hold all keys of a node.
    let names: BTreeSet<_> = (0..6_000).map(|number| format!("key:{number}")).collect();
    let set = async |name: &str| client.set(name, "", Expiry::Never).await.expect("set");
    set("other").await;
    for some in Vec::from_iter(&names).chunks(100) {
        join_all(some.iter().map(|name| set(name))).await;
    }

    let all = client.scan("key:*", usize::MAX).await.expect("all");
    assert!(all == names, "{} of {}", all.len(), names.len());
    let some = client.scan("key:*", 10).await.expect("some");
    assert!(some.len() >= 10 && some.is_subset(&names) && some.len() < all.len());

    cluster.nodes()[1].pause();
    let silent = client.scan("key:*", usize::MAX).await;
    assert!(silent.is_err(), "an incomplete list: {silent:?}");
    cluster.nodes()[1].resume();
}

#[tokio::test]
async fn a_script_runs_on_the_node_of_its_key() {
    let cluster = RedisCluster::start().await;
    let client = client_of(&cluster.url());
    let script = Script::new(
        "return redis.call('INCRBY', KEYS[1], args.by)",
        Repeat::Never,
    );
    for number in 0..20 {
        let key = format!("counter:{number}");
        assert_eq!(
            client
                .run_script::<i64>(&script, &[&key], &[("by", b"7")])
                .await,
            Ok(7)
        );
    }
}

#[tokio::test]
async fn the_users_of_the_template_have_exactly_the_permissions_they_need() {
    let cluster = RedisCluster::start().await;
    let health = client_of(&cluster.url_as(CacheUser::Health).await);
    let payments = client_of(&cluster.url_as(CacheUser::Payments).await);

    let probe = health.health_check().await.expect("a probe");
    assert!(
        probe.operations.iter().all(|(_, result)| result.is_ok()) && probe.server.is_some(),
        "{probe:?}"
    );
    // This part checks that the payment user has no other permissions. The idempotency tests show that the user has the
    // permissions that it needs.
    for script in ["return redis.call('FLUSHALL')", "return redis.call('INFO')"] {
        let script = Script::new(script, Repeat::Never);
        let ran = payments
            .run_script::<String>(&script, &["idempotency:http:a:b:c"], &[])
            .await;
        assert!(ran.is_err(), "{ran:?}");
    }
}

/// If all functions had the same user, the function `idempotency` could overwrite the record of a
/// payment.
#[tokio::test]
async fn each_user_of_the_template_can_access_only_its_own_keys() {
    let cluster = RedisCluster::start().await;
    let keys = [
        (
            CacheUser::Payments,
            "idempotency:http:payments.create:jwt%3Aalice:k-1",
        ),
        (
            CacheUser::Payments,
            "idempotency:http:payments.webhook:stripe:evt_1",
        ),
        (CacheUser::Idempotency, "idempotency:fn:default:orders:k-1"),
        (CacheUser::Idempotency, "idempotency:fn:default:a%3A%2A:k-1"),
        (CacheUser::Health, "health:0123456789abcdef"),
    ];
    let of_no_user = [
        "idempotency:fn:default2:orders:k-1",
        "idempotency:fn:defaul:orders:k-1",
        "idempotency:fn:other:orders:k-1",
        "idempotency:k-1",
        "session:1",
        "",
    ];
    let write = Script::new(
        "redis.call('SET', KEYS[1], args.value) return redis.call('GET', KEYS[1])",
        Repeat::Never,
    );
    let write_to = async |client: &RedisClient, key: &str| {
        let value: &[u8] = b"own";
        client
            .run_script::<String>(&write, &[key], &[("value", value)])
            .await
    };
    for user in [
        CacheUser::Payments,
        CacheUser::Idempotency,
        CacheUser::Health,
    ] {
        let client = client_of(&cluster.url_as(user).await);
        let of_others = keys.iter().filter(|(owner, _)| *owner != user);
        for key in of_others.map(|(_, key)| *key).chain(of_no_user) {
            let refused = Err(Error::Refused(Reason::NoPermission));
            assert_eq!(client.get(key).await, refused, "{user:?} reads {key}");
            let written = write_to(&client, key).await;
            assert!(written.is_err(), "{user:?} writes {key}");
        }
        for (_, key) in keys.iter().filter(|(owner, _)| *owner == user) {
            let written = write_to(&client, key).await;
            assert_eq!(written.as_deref(), Ok("own"), "{user:?} writes {key}");
        }
    }
}

#[tokio::test]
async fn the_probe_works_on_every_node() {
    let cluster = RedisCluster::start().await;
    let client = client_of(&cluster.url());
    for _ in 0..20 {
        let check = client.health_check().await.expect("a result");
        assert_eq!(
            check.operations,
            Operation::ALL.map(|operation| (operation, Ok(())))
        );
        assert_eq!(
            (
                check.value_matches,
                check.server.and_then(|server| server.mode).as_deref()
            ),
            (Some(true), Some("cluster"))
        );
    }
    assert_eq!(cluster.keys("health:*").await, Vec::<String>::new());
}

#[tokio::test]
async fn health_works_with_a_cluster() {
    let cluster = RedisCluster::start().await;
    let lambda = Lambda::function("health-redis")
        .env("REDIS_URL", &cluster.url())
        .env("REDIS_CLUSTER", "true")
        .start()
        .await;

    let answer = lambda.get("/api/health/redis").await;

    assert_eq!(
        (answer.status, &answer.json()["status"]),
        (200, &"healthy".into())
    );
}

#[tokio::test]
async fn a_url_of_a_cluster_has_no_database() {
    let client = client_of("redis://127.0.0.1:6379/1");
    assert_eq!(
        client.ping().await,
        Err(Error::Unreachable(Reason::InvalidUrl))
    );
}

#[tokio::test]
async fn a_cluster_that_is_down_and_one_that_rejects_the_password_have_different_errors() {
    let locked = RedisServer::builder()
        .setting("cluster-enabled", "yes")
        .password("right")
        .start()
        .await;
    let refusing = FaultProxy::refusing();
    let ping = async |url: &str| {
        let client = client_of(url).within(Deadline::after(Duration::from_secs(2)));
        client.ping().await
    };

    assert_eq!(
        ping(&format!("redis://{}", refusing.address())).await,
        Err(Error::Unreachable(Reason::ConnectFailed))
    );
    assert_eq!(
        ping(&locked.url_with("", "wrong")).await,
        Err(Error::Unreachable(Reason::AuthFailed))
    );
}

#[tokio::test]
async fn a_command_to_unresponsive_nodes_ends_at_its_deadline() {
    let cluster = RedisCluster::start().await;
    let client = client_of(&cluster.url());
    client.ping().await.expect("connected");

    cluster.nodes().iter().for_each(RedisServer::pause);
    let hurried = client.within(Deadline::after(Duration::from_millis(400)));
    let answer = within(Duration::from_millis(700), hurried.get("key")).await;
    assert!(answer.is_err());

    cluster.nodes().iter().for_each(RedisServer::resume);
    eventually(Duration::from_secs(10), async || {
        client.get("key").await.is_ok()
    })
    .await;
}
