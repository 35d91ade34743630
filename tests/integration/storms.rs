//! Many requests at once to one process, while its backends are well and while they are not.

use std::sync::Arc;
use std::time::{Duration, Instant};

use harness::{Answer, FaultProxy, Lambda, MongoServer, RedisServer, within};
use tokio::task::JoinSet;

/// `HEALTH_TOTAL_TIMEOUT_MS`, and what a busy machine may add.
const ANSWER_LIMIT: Duration = Duration::from_millis(1_000 + 500);

/// Sends `count` requests side by side.
async fn storm(lambda: &Arc<Lambda>, path: &'static str, count: usize) -> Vec<Answer> {
    let mut requests = JoinSet::new();
    for _ in 0..count {
        let lambda = Arc::clone(lambda);
        requests.spawn(async move { lambda.get(path).await });
    }
    requests.join_all().await
}

#[tokio::test]
async fn twenty_requests_to_a_silent_redis_are_answered_in_time_over_one_connection() {
    let silent = FaultProxy::silent();
    let url = format!("redis://{}", silent.address());
    let lambda = Lambda::function("health-redis")
        .env("REDIS_URL", &url)
        .concurrency(20)
        .start()
        .await
        .into();

    let storm = storm(&lambda, "/api/health/redis", 20);
    let answers = within(ANSWER_LIMIT, storm).await;

    assert!(answers.iter().all(|answer| answer.status == 503));
    assert_eq!(silent.accepted(), 1);
}

#[tokio::test]
async fn twenty_requests_with_a_silent_mongodb_are_answered_in_time() {
    let redis = RedisServer::start().await;
    let silent = FaultProxy::silent();
    let lambda = Lambda::function("health-detailed")
        .env("REDIS_URL", &redis.url())
        .env("MONGODB_URI", &format!("mongodb://{}", silent.address()))
        .concurrency(20)
        .start()
        .await
        .into();

    let storm = storm(&lambda, "/api/health/detailed", 20);
    let answers = within(ANSWER_LIMIT, storm).await;

    assert!(answers.iter().all(|answer| answer.status == 503));
}

#[tokio::test]
async fn two_hundred_requests_in_a_second_are_at_most_two_probes() {
    let redis = RedisServer::start().await;
    let proxy = FaultProxy::in_front_of(redis.address());
    let url = redis.url_through(&proxy);
    let lambda = Lambda::function("health-redis")
        .env("REDIS_URL", &url)
        .concurrency(20)
        .start()
        .await
        .into();

    let began = Instant::now();
    for _ in 0..10 {
        assert!(
            storm(&lambda, "/api/health/redis", 20)
                .await
                .iter()
                .all(|answer| answer.status == 200)
        );
    }
    let seconds = began.elapsed().as_secs() as usize + 1;

    let probes = proxy
        .commands()
        .iter()
        .filter(|command| *command == "SET")
        .count();
    assert!(
        probes <= seconds + 1,
        "{probes} probes in {:?}",
        began.elapsed()
    );
    assert_eq!(proxy.accepted(), 1);
}

#[tokio::test]
async fn a_storm_over_both_backends_needs_one_connection_to_redis() {
    let redis = RedisServer::start().await;
    let proxy = FaultProxy::in_front_of(redis.address());
    let mongo = MongoServer::shared().await;
    let lambda = Lambda::function("health-detailed")
        .env("REDIS_URL", &redis.url_through(&proxy))
        .env("MONGODB_URI", &mongo.uri())
        .env("HEALTH_MEMO_MS", "0")
        .concurrency(8)
        .start()
        .await
        .into();

    let answers = storm(&lambda, "/api/health/detailed", 100).await;

    assert!(answers.iter().all(|answer| answer.status == 200));
    assert_eq!(proxy.accepted(), 1);
}
