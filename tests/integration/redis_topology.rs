//! The health of a Redis cluster, for clients with and without cluster mode. A client without cluster mode uses only one node.
//! The status is then `healthy` only if this node holds all keys.

use std::time::Duration;

use harness::{CacheUser, FaultProxy, Lambda, RedisCluster, RedisServer, eventually};
use redis_client::{Error, Reason, Repeat, Script};
use serde_json::json;

use crate::given;
use crate::redis_situations::{health, unhealthy};

/// Starts `health-redis`, which probes at every request.
async fn probing(url: &str) -> Lambda {
    let function = Lambda::function("health-redis").env("REDIS_URL", url);
    // A slow test machine must not make Redis `slow`.
    let function = function.envs(&[("HEALTH_MEMO_MS", "0"), ("HEALTH_SLOW_MS", "29000")]);
    function.start().await
}

/// A cluster of one master that holds the slots from `first` to `last`.
async fn one_master(first: &str, last: &str) -> RedisServer {
    let redis = RedisServer::builder()
        .setting("cluster-enabled", "yes")
        .setting("cluster-require-full-coverage", "no")
        .start()
        .await;
    redis
        .command(&["CLUSTER", "ADDSLOTSRANGE", first, last])
        .await;
    eventually(Duration::from_secs(20), async || {
        let info: String = redis.query(&["CLUSTER", "INFO"]).await;
        info.contains("cluster_state:ok")
    })
    .await;
    redis
}

/// Regression: `health-redis` answered 200 at random, depending on the slot of the probe's key.
#[tokio::test]
async fn a_node_with_part_of_the_keys_is_never_healthy() {
    let cluster = RedisCluster::start().await;
    let user = cluster.url_as(CacheUser::Health).await;
    for url in [cluster.url(), user] {
        let lambda = probing(&url).await;
        for _ in 0..30 {
            let health = health(&lambda).await.without_operations();
            assert_eq!(health, unhealthy("cluster_mode_required", json!(null)));
        }
        let error = lambda.get("/api/health/redis").await.json()["error"].clone();
        assert!(
            error
                .as_str()
                .is_some_and(|text| text.contains("REDIS_CLUSTER=true"))
        );
    }
}

#[tokio::test]
async fn a_single_master_needs_no_cluster_mode() {
    let redis = one_master("0", "16383").await;
    let lambda = probing(&redis.url()).await;
    for _ in 0..5 {
        assert_eq!(
            lambda.get("/api/health/redis").await.json()["status"],
            "healthy"
        );
    }
}

#[tokio::test]
async fn a_cluster_with_unassigned_slots_is_down_for_every_key() {
    let redis = one_master("0", "16000").await;
    let lambda = probing(&redis.url()).await;
    for _ in 0..30 {
        let health = health(&lambda).await.without_operations();
        assert_eq!(health, unhealthy("cluster_down", json!(null)));
    }
}

/// A failure of one of the three masters.
#[derive(Clone, Copy, Debug)]
enum Failure {
    Dead,
    Hung,
    Full,
}

/// Regression: `health-redis` answered 200 at random, depending on the master of the probe's key, while payments on the
/// failed master failed.
#[tokio::test]
async fn a_cluster_is_as_healthy_as_its_worst_master() {
    for failure in [Failure::Dead, Failure::Hung, Failure::Full] {
        for number in 0..3 {
            let cluster = RedisCluster::start().await;
            let lambda = Lambda::function("health-redis")
                .env("REDIS_URL", &cluster.url())
                .env("REDIS_CLUSTER", "true")
                .env("HEALTH_MEMO_MS", "0")
                .env("HEALTH_SLOW_MS", "29000")
                .start()
                .await;
            assert_eq!(health(&lambda).await.http_status, 200);
            let master = &cluster.nodes()[number];
            match failure {
                Failure::Dead => master.stop().await,
                Failure::Hung => master.pause(),
                Failure::Full => {
                    let limit = ["CONFIG", "SET", "maxmemory", "1"];
                    master.command(&limit).await;
                }
            }
            for _ in 0..10 {
                let health = health(&lambda).await;
                assert_eq!(health.http_status, 503, "{failure:?} {number}: {health:?}");
                if matches!(failure, Failure::Full) {
                    assert_eq!(health.error_code, "out_of_memory", "{number}");
                }
            }
            if matches!(failure, Failure::Hung) {
                master.resume();
            }
        }
    }
}

#[tokio::test]
async fn a_node_that_denies_cluster_slots_is_no_permission() {
    let redis = one_master("0", "16383").await;
    let user = [
        "ACL", "SETUSER", "app", "on", ">pw", "~*", "+@all", "-cluster",
    ];
    redis.command(&user).await;
    let lambda = probing(&redis.url_with("app", "pw")).await;

    let health = health(&lambda).await.without_operations();

    assert_eq!(health, unhealthy("no_permission", json!(null)));
}

#[tokio::test]
async fn a_command_for_a_key_of_another_node_does_not_run() {
    let cluster = RedisCluster::start().await;
    let client = given::redis_client(&[("REDIS_URL", &cluster.url())]);
    let script = Script::new("return redis.call('INCR', KEYS[1])", Repeat::Never);
    let (mut here, mut elsewhere) = (0, 0);
    for number in 0..30 {
        let key = format!("key:{number}");
        match client.run_script::<i64>(&script, &[&key], &[]).await {
            Ok(sum) => {
                assert_eq!(sum, 1);
                here += 1;
            }
            refused => {
                assert_eq!(refused, Err(Error::Refused(Reason::ClusterModeRequired)));
                assert_eq!(
                    client.get(&key).await,
                    Err(Error::Refused(Reason::ClusterModeRequired))
                );
                elsewhere += 1;
            }
        }
    }
    assert!(here > 0 && elsewhere > 0, "{here} {elsewhere}");
}

/// Regression: a warm process kept its connection to a demoted node, which redirected every command.
#[tokio::test]
async fn a_client_reconnects_if_its_node_redirects_commands() {
    let cluster = RedisCluster::start().await;
    let nodes = cluster.nodes();
    let name = FaultProxy::in_front_of(nodes[0].address());
    let url = nodes[0].url_through(&name);
    let client = given::redis_client(&[("REDIS_URL", &url)]);
    let (mut here, mut elsewhere) = (None, None);
    for number in 0..30 {
        let key = format!("key:{number}");
        match client.get(&key).await {
            Ok(_) => here = Some(key),
            Err(_) => elsewhere = Some(key),
        }
    }
    let (here, elsewhere) = (here.expect("a key"), elsewhere.expect("a key"));
    assert_eq!(
        name.accepted(),
        1,
        "a redirect does not close a new connection"
    );

    eventually(Duration::from_secs(30), async || {
        let redirected = client.get(&elsewhere).await;
        assert_eq!(redirected, Err(Error::Refused(Reason::ClusterModeRequired)));
        assert_eq!(client.get(&here).await, Ok(None));
        name.accepted() > 1
    })
    .await;
}
