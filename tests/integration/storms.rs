//! Many parallel requests to one process, with working and with unresponsive stores.

use std::sync::Arc;
use std::time::{Duration, Instant};

use harness::{Answer, FaultProxy, Lambda, MongoServer, RedisServer, within};
use tokio::task::JoinSet;

/// The time limit of an answer: `HEALTH_TOTAL_TIMEOUT_MS`, plus time for a slow test machine.
const ANSWER_LIMIT: Duration = Duration::from_millis(1_000 + 500);

/// Sends `count` requests in parallel.
async fn storm(lambda: &Arc<Lambda>, path: &'static str, count: usize) -> Vec<Answer> {
    let mut requests = JoinSet::new();
    for _ in 0..count {
        let lambda = Arc::clone(lambda);
        requests.spawn(async move { lambda.get(path).await });
    }
    requests.join_all().await
}

#[tokio::test]
async fn parallel_requests_to_an_unresponsive_redis_end_in_time_with_one_connection() {
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
async fn parallel_requests_to_an_unresponsive_mongodb_end_in_time() {
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
async fn requests_within_a_second_share_a_probe() {
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
async fn parallel_requests_to_both_stores_share_one_redis_connection() {
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
