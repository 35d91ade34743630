//! Freeze and thaw: what happens to a connection while Lambda has the process frozen must cost no request.

use std::time::Duration;

use tests::{FaultProxy, Lambda, MongoServer, RedisServer, TestRequest};

/// Freezes per way to lose a connection.
const FREEZES: usize = 50;
/// The settings that a freeze has to outlast to matter, short so that fifty of them do not take long.
const IDLE_CHECK_MS: &str = "60";
const MEMO_MS: &str = "60";
/// How long a freeze lasts: just longer than both.
const FREEZE: Duration = Duration::from_millis(80);

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
        assert_eq!(lambda.get("/api/health/redis").await.status, 200);
        Self {
            redis,
            proxy,
            lambda,
        }
    }

    /// Fifty times: the process is frozen, `meanwhile` happens, the next request finds the process thawing.
    async fn failures(&self, meanwhile: impl AsyncFn()) -> Vec<String> {
        let mut failures = Vec::new();
        for _ in 0..FREEZES {
            self.lambda.freeze().await;
            meanwhile().await;
            tokio::time::sleep(FREEZE).await;
            let pending = self
                .lambda
                .queue(TestRequest::get("/api/health/redis"))
                .await;
            self.lambda.thaw().await;
            let answer = pending.await;
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
async fn a_connection_closed_while_frozen_costs_no_request() {
    let frozen = Frozen::new().await;
    assert_eq!(
        frozen
            .failures(async || frozen.proxy.close_connections())
            .await,
        NONE
    );
}

#[tokio::test]
async fn a_connection_reset_while_frozen_costs_no_request() {
    let frozen = Frozen::new().await;
    assert_eq!(
        frozen
            .failures(async || frozen.proxy.reset_connections())
            .await,
        NONE
    );
}

#[tokio::test]
async fn a_connection_swallowed_while_frozen_costs_no_request() {
    let frozen = Frozen::new().await;
    assert_eq!(
        frozen
            .failures(async || frozen.proxy.black_hole_existing())
            .await,
        NONE
    );
}

#[tokio::test]
async fn a_server_restarted_while_frozen_costs_no_request() {
    let frozen = Frozen::new().await;
    assert_eq!(
        frozen.failures(async || frozen.redis.restart().await).await,
        NONE
    );
}

#[tokio::test]
async fn a_freeze_as_long_as_the_default_settings_allow_costs_no_request() {
    let redis = RedisServer::start().await;
    let proxy = FaultProxy::in_front_of(redis.address());
    let lambda = Lambda::function("health-redis")
        .env("REDIS_URL", &redis.url_through(&proxy))
        .start()
        .await;
    let faults: [fn(&FaultProxy); 3] = [
        FaultProxy::close_connections,
        FaultProxy::reset_connections,
        FaultProxy::black_hole_existing,
    ];
    for fault in faults {
        assert_eq!(lambda.get("/api/health/redis").await.status, 200);
        lambda.freeze().await;
        fault(&proxy);
        tokio::time::sleep(Duration::from_millis(1_050)).await;
        let pending = lambda.queue(TestRequest::get("/api/health/redis")).await;
        lambda.thaw().await;
        let answer = pending.await;
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
}

#[tokio::test]
async fn a_connection_to_mongodb_lost_while_frozen_costs_no_request() {
    let redis = RedisServer::start().await;
    let mongo = MongoServer::shared().await;
    let proxy = FaultProxy::in_front_of(mongo.address());
    let lambda = Lambda::function("health-detailed")
        .env("REDIS_URL", &redis.url())
        .env("MONGODB_URI", &mongo.uri_through(&proxy))
        .env("HEALTH_MEMO_MS", MEMO_MS)
        .start()
        .await;
    let faults: [fn(&FaultProxy); 3] = [
        FaultProxy::close_connections,
        FaultProxy::reset_connections,
        FaultProxy::black_hole_existing,
    ];
    for fault in faults.into_iter().cycle().take(9) {
        assert_eq!(lambda.get("/api/health/detailed").await.status, 200);
        lambda.freeze().await;
        fault(&proxy);
        tokio::time::sleep(FREEZE).await;
        let pending = lambda.queue(TestRequest::get("/api/health/detailed")).await;
        lambda.thaw().await;
        let answer = pending.await;
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
}
