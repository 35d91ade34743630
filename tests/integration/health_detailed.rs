//! `GET /api/health/detailed`: the status of each service, and the overall status.

use std::time::Duration;

use harness::{Answer, FaultProxy, Lambda, MongoServer, RedisServer, TestRequest, within};
use serde_json::{Value, json};

const PATH: &str = "/api/health/detailed";

async fn answer_of(variables: &[(&str, &str)]) -> Answer {
    let function = Lambda::function("health-detailed").envs(variables);
    function.start().await.get(PATH).await
}

fn statuses(answer: &Value) -> [&Value; 4] {
    let services = &answer["services"];
    [
        &answer["status"],
        &services["redis"]["status"],
        &services["mongodb"]["status"],
        &services["api"]["status"],
    ]
}

#[tokio::test]
async fn the_documented_members_keep_their_names_and_values() {
    let mongo = MongoServer::shared().await;

    let answer = answer_of(&[("MONGODB_URI", &mongo.uri())]).await;

    assert_eq!(answer.status, 200);
    let mut shown = answer.json();
    let members = ["status", "service", "version", "environment", "services"];
    shown
        .as_object_mut()
        .expect("an object")
        .retain(|name, _| members.contains(&name.as_str()));
    for service in ["redis", "mongodb", "api"] {
        let members = ["status", "connected", "error"];
        let service = shown["services"][service]
            .as_object_mut()
            .expect("an object");
        service.retain(|name, _| members.contains(&name.as_str()));
    }
    insta::assert_snapshot!(serde_json::to_string_pretty(&shown).expect("JSON"), @r#"
    {
      "status": "degraded",
      "service": "truebond",
      "version": "1.0.0",
      "environment": "development",
      "services": {
        "redis": {
          "status": "disconnected",
          "connected": false,
          "error": "Redis client not initialized"
        },
        "mongodb": {
          "status": "connected",
          "connected": true
        },
        "api": {
          "status": "healthy",
          "connected": true
        }
      }
    }
    "#);
}

#[tokio::test]
async fn the_overall_status_is_healthy_if_every_service_is() {
    let (redis, mongo) = (RedisServer::start().await, MongoServer::shared().await);

    let answer = answer_of(&[("REDIS_URL", &redis.url()), ("MONGODB_URI", &mongo.uri())]).await;

    assert_eq!(answer.status, 200);
    assert_eq!(
        statuses(&answer.json()),
        ["healthy", "healthy", "connected", "healthy"]
    );
}

#[tokio::test]
async fn a_laptop_without_stores_is_degraded() {
    let answer = answer_of(&[]).await;

    assert_eq!(answer.status, 200);
    assert_eq!(
        statuses(&answer.json()),
        ["degraded", "disconnected", "disconnected", "healthy"]
    );
    assert_eq!(answer.json()["services"]["redis"]["fallback"], "memory");
}

#[tokio::test]
async fn redis_is_critical_if_it_has_no_fallback() {
    let refusing = FaultProxy::refusing();
    let url = format!("redis://{}", refusing.address());
    let uri = MongoServer::shared().await.uri();
    let redis = ("REDIS_URL", &*url);
    let production = ("ENVIRONMENT", "production");
    let cases: [(&[_], u16); 5] = [
        (&[redis], 200),
        (&[redis, ("HEALTH_CRITICAL", "api, redis")], 503),
        (&[redis, production], 503),
        (&[redis, production, ("HEALTH_CRITICAL", "")], 200),
        (&[redis, production, ("MONGODB_URI", &uri)], 200),
    ];
    for (variables, expected) in cases {
        assert_eq!(answer_of(variables).await.status, expected, "{variables:?}");
    }
}

#[tokio::test]
async fn an_unresponsive_mongodb_does_not_delay_the_other_checks() {
    let redis = RedisServer::start().await;
    let silent = FaultProxy::silent();
    let uri = format!("mongodb://{}", silent.address());

    let answer = answer_of(&[("REDIS_URL", &redis.url()), ("MONGODB_URI", &uri)]).await;

    assert_eq!(answer.status, 503);
    let answer = answer.json();
    assert_eq!(
        statuses(&answer),
        ["unhealthy", "healthy", "unhealthy", "healthy"]
    );
    assert_eq!(answer["services"]["mongodb"]["error_code"], "timeout");
    assert_eq!(answer["services"]["mongodb"]["fallback"], "reject");
    assert!(
        answer["services"]["redis"]["latency_ms"]
            .as_f64()
            .is_some_and(|latency| latency < 100.0),
        "{answer}"
    );
    assert!(
        answer["latency_ms"]
            .as_f64()
            .is_some_and(|latency| latency <= 1_000.0),
        "{answer}"
    );
}

#[tokio::test]
async fn a_mongodb_that_stops_replying_is_a_timeout() {
    let mongo = MongoServer::shared().await;
    let proxy = FaultProxy::in_front_of(mongo.address());
    let lambda = Lambda::function("health-detailed")
        .env("MONGODB_URI", &mongo.uri_through(&proxy))
        .env("HEALTH_MEMO_MS", "0")
        .start()
        .await;
    assert_eq!(lambda.get(PATH).await.status, 200);

    proxy.black_hole();
    let answer = within(Duration::from_millis(1_500), lambda.get(PATH)).await;

    assert_eq!(
        (
            answer.status,
            &answer.json()["services"]["mongodb"]["error_code"]
        ),
        (503, &json!("timeout"))
    );
}

#[tokio::test]
async fn a_mongodb_that_refuses_connections_is_connect_failed() {
    let refusing = FaultProxy::refusing();
    let uri = format!("mongodb://{}", refusing.address());

    let mongodb = answer_of(&[("MONGODB_URI", &uri)]).await.json()["services"]["mongodb"].clone();

    assert_eq!(
        (&mongodb["status"], &mongodb["error_code"]),
        (&json!("disconnected"), &json!("connect_failed"))
    );
}

#[tokio::test]
async fn an_invalid_mongodb_uri_is_reported_and_does_not_stop_the_start() {
    for uri in ["hunter2", "mongodb://", "http://localhost"] {
        let mongodb =
            answer_of(&[("MONGODB_URI", uri)]).await.json()["services"]["mongodb"].clone();
        assert_eq!(
            (&mongodb["status"], &mongodb["error_code"]),
            (&json!("disconnected"), &json!("invalid_url")),
            "{uri}"
        );
    }
}

#[tokio::test]
async fn outside_development_only_the_token_opens_the_details() {
    let lambda = Lambda::function("health-detailed")
        .env("ENVIRONMENT", "production")
        .env("HEALTH_CRITICAL", "")
        .env("HEALTH_DETAILS_TOKEN", "token-of-16-char")
        .start()
        .await;

    assert_eq!(lambda.get(PATH).await.text(), r#"{"status":"degraded"}"#);
    let opened = lambda
        .request(TestRequest::get(PATH).header("authorization", "Bearer token-of-16-char"))
        .await;
    assert_eq!(opened.json()["services"]["redis"]["fallback"], "reject");
}

#[tokio::test]
async fn a_wrong_redis_password_makes_the_overall_status_degraded() {
    let redis = RedisServer::builder().password("right").start().await;

    let answer = answer_of(&[("REDIS_URL", &redis.url_with("", "wrong"))]).await;

    assert_eq!(answer.status, 200);
    assert_eq!(answer.json()["status"], "degraded");
    assert_eq!(
        answer.json()["services"]["redis"]["error_code"],
        "auth_failed"
    );
}

#[tokio::test]
async fn a_degraded_critical_service_makes_the_overall_status_degraded() {
    let redis = RedisServer::builder()
        .setting("maxmemory-policy", "volatile-lru")
        .start()
        .await;

    let answer = answer_of(&[("REDIS_URL", &redis.url()), ("HEALTH_CRITICAL", "redis")]).await;

    assert_eq!(answer.status, 200);
    assert_eq!(
        statuses(&answer.json()),
        ["degraded", "degraded", "disconnected", "healthy"]
    );
}

#[tokio::test]
async fn the_details_show_that_plaintext_is_allowed() {
    let redis = RedisServer::start().await;
    let url = redis.url();
    for (setting, shown) in [("allowed", Some(&json!("allowed"))), ("refused", None)] {
        let lambda = Lambda::function("health-detailed")
            .env("ENVIRONMENT", "production")
            .env("REDIS_URL", &url)
            .env("REDIS_PLAINTEXT", setting)
            .env("HEALTH_DETAILS_TOKEN", "token-of-16-char")
            .start()
            .await;

        let with_token = TestRequest::get(PATH).header("authorization", "Bearer token-of-16-char");
        let details = lambda.request(with_token).await.json();

        assert_eq!(details["services"]["redis"].get("plaintext"), shown);
        let brief = lambda.get(PATH).await;
        assert_eq!(brief.text(), r#"{"status":"degraded"}"#);
    }
}
