//! The Redis client in a cluster with faults: slots move, slots are missing, or a node does not reply.

use std::time::Duration;

use harness::{FaultProxy, Lambda, RedisCluster, RedisServer, eventually, within};
use redis_client::{Error, Expiry, Reason, RedisClient, Repeat, Script, SetIfAbsent};
use shared::deadline::Deadline;

use crate::given;

const MINUTE: Duration = Duration::from_secs(60);

fn client_of(url: &str) -> RedisClient {
    given::redis_client(&[("REDIS_URL", url), ("REDIS_CLUSTER", "true")])
}

/// A cluster of one node behind a proxy. The node announces the proxy's address.
async fn proxied_cluster() -> (RedisServer, FaultProxy) {
    let node = RedisServer::builder()
        .setting("cluster-enabled", "yes")
        .start()
        .await;
    let proxy = FaultProxy::in_front_of(node.address());
    let port = proxy.port().to_string();
    node.command(&["CLUSTER", "ADDSLOTSRANGE", "0", "16383"])
        .await;
    node.command(&["CONFIG", "SET", "cluster-announce-ip", "127.0.0.1"])
        .await;
    node.command(&["CONFIG", "SET", "cluster-announce-port", &port])
        .await;
    let limit = Duration::from_secs(10);
    eventually(limit, async || {
        let info: String = node.query(&["CLUSTER", "INFO"]).await;
        info.contains("cluster_state:ok")
    })
    .await;
    (node, proxy)
}

/// A cluster in which each node serves its own slots even while another node is down. Also returns a client,
/// and a key on the first node.
async fn tolerant_cluster(
    client_for: impl Fn(&str) -> RedisClient,
) -> (RedisCluster, RedisClient, String) {
    let cluster = RedisCluster::start().await;
    for node in cluster.nodes() {
        node.command(&["CONFIG", "SET", "cluster-require-full-coverage", "no"])
            .await;
    }
    let client = client_for(&cluster.url());
    for number in 0..40 {
        client
            .set(&format!("key:{number}"), "value", Expiry::Never)
            .await
            .expect("set");
    }
    let key = cluster.nodes()[0].keys("key:*").await.remove(0);
    (cluster, client, key)
}

#[tokio::test]
async fn a_write_without_a_reply_is_not_retried() {
    let (node, proxy) = proxied_cluster().await;
    let client = client_of(&node.url_through(&proxy));
    let script = Script::new("return redis.call('INCR', KEYS[1])", Repeat::Never);
    let working = async || {
        eventually(Duration::from_secs(5), async || {
            client.incr("other").await.is_ok()
        })
        .await;
    };
    client
        .run_script::<i64>(&script, &["other"], &[])
        .await
        .expect("the node has the script");

    proxy.close_on_next_reply();
    let counted = client.incr("counter").await;
    assert!(counted.is_err_and(Error::may_have_run), "{counted:?}");
    assert_eq!(node.query::<i64>(&["GET", "counter"]).await, 1);

    working().await;
    proxy.close_on_next_reply();
    let counted = client.run_script::<i64>(&script, &["scripted"], &[]).await;
    assert!(counted.is_err_and(Error::may_have_run), "{counted:?}");
    assert_eq!(node.query::<i64>(&["GET", "scripted"]).await, 1);
}

#[tokio::test]
async fn a_read_without_a_reply_is_retried() {
    let (node, proxy) = proxied_cluster().await;
    let client = client_of(&node.url_through(&proxy));
    client
        .set("key", "value", Expiry::Never)
        .await
        .expect("set");
    proxy.close_on_next_reply();
    assert_eq!(client.get("key").await, Ok(Some(b"value".to_vec())));
}

#[tokio::test]
async fn a_key_is_found_during_and_after_the_move_of_its_slot() {
    let (cluster, client, key) = tolerant_cluster(client_of).await;
    let [from, to, third] = cluster.nodes() else {
        panic!("three nodes")
    };
    let slot = from
        .query::<i64>(&["CLUSTER", "KEYSLOT", &key])
        .await
        .to_string();
    let (from_id, to_id): (String, String) = (
        from.query(&["CLUSTER", "MYID"]).await,
        to.query(&["CLUSTER", "MYID"]).await,
    );

    to.command(&["CLUSTER", "SETSLOT", &slot, "IMPORTING", &from_id])
        .await;
    from.command(&["CLUSTER", "SETSLOT", &slot, "MIGRATING", &to_id])
        .await;
    let port = to.port().to_string();
    from.command(&["MIGRATE", "127.0.0.1", &port, &key, "0", "5000"])
        .await;
    assert_eq!(client.get(&key).await, Ok(Some(b"value".to_vec())), "ASK");
    let absent = format!("{{{key}}}:absent");
    let set = async |value: &[u8]| client.set_if_absent(&absent, value, MINUTE).await;
    assert_eq!(set(b"one").await, Ok(SetIfAbsent::Set), "ASK");
    assert!(
        matches!(set(b"two").await, Ok(SetIfAbsent::Present(stored)) if stored.value == b"one"),
        "ASK"
    );
    let replaced = client.set_if_equal(&absent, b"one", b"three", Expiry::After(MINUTE));
    assert_eq!(replaced.await, Ok(true), "ASK");

    for node in [to, from, third] {
        node.command(&["CLUSTER", "SETSLOT", &slot, "NODE", &to_id])
            .await;
    }
    assert_eq!(client.get(&key).await, Ok(Some(b"value".to_vec())), "MOVED");
    assert!(
        matches!(set(b"two").await, Ok(SetIfAbsent::Present(stored)) if stored.value == b"three"),
        "MOVED"
    );
    assert_eq!(
        client.incr(&format!("{{{key}}}:counter")).await,
        Ok(1),
        "MOVED, once"
    );
}

#[tokio::test]
async fn an_unresponsive_node_fails_only_its_own_keys() {
    let tested_each_time = |url: &str| {
        given::redis_client(&[
            ("REDIS_URL", url),
            ("REDIS_CLUSTER", "true"),
            ("REDIS_IDLE_CHECK_MS", "0"),
        ])
    };
    let (cluster, client, key) = tolerant_cluster(tested_each_time).await;
    cluster.nodes()[2].pause();

    for _ in 0..8 {
        let deadline = Deadline::after(Duration::from_millis(1_500));
        assert_eq!(
            client.within(deadline).get(&key).await,
            Ok(Some(b"value".to_vec()))
        );
    }
    client.disconnect();
    let deadline = Deadline::after(Duration::from_millis(1_500));
    assert_eq!(
        client.within(deadline).get(&key).await,
        Ok(Some(b"value".to_vec())),
        "on a new connection"
    );
    cluster.nodes()[2].resume();
}

#[tokio::test]
async fn a_new_script_needs_only_the_node_of_its_key() {
    let (cluster, client, key) = tolerant_cluster(client_of).await;
    cluster.nodes()[2].pause();
    let script = Script::new("return 42", Repeat::Never);
    let client = client.within(Deadline::after(Duration::from_secs(2)));
    assert_eq!(
        client.run_script::<i64>(&script, &[&key], &[]).await,
        Ok(42)
    );
    cluster.nodes()[2].resume();
}

#[tokio::test]
async fn a_cluster_with_a_missing_slot_is_down_at_once() {
    let node = RedisServer::builder()
        .setting("cluster-enabled", "yes")
        .start()
        .await;
    node.command(&["CLUSTER", "ADDSLOTSRANGE", "0", "16382"])
        .await;
    let client = client_of(&node.url());
    let down = Err(Error::Refused(Reason::ClusterDown));
    assert_eq!(
        within(Duration::from_millis(700), client.get("key")).await,
        down
    );

    let lambda = Lambda::function("health-redis")
        .env("REDIS_URL", &node.url())
        .env("REDIS_CLUSTER", "true")
        .start()
        .await;
    let answer = lambda.get("/api/health/redis").await;
    assert_eq!(
        (answer.status, &answer.json()["error_code"]),
        (503, &"cluster_down".into())
    );
}

#[tokio::test]
async fn a_cluster_works_with_tls_and_credentials() {
    let node = RedisServer::builder()
        .tls()
        .user("app", "p@ss", "~* +@all")
        .default_user("off")
        .setting("cluster-enabled", "yes")
        .setting("tls-cluster", "yes")
        .start()
        .await;
    node.command(&["CLUSTER", "ADDSLOTSRANGE", "0", "16383"])
        .await;
    let ca_file = node.ca_file().to_str().expect("a path");
    let trusting = given::redis_client(&[
        ("REDIS_URL", &node.url()),
        ("REDIS_CLUSTER", "true"),
        ("REDIS_CA_FILE", ca_file),
    ]);

    eventually(Duration::from_secs(10), async || {
        trusting.set("key", "value", Expiry::Never).await.is_ok()
    })
    .await;

    assert_eq!(trusting.get("key").await, Ok(Some(b"value".to_vec())));
    assert_eq!(
        client_of(&node.url()).ping().await,
        Err(Error::Unreachable(Reason::TlsFailed))
    );
}

#[tokio::test]
async fn a_cluster_that_does_not_reply_to_the_handshake_is_a_connect_timeout() {
    let silent = FaultProxy::silent();
    let client = client_of(&format!("redis://{}", silent.address()));
    let limit = Duration::from_millis(800);
    let answer = within(limit * 2, client.within(Deadline::after(limit)).ping()).await;
    assert_eq!(answer, Err(Error::Unreachable(Reason::ConnectTimeout)));
}
