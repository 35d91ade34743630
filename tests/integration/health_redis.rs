//! `GET /api/health/redis`: the response, the access to details, and the number of round trips of a probe.

use std::time::Duration;

use harness::{Lambda, RedisServer, TestRequest, eventually};
use serde_json::Value;

use crate::given;

const PATH: &str = "/api/health/redis";

/// Returns the members of `answer` that have these names, as JSON text.
fn documented(answer: &Value, members: &[&str]) -> String {
    let members = members
        .iter()
        .map(|name| ((*name).to_owned(), answer[*name].clone()))
        .collect();
    serde_json::to_string_pretty(&Value::Object(members)).expect("JSON")
}

/// Returns the log messages about the connection, in order.
fn connection_messages(lambda: &Lambda) -> Vec<String> {
    let events = lambda.log_events().into_iter();
    events
        .filter_map(|event| event["message"].as_str().map(str::to_owned))
        .filter(|message| message.starts_with("Redis conn"))
        .collect()
}

#[tokio::test]
async fn a_working_redis_is_healthy_and_the_probe_leaves_no_key() {
    let redis = RedisServer::start().await;
    let lambda = given::redis_function(&redis.url()).await;

    let answer = lambda.get(PATH).await;

    assert_eq!(answer.status, 200);
    let shown = documented(
        &answer.json(),
        &["status", "connected", "url", "operations"],
    );
    insta::assert_snapshot!(shown.replace(&redis.port().to_string(), "6379"), @r#"
    {
      "status": "healthy",
      "connected": true,
      "url": "redis://127.0.0.1:6379",
      "operations": [
        "ping",
        "set",
        "get",
        "delete"
      ]
    }
    "#);
    for operation in ["ping", "set", "get", "delete"] {
        assert_eq!(
            answer.json()["operation_results"][operation]["ok"],
            true,
            "{operation}"
        );
    }
    assert_eq!(redis.keys("*").await, Vec::<String>::new());
}

#[tokio::test]
async fn redis_without_a_url_is_disconnected() {
    let lambda = Lambda::function("health-redis").start().await;

    let answer = lambda.get(PATH).await;

    assert_eq!(answer.status, 503);
    insta::assert_snapshot!(documented(&answer.json(), &["status", "connected", "error"]), @r#"
    {
      "status": "disconnected",
      "connected": false,
      "error": "Redis client not initialized"
    }
    "#);
    assert_eq!(answer.json()["fallback"], "memory");
    assert_eq!(
        connection_messages(&lambda),
        ["Redis connection failed: Redis client not initialized"]
    );
}

/// `health-redis` has no MongoDB URI, so only the variable `HEALTH_MONGODB_DECIDES` shows the function whether MongoDB
/// is the fallback.
#[tokio::test]
async fn a_setting_says_whether_mongodb_is_the_fallback() {
    for (decides, fallback) in [("true", "mongodb"), ("false", "memory")] {
        let lambda = Lambda::function("health-redis").env("HEALTH_MONGODB_DECIDES", decides);
        let answer = lambda.start().await.get(PATH).await;
        assert_eq!(answer.json()["fallback"], fallback, "{decides}");
    }
}

#[tokio::test]
async fn the_response_describes_the_server() {
    let redis = RedisServer::start().await;
    let lambda = given::redis_function(&redis.url()).await;

    let server = lambda.get(PATH).await.json()["server"].clone();

    assert_eq!(
        (&server["mode"], &server["role"]),
        (&"standalone".into(), &"master".into())
    );
    assert_eq!(server["eviction_policy"], "noeviction");
    assert!(
        server["memory_used_bytes"]
            .as_u64()
            .is_some_and(|bytes| bytes > 0),
        "{server}"
    );
}

#[tokio::test]
async fn a_server_that_denies_info_is_healthy() {
    let redis = RedisServer::builder()
        .user("app", "pw", "~health:* +@all -info")
        .start()
        .await;
    let lambda = given::redis_function(&redis.url()).await;

    let answer = lambda.get(PATH).await.json();

    assert_eq!(
        (&answer["status"], answer.get("server")),
        (&"healthy".into(), None)
    );
}

#[tokio::test]
async fn a_result_is_reused_and_shows_its_age() {
    let redis = RedisServer::start().await;
    let lambda = given::redis_function(&redis.url()).await;
    assert_result_is_reused(&lambda).await;
}

/// The total timeout in this test is the longest that is allowed. It is longer than the timeout of the function.
#[tokio::test]
async fn a_result_is_reused_also_with_the_longest_total_timeout() {
    let redis = RedisServer::start().await;
    let lambda = Lambda::function("health-redis")
        .env("REDIS_URL", &redis.url())
        .env("HEALTH_TOTAL_TIMEOUT_MS", "29000")
        .start()
        .await;
    assert_result_is_reused(&lambda).await;
}

async fn assert_result_is_reused(lambda: &Lambda) {
    let first = lambda.get(PATH).await.json();
    let again = lambda.get(PATH).await.json();

    assert_eq!(first["age_ms"], 0);
    assert_eq!(first["checked_at"], again["checked_at"]);
    assert!(
        again["age_ms"].as_u64().is_some_and(|age| age < 1_000),
        "{again}"
    );
}

#[tokio::test]
async fn head_responds_like_get_without_a_body() {
    let redis = RedisServer::start().await;
    let lambda = given::redis_function(&redis.url()).await;

    let (get, head) = (lambda.get(PATH).await, lambda.head(PATH).await);

    assert_eq!((get.status, head.status), (200, 200));
    assert_eq!(get.header("content-type"), head.header("content-type"));
}

#[tokio::test]
async fn another_method_gets_the_list_of_allowed_methods() {
    let lambda = Lambda::function("health-redis").start().await;

    let answer = lambda.request(TestRequest::post(PATH)).await;

    assert_eq!(
        (answer.status, answer.header("allow")),
        (405, Some("GET, HEAD"))
    );
    insta::assert_snapshot!(answer.text(), @r#"{"type":"urn:truebond:problem:method-not-allowed","title":"Method not allowed","status":405,"detail":"The Allow header lists the methods of this path."}"#);
}

#[tokio::test]
async fn outside_development_without_a_token_no_client_sees_details() {
    let redis = RedisServer::start().await;
    let lambda = Lambda::function("health-redis")
        .env("REDIS_URL", &redis.url())
        .env("ENVIRONMENT", "production")
        .start()
        .await;

    let answer = lambda
        .request(TestRequest::get(PATH).header("authorization", "Bearer "))
        .await;

    assert_eq!(
        (answer.status, answer.text()),
        (200, r#"{"status":"healthy"}"#)
    );
}

#[tokio::test]
async fn a_client_with_the_token_sees_details() {
    let lambda = Lambda::function("health-redis")
        .env("ENVIRONMENT", "production")
        .env("HEALTH_DETAILS_TOKEN", "s3cret-token-of-16")
        .start()
        .await;
    lambda.plant_secret("s3cret-token-of-16");
    let with =
        |header: &str| lambda.request(TestRequest::get(PATH).header("authorization", header));

    for header in [
        "Bearer s3cret-token-of-1",
        "Bearer s3cret-token-of-162",
        "s3cret-token-of-16",
        "Basic s3cret-token-of-16",
    ] {
        let answer = with(header).await;
        assert_eq!(
            (answer.status, answer.text()),
            (503, r#"{"status":"disconnected"}"#),
            "{header}"
        );
    }
    let answer = with("Bearer s3cret-token-of-16").await;
    assert_eq!(
        (answer.status, &answer.json()["error_code"]),
        (503, &"not_configured".into())
    );
    assert_eq!(answer.json()["fallback"], "reject");
    lambda.assert_no_secret_in_logs();
}

#[tokio::test]
async fn a_probe_is_one_round_trip_and_all_probes_share_one_connection() {
    let (_redis, proxy, lambda) = given::proxied_redis_function().await;

    assert_eq!(lambda.get(PATH).await.status, 200);
    assert_eq!(
        proxy.round_trips(),
        2,
        "the handshake and the probe: {:?}",
        proxy.commands()
    );
    proxy.reset_counters();
    for _ in 1..1_000 {
        assert_eq!(lambda.get(PATH).await.status, 200);
    }

    let pings = proxy
        .commands()
        .iter()
        .filter(|command| *command == "PING")
        .count();
    assert_eq!(
        proxy.round_trips(),
        pings,
        "one round trip for each probe or test of an idle connection"
    );
    assert_eq!((proxy.accepted(), proxy.open()), (0, 1));
}

#[tokio::test]
async fn redis_is_healthy_again_without_a_restart_of_the_function() {
    let (_redis, proxy, lambda) = given::proxied_redis_function().await;
    assert_eq!(lambda.get(PATH).await.status, 200);

    proxy.refuse();
    assert_eq!(
        lambda.get(PATH).await.json()["error_code"],
        "connect_failed"
    );

    proxy.heal();
    eventually(Duration::from_secs(5), async || {
        lambda.get(PATH).await.status == 200
    })
    .await;
    assert_eq!(lambda.processes(), 1);
}

#[tokio::test]
async fn the_log_has_each_change_once() {
    let (_redis, proxy, lambda) = given::proxied_redis_function().await;

    for _ in 0..3 {
        lambda.get(PATH).await;
    }
    proxy.refuse();
    for _ in 0..3 {
        lambda.get(PATH).await;
    }
    proxy.heal();
    eventually(Duration::from_secs(5), async || {
        lambda.get(PATH).await.status == 200
    })
    .await;

    let connected = format!("Redis connected: redis://127.0.0.1:{}", proxy.port());
    let failed = "Redis connection failed: connection refused or host not found; check host and port in the URL";
    assert_eq!(
        connection_messages(&lambda),
        [&connected, failed, &connected]
    );
}
