//! The health routes: allowed methods, the token for details, time limits, and a host name that resolves to
//! another server.

use std::time::Duration;

use harness::{FaultProxy, Lambda, MongoServer, RedisServer, TestRequest, eventually, within};
use serde_json::json;

use crate::given;

const ROUTES: [(&str, &str); 3] = [
    ("health", "/api/health"),
    ("health-redis", "/api/health/redis"),
    ("health-detailed", "/api/health/detailed"),
];

#[tokio::test]
async fn every_route_accepts_only_get_and_head() {
    for (function, path) in ROUTES {
        let lambda = Lambda::function(function).start().await;
        assert_eq!(
            lambda.get(path).await.status,
            lambda.head(path).await.status,
            "{path}"
        );
        for method in ["POST", "PUT", "PATCH", "DELETE", "OPTIONS"] {
            let answer = lambda.request(TestRequest::new(method, path)).await;
            assert_eq!(
                (answer.status, answer.header("allow")),
                (405, Some("GET, HEAD")),
                "{method} {path}"
            );
        }
    }
}

#[tokio::test]
async fn a_token_protects_the_details_also_in_development() {
    for (function, path) in &ROUTES[1..] {
        let lambda = Lambda::function(function)
            .env("HEALTH_DETAILS_TOKEN", "token")
            .start()
            .await;
        let closed = lambda.get(path).await;
        let open = lambda
            .request(TestRequest::get(path).header("authorization", "Bearer token"))
            .await;
        assert_eq!(closed.status, open.status, "{path}");
        assert_eq!(
            closed.json().as_object().map(serde_json::Map::len),
            Some(1),
            "{path}"
        );
        assert!(open.json()["age_ms"].is_number(), "{path}");
    }
}

#[tokio::test]
async fn a_response_comes_within_the_total_timeout() {
    let silent = FaultProxy::silent();
    let lambda = Lambda::function("health-redis")
        .env("REDIS_URL", &format!("redis://{}", silent.address()))
        .env("HEALTH_CHECK_TIMEOUT_MS", "5000")
        .env("HEALTH_TOTAL_TIMEOUT_MS", "200")
        .start()
        .await;
    let answer = within(Duration::from_millis(700), lambda.get("/api/health/redis")).await;
    assert_eq!(
        (answer.status, &answer.json()["error_code"]),
        (503, &json!("connect_timeout"))
    );
}

#[tokio::test]
async fn a_response_comes_before_the_invocation_times_out() {
    let silent = FaultProxy::silent();
    let lambda = Lambda::function("health-detailed")
        .env("REDIS_URL", &format!("redis://{}", silent.address()))
        .env("MONGODB_URI", &format!("mongodb://{}", silent.address()))
        .timeout(Duration::from_millis(500))
        .start()
        .await;
    let answer = lambda.get("/api/health/detailed").await;
    assert_eq!((answer.status, lambda.processes()), (503, 1));
}

#[tokio::test]
async fn a_probe_without_a_reply_is_retried() {
    let (_redis, proxy, lambda) = given::proxied_redis_function().await;
    assert_eq!(lambda.get("/api/health/redis").await.status, 200);
    proxy.close_on_next_reply();
    assert_eq!(lambda.get("/api/health/redis").await.status, 200);
}

#[tokio::test]
async fn a_distant_mongodb_is_slow() {
    let mongo = MongoServer::shared().await;
    for delay_ms in [150, 210, 260] {
        let proxy = FaultProxy::in_front_of(mongo.address());
        proxy.delay(Duration::from_millis(delay_ms));
        let lambda = Lambda::function("health-detailed")
            .env("MONGODB_URI", &mongo.uri_through(&proxy))
            .env("HEALTH_MEMO_MS", "0")
            .start()
            .await;
        let mongodb =
            async || lambda.get("/api/health/detailed").await.json()["services"]["mongodb"].clone();
        eventually(Duration::from_secs(5), async || {
            mongodb().await["error_code"] == "slow"
        })
        .await;
        for _ in 0..3 {
            assert_eq!(mongodb().await["error_code"], "slow", "{delay_ms} ms");
        }
    }
}

#[tokio::test]
async fn after_a_failover_the_function_connects_to_the_new_primary() {
    let (old, new) = (RedisServer::start().await, RedisServer::start().await);
    let name = FaultProxy::in_front_of(old.address());
    let lambda = Lambda::function("health-redis")
        .env("REDIS_URL", &old.url_through(&name))
        .env("HEALTH_MEMO_MS", "0")
        .start()
        .await;
    assert_eq!(lambda.get("/api/health/redis").await.status, 200);

    name.lead_to(new.address());
    old.command(&["REPLICAOF", "127.0.0.1", &new.port().to_string()])
        .await;

    assert_eq!(
        lambda.get("/api/health/redis").await.json()["error_code"],
        "read_only"
    );
    eventually(Duration::from_secs(20), async || {
        lambda.get("/api/health/redis").await.status == 200
    })
    .await;
    assert_eq!(name.accepted(), 2);
}
