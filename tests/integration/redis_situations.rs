//! Every failure of Redis, and the response of `/api/health/redis`.

use std::time::Duration;

use harness::{FaultProxy, Lambda, RedisServer, eventually, within};
use serde_json::{Value, json};

use crate::given;

const PATH: &str = "/api/health/redis";

/// The health of Redis in a response.
#[derive(Debug, PartialEq)]
pub(crate) struct Health {
    pub(crate) http_status: u16,
    status: Value,
    pub(crate) error_code: Value,
    /// The operations of the probe that succeeded. Null if the probe tried none.
    operations: Value,
}

impl Health {
    /// Returns this health with `operations` set to null, for tests that do not check the
    /// operations.
    pub(crate) fn without_operations(self) -> Self {
        Self {
            operations: Value::Null,
            ..self
        }
    }
}

pub(crate) async fn health(lambda: &Lambda) -> Health {
    let answer = lambda.get(PATH).await;
    let json = answer.json();
    Health {
        http_status: answer.status,
        status: json["status"].clone(),
        error_code: json["error_code"].clone(),
        operations: json["operations"].clone(),
    }
}

pub(crate) async fn health_of(url: &str) -> Health {
    health(&given::redis_function(url).await).await
}

pub(crate) fn disconnected(error_code: &str) -> Health {
    Health {
        http_status: 503,
        status: json!("disconnected"),
        error_code: json!(error_code),
        operations: Value::Null,
    }
}

pub(crate) fn unhealthy(error_code: &str, operations: Value) -> Health {
    Health {
        http_status: 503,
        status: json!("unhealthy"),
        error_code: json!(error_code),
        operations,
    }
}

pub(crate) fn degraded(error_code: &str, operations: Value) -> Health {
    Health {
        http_status: 200,
        status: json!("degraded"),
        error_code: json!(error_code),
        operations,
    }
}

/// A replica whose primary is down. The replica has this additional setting.
async fn orphaned_replica(setting: &str, value: &str) -> RedisServer {
    let primary = RedisServer::start().await;
    let replica = RedisServer::builder()
        .replica_of(&primary)
        .setting(setting, value)
        .start()
        .await;
    primary.stop().await;
    eventually(Duration::from_secs(10), async || {
        replica.info("master_link_status").await == "down"
    })
    .await;
    replica
}

#[tokio::test]
async fn an_invalid_url_is_reported_and_does_not_stop_the_start() {
    for url in [
        "hunter2",
        "http://localhost",
        "redis://",
        "redis://host:port",
        "redis://localhost/hunter2",
        "redis://localhost/-1",
        "redis://localhost?db=2",
        "redis://localhost#insecure",
        "rediss://localhost#insecure",
    ] {
        let lambda = given::redis_function(url).await;
        let answer = lambda.get(PATH).await.json();
        assert_eq!(
            (&answer["error_code"], &answer["url"]),
            (&json!("invalid_url"), &json!("<unparseable>")),
            "{url}"
        );
    }
}

#[tokio::test]
async fn a_closed_port_is_reported_at_once() {
    let refusing = FaultProxy::refusing();
    let lambda = given::redis_function(&format!("redis://{}", refusing.address())).await;

    let health = within(Duration::from_secs(1), health(&lambda)).await;

    assert_eq!(health, disconnected("connect_failed"));
}

#[tokio::test]
async fn a_host_without_an_address_is_a_failed_connect() {
    assert_eq!(
        health_of("redis://no-such-host.invalid:6379").await,
        disconnected("connect_failed")
    );
}

#[tokio::test]
async fn a_server_that_does_not_reply_to_the_handshake_is_a_connect_timeout() {
    let silent = FaultProxy::silent();
    assert_eq!(
        health_of(&format!("redis://{}", silent.address())).await,
        disconnected("connect_timeout")
    );
}

#[tokio::test]
async fn a_server_that_stops_replying_after_the_handshake_is_a_timeout() {
    let (_redis, proxy, lambda) = given::proxied_redis_function().await;
    assert_eq!(lambda.get(PATH).await.status, 200);

    proxy.black_hole();

    assert_eq!(health(&lambda).await, unhealthy("timeout", json!([])));
}

#[tokio::test]
async fn wrong_and_missing_credentials_are_a_failed_authentication() {
    let redis = RedisServer::builder()
        .user("app", "right", "~* &* +@all")
        .default_user("off")
        .start()
        .await;
    let locked = RedisServer::builder().password("right").start().await;
    let urls = [
        redis.url_with("app", "wrong"),
        redis.url_with("unknown", "right"),
        redis.url_with("", "right"),
        format!("redis://{}", redis.address()),
        locked.url_with("", "wrong"),
        format!("redis://{}", locked.address()),
    ];
    for url in urls {
        assert_eq!(health_of(&url).await, disconnected("auth_failed"), "{url}");
    }
    assert_eq!(health_of(&redis.url()).await.http_status, 200);
    assert_eq!(health_of(&locked.url()).await.http_status, 200);
}

#[tokio::test]
async fn a_certificate_of_an_unknown_authority_is_a_failed_tls_handshake() {
    let tls = RedisServer::builder().tls().start().await;
    assert_eq!(health_of(&tls.url()).await, disconnected("tls_failed"));

    let ca_file = tls.ca_file().to_str().expect("a path");
    let trusting = Lambda::function("health-redis")
        .env("REDIS_URL", &tls.url())
        .env("REDIS_CA_FILE", ca_file)
        .start()
        .await;
    assert_eq!(trusting.get(PATH).await.status, 200);
}

#[tokio::test]
async fn a_server_without_tls_is_a_connect_timeout() {
    let plain = RedisServer::start().await;
    assert_eq!(
        health_of(&format!("rediss://{}", plain.address())).await,
        disconnected("connect_timeout")
    );
}

#[tokio::test]
async fn a_full_server_is_out_of_memory() {
    let redis = RedisServer::builder().full_memory().start().await;
    assert_eq!(
        health_of(&redis.url()).await,
        unhealthy("out_of_memory", json!(["ping"]))
    );
}

#[tokio::test]
async fn a_replica_is_read_only() {
    let primary = RedisServer::start().await;
    let replica = RedisServer::builder().replica_of(&primary).start().await;
    assert_eq!(
        health_of(&replica.url()).await,
        unhealthy("read_only", json!(["ping"]))
    );
}

#[tokio::test]
async fn a_replica_without_its_primary_is_master_down() {
    let replica = orphaned_replica("replica-serve-stale-data", "no").await;

    let health = health_of(&replica.url()).await.without_operations();

    assert_eq!(health, unhealthy("master_down", Value::Null));
}

#[tokio::test]
async fn a_writable_replica_without_its_primary_is_degraded() {
    let replica = orphaned_replica("replica-read-only", "no").await;
    let all = json!(["ping", "set", "get", "delete"]);
    assert_eq!(
        health_of(&replica.url()).await,
        degraded("replica_lag", all)
    );
}

#[tokio::test]
async fn a_primary_with_too_few_replicas_rejects_writes() {
    let redis = RedisServer::builder()
        .setting("min-replicas-to-write", "1")
        .start()
        .await;
    assert_eq!(
        health_of(&redis.url()).await,
        unhealthy("no_replicas", json!(["ping"]))
    );
}

#[tokio::test]
async fn a_cluster_without_slots_is_down() {
    let redis = RedisServer::builder()
        .setting("cluster-enabled", "yes")
        .start()
        .await;
    assert_eq!(
        health_of(&redis.url()).await,
        unhealthy("cluster_down", json!(["ping"]))
    );
}

#[tokio::test]
async fn a_server_that_loads_its_data_is_loading() {
    let redis = RedisServer::start().await;
    redis.restart_loading().await;
    assert_eq!(
        health_of(&redis.url()).await,
        unhealthy("loading", json!([]))
    );
}

#[tokio::test]
async fn a_missing_permission_fails_its_operation() {
    let all = json!(["ping", "set", "get", "delete"]);
    let cases = [
        ("-set", json!(["ping"])),
        ("-get", json!(["ping", "set", "delete"])),
        ("-del", json!(["ping", "set", "get"])),
        ("-eval", all.clone()),
        ("-evalsha", all.clone()),
        ("-@scripting", all.clone()),
        // The script of the probe and the idempotency scripts call these commands.
        ("-time", all.clone()),
        ("-strlen", all.clone()),
        ("-pttl", all.clone()),
        ("-pexpiretime", all.clone()),
        ("-getrange", all),
    ];
    for (rule, operations) in cases {
        let redis = RedisServer::builder()
            .user("app", "pw", &format!("~* +@all {rule}"))
            .start()
            .await;
        assert_eq!(
            health_of(&redis.url()).await,
            unhealthy("no_permission", operations),
            "{rule}"
        );
    }
}

#[tokio::test]
async fn a_user_without_permission_for_scripts_fails_only_the_script() {
    let redis = RedisServer::builder()
        .user("app", "pw", "~* +@all -evalsha")
        .start()
        .await;
    let lambda = given::redis_function(&redis.url()).await;

    let results = lambda.get(PATH).await.json()["operation_results"].clone();

    assert_eq!(results["script"]["ok"], false);
    assert_eq!(results["script"]["error_code"], "no_permission");
    assert_eq!(results["delete"]["ok"], true);
    assert_eq!(redis.keys("*").await, Vec::<String>::new());
}

#[tokio::test]
async fn a_script_flush_does_not_fail_the_probe() {
    let (redis, _proxy, lambda) = given::proxied_redis_function().await;
    for _ in 0..3 {
        let health = lambda.get(PATH).await.json();
        assert_eq!(
            health["operation_results"]["script"]["ok"], true,
            "{health}"
        );
        redis.command(&["SCRIPT", "FLUSH"]).await;
    }
}

#[tokio::test]
async fn a_user_without_a_password_logs_in() {
    let redis = RedisServer::builder()
        .user("app", "pw", "nopass ~* +@all")
        .default_user("off")
        .start()
        .await;
    let url = format!("redis://app@{}", redis.address());
    assert_eq!(health_of(&url).await.http_status, 200);
    let url = format!("redis://other@{}", redis.address());
    assert_eq!(health_of(&url).await, disconnected("auth_failed"));
}

#[tokio::test]
async fn a_key_that_cannot_be_deleted_degrades_health_and_expires() {
    let redis = RedisServer::builder()
        .setting("rename-command DEL", "renamed")
        .start()
        .await;
    let all_but_delete = json!(["ping", "set", "get"]);
    assert_eq!(
        health_of(&redis.url()).await,
        degraded("cleanup_failed", all_but_delete)
    );
    let left = redis.keys("health:*").await;
    assert_eq!(left.len(), 1);
    assert!(
        redis.query::<i64>(&["TTL", &left[0]]).await > 0,
        "it expires"
    );
}

#[tokio::test]
async fn a_slow_network_is_degraded() {
    let redis = RedisServer::start().await;
    let proxy = FaultProxy::in_front_of(redis.address());
    proxy.delay(Duration::from_millis(150));

    let lambda = given::redis_function(&redis.url_through(&proxy)).await;
    let answer = lambda.get(PATH).await;

    assert_eq!(
        (answer.status, &answer.json()["error_code"]),
        (200, &json!("slow"))
    );
    let latency_ms = answer.json()["latency_ms"].as_f64().expect("a number");
    assert!(
        (150.0..300.0).contains(&latency_ms),
        "one round trip, without connecting: {latency_ms} ms"
    );
}

#[tokio::test]
async fn an_evicting_policy_matters_only_if_redis_decides_alone() {
    let redis = RedisServer::builder()
        .setting("maxmemory-policy", "volatile-lru")
        .start()
        .await;
    let all = json!(["ping", "set", "get", "delete"]);
    assert_eq!(
        health_of(&redis.url()).await,
        degraded("evicting_policy", all)
    );

    let backed = Lambda::function("health-redis")
        .env("REDIS_URL", &redis.url())
        .env("MONGODB_URI", "mongodb://not-connected-to")
        .start()
        .await;
    assert_eq!(backed.get(PATH).await.json()["status"], "healthy");
}
