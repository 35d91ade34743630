//! Responses and logs contain no credential. This rule holds after every failure and at every log level.

use harness::{FaultProxy, Lambda, RedisServer, TestRequest};

const USER: &str = "planted-user";
const PASSWORD: &str = "Planted:p@ss/w?rd%#1";
const ENCODED: &str = "Planted%3Ap%40ss%2Fw%3Frd%25%231";
const QUERY: &str = "planted-query";
const TOKEN: &str = "planted-token";

const LEVELS: [&str; 5] = ["TRACE", "DEBUG", "INFO", "WARN", "ERROR"];

/// Calls a function with every planted secret, with and without the token for details. Checks that no secret is in
/// a response or in the log.
async fn nothing_is_shown(function: &str, path: &str, variables: &[(&str, &str)]) {
    for level in LEVELS {
        let lambda = Lambda::function(function)
            .envs(variables)
            .env("AWS_LAMBDA_LOG_LEVEL", level)
            .env("HEALTH_DETAILS_TOKEN", TOKEN)
            .start()
            .await;
        for secret in [USER, PASSWORD, QUERY, TOKEN] {
            lambda.plant_secret(secret);
        }
        lambda.get(path).await;
        lambda.head(path).await;
        let authorization = format!("Bearer {TOKEN}");
        let with_secrets = TestRequest::get(&format!("{path}?token={QUERY}"))
            .header("authorization", &authorization);
        lambda.request(with_secrets).await;
        lambda.request(TestRequest::post(path).body(PASSWORD)).await;
        lambda.assert_no_secret_in_logs();
        lambda.assert_logs_are_well_formed();
    }
}

async fn nothing_of_redis_is_shown(url: &str) {
    nothing_is_shown("health-redis", "/api/health/redis", &[("REDIS_URL", url)]).await;
    nothing_is_shown(
        "health-detailed",
        "/api/health/detailed",
        &[("REDIS_URL", url)],
    )
    .await;
}

async fn nothing_of_mongodb_is_shown(uri: &str) {
    nothing_is_shown(
        "health-detailed",
        "/api/health/detailed",
        &[("MONGODB_URI", uri), ("HEALTH_CHECK_TIMEOUT_MS", "200")],
    )
    .await;
}

#[tokio::test]
async fn no_secret_is_shown_while_redis_works() {
    let redis = RedisServer::builder()
        .user(USER, PASSWORD, "~* +@all")
        .start()
        .await;
    nothing_of_redis_is_shown(&redis.url()).await;
    nothing_of_redis_is_shown(&format!("{}/0?{QUERY}", redis.url())).await;
}

#[tokio::test]
async fn no_secret_is_shown_while_redis_rejects_the_credentials() {
    let redis = RedisServer::builder()
        .user("other", "other", "~* +@all")
        .default_user("off")
        .start()
        .await;
    let url = redis.url_with(USER, PASSWORD);
    nothing_of_redis_is_shown(&url).await;
    let in_a_cluster = [("REDIS_URL", &*url), ("REDIS_CLUSTER", "true")];
    nothing_is_shown("health-redis", "/api/health/redis", &in_a_cluster).await;
}

#[tokio::test]
async fn no_secret_is_shown_while_redis_rejects_the_commands() {
    let redis = RedisServer::builder()
        .user(USER, PASSWORD, "+ping")
        .start()
        .await;
    nothing_of_redis_is_shown(&redis.url()).await;
}

#[tokio::test]
async fn no_secret_is_shown_while_redis_is_unreachable() {
    let refusing = FaultProxy::refusing();
    nothing_of_redis_is_shown(&format!(
        "redis://{USER}:{ENCODED}@{}/0?{QUERY}",
        refusing.address()
    ))
    .await;
    nothing_of_redis_is_shown(&format!("redis://{USER}:{ENCODED}@no-such-host.invalid")).await;
}

#[tokio::test]
async fn no_secret_is_shown_while_redis_does_not_reply_or_closes_the_connection() {
    let redis = RedisServer::builder()
        .user(USER, PASSWORD, "~* +@all")
        .start()
        .await;
    let proxy = FaultProxy::in_front_of(redis.address());
    let url = redis.url_through(&proxy);
    proxy.black_hole();
    let silent = [("REDIS_URL", &*url), ("HEALTH_CHECK_TIMEOUT_MS", "100")];
    nothing_is_shown("health-redis", "/api/health/redis", &silent).await;
    proxy.heal();
    proxy.close_on_next_reply();
    nothing_of_redis_is_shown(&url).await;
}

#[tokio::test]
async fn no_secret_is_shown_while_tls_fails() {
    let untrusted = RedisServer::builder()
        .tls()
        .user(USER, PASSWORD, "~* +@all")
        .start()
        .await;
    nothing_of_redis_is_shown(&untrusted.url()).await;
    let plain = RedisServer::start().await;
    let mismatched = format!("rediss://{USER}:{ENCODED}@{}", plain.address());
    let variables = [
        ("REDIS_URL", &*mismatched),
        ("HEALTH_CHECK_TIMEOUT_MS", "100"),
    ];
    nothing_is_shown("health-redis", "/api/health/redis", &variables).await;
}

#[tokio::test]
async fn no_secret_is_shown_while_the_url_is_invalid() {
    for url in [
        format!("redis://{USER}:{PASSWORD}@localhost"),
        format!("{USER}:{ENCODED}@localhost"),
        format!("redis://{USER}%3A{ENCODED}%40localhost"),
        format!("redis://localhost/{QUERY}"),
    ] {
        nothing_of_redis_is_shown(&url).await;
    }
}

#[tokio::test]
async fn no_secret_is_shown_while_mongodb_is_unreachable() {
    let (refusing, silent) = (FaultProxy::refusing(), FaultProxy::silent());
    nothing_of_mongodb_is_shown(&format!(
        "mongodb://{USER}:{ENCODED}@{}/?appName={QUERY}",
        refusing.address()
    ))
    .await;
    nothing_of_mongodb_is_shown(&format!("mongodb://{USER}:{ENCODED}@{}", silent.address())).await;
}

#[tokio::test]
async fn no_secret_is_shown_while_the_mongodb_uri_is_invalid() {
    nothing_of_mongodb_is_shown(&format!("mongodb://{USER}:{PASSWORD}@localhost")).await;
    nothing_of_mongodb_is_shown(&format!("{USER}:{ENCODED}@localhost")).await;
}

#[tokio::test]
async fn no_secret_in_a_panic_message_is_shown() {
    for level in LEVELS {
        let lambda = Lambda::example("panics")
            .env("AWS_LAMBDA_LOG_LEVEL", level)
            .start()
            .await;
        lambda.plant_secret("panic-planted");
        assert_eq!(lambda.get("/?panic-planted").await.status, 500);
        lambda.assert_no_secret_in_logs();
    }
}
