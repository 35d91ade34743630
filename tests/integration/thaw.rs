//! Freeze and thaw: a connection that breaks while Lambda freezes the process must not fail a request.

use std::time::Duration;

use harness::{Answer, FaultProxy, Lambda, MongoServer, RedisServer, TestRequest};

/// The number of freezes per kind of connection loss.
const FREEZES: usize = 50;
/// The value of `REDIS_IDLE_CHECK_MS` in most tests. It is shorter than a freeze. A small value keeps each of the many
/// freezes short.
const IDLE_CHECK_MS: &str = "60";
/// The value of `HEALTH_MEMO_MS` in most tests. This time is also shorter than a freeze.
const MEMO_MS: &str = "60";
/// The duration of a freeze, a little longer than `IDLE_CHECK_MS` and `MEMO_MS`.
const FREEZE: Duration = Duration::from_millis(80);
/// The duration of a freeze that is longer than the default settings.
const LONG_FREEZE: Duration = Duration::from_millis(1_050);

const REDIS: &str = "/api/health/redis";
const DETAILED: &str = "/api/health/detailed";

/// The kinds of loss of an idle connection.
const LOSSES: [fn(&FaultProxy); 3] = [
    FaultProxy::close_connections,
    FaultProxy::reset_connections,
    FaultProxy::black_hole_existing,
];

/// Freezes the process, runs `meanwhile`, and sends a request to the frozen process. Then thaws the process and returns
/// the response.
async fn answer_after_freeze(
    lambda: &Lambda,
    path: &str,
    freeze: Duration,
    meanwhile: impl AsyncFnOnce(),
) -> Answer {
    lambda.freeze().await;
    meanwhile().await;
    tokio::time::sleep(freeze).await;
    let pending = lambda.queue(TestRequest::get(path)).await;
    lambda.thaw().await;
    pending.await
}

struct Frozen {
    redis: RedisServer,
    proxy: FaultProxy,
    lambda: Lambda,
}

impl Frozen {
    async fn new() -> Self {
        let redis = RedisServer::start().await;
        let proxy = FaultProxy::in_front_of(redis.address());
        let lambda = Lambda::function("health-redis")
            .env("REDIS_URL", &redis.url_through(&proxy))
            .env("REDIS_IDLE_CHECK_MS", IDLE_CHECK_MS)
            .env("HEALTH_MEMO_MS", MEMO_MS)
            .start()
            .await;
        assert_eq!(lambda.get(REDIS).await.status, 200);
        Self {
            redis,
            proxy,
            lambda,
        }
    }

    /// Freezes the process [`FREEZES`] times, runs `meanwhile` during each freeze, and returns the failed responses.
    async fn failures(&self, meanwhile: impl AsyncFn()) -> Vec<String> {
        let mut failures = Vec::new();
        for _ in 0..FREEZES {
            let answer = answer_after_freeze(&self.lambda, REDIS, FREEZE, &meanwhile).await;
            if answer.status != 200 {
                failures.push(answer.text().to_owned());
            }
        }
        assert_eq!(self.lambda.processes(), 1);
        failures
    }
}

const NONE: [String; 0] = [];

#[tokio::test]
async fn a_connection_closed_during_a_freeze_fails_no_request() {
    let frozen = Frozen::new().await;
    let failures = frozen.failures(async || frozen.proxy.close_connections());
    assert_eq!(failures.await, NONE);
}

#[tokio::test]
async fn a_connection_reset_during_a_freeze_fails_no_request() {
    let frozen = Frozen::new().await;
    let failures = frozen.failures(async || frozen.proxy.reset_connections());
    assert_eq!(failures.await, NONE);
}

#[tokio::test]
async fn a_connection_dropped_during_a_freeze_fails_no_request() {
    let frozen = Frozen::new().await;
    let failures = frozen.failures(async || frozen.proxy.black_hole_existing());
    assert_eq!(failures.await, NONE);
}

#[tokio::test]
async fn a_server_restart_during_a_freeze_fails_no_request() {
    let frozen = Frozen::new().await;
    let failures = frozen.failures(async || frozen.redis.restart().await);
    assert_eq!(failures.await, NONE);
}

#[tokio::test]
async fn a_freeze_with_the_default_settings_fails_no_request() {
    let redis = RedisServer::start().await;
    let proxy = FaultProxy::in_front_of(redis.address());
    let lambda = Lambda::function("health-redis")
        .env("REDIS_URL", &redis.url_through(&proxy))
        .start()
        .await;
    for lose in LOSSES {
        assert_eq!(lambda.get(REDIS).await.status, 200);
        let answer = answer_after_freeze(&lambda, REDIS, LONG_FREEZE, async || lose(&proxy)).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
}

#[tokio::test]
async fn a_mongodb_connection_lost_during_a_freeze_fails_no_request() {
    let redis = RedisServer::start().await;
    let mongo = MongoServer::shared().await;
    let proxy = FaultProxy::in_front_of(mongo.address());
    let lambda = Lambda::function("health-detailed")
        .env("REDIS_URL", &redis.url())
        .env("MONGODB_URI", &mongo.uri_through(&proxy))
        .env("HEALTH_MEMO_MS", MEMO_MS)
        .start()
        .await;
    for lose in LOSSES.into_iter().cycle().take(9) {
        assert_eq!(lambda.get(DETAILED).await.status, 200);
        let answer = answer_after_freeze(&lambda, DETAILED, FREEZE, async || lose(&proxy)).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
}
