//! Setup that the tests of several files share: functions and clients.

use harness::{FaultProxy, Lambda, RedisServer};
use redis_client::RedisClient;
use shared::App;

/// Starts `health-redis` with this Redis.
pub(crate) async fn redis_function(url: &str) -> Lambda {
    Lambda::function("health-redis")
        .env("REDIS_URL", url)
        .start()
        .await
}

/// Starts a server, a proxy in front of it, and `health-redis`, which uses the proxy and probes at every request.
pub(crate) async fn proxied_redis_function() -> (RedisServer, FaultProxy, Lambda) {
    let redis = RedisServer::start().await;
    let proxy = FaultProxy::in_front_of(redis.address());
    let lambda = Lambda::function("health-redis")
        .env("REDIS_URL", &redis.url_through(&proxy))
        .env("HEALTH_MEMO_MS", "0")
        .start()
        .await;
    (redis, proxy, lambda)
}

/// Creates the Redis client of a process with these variables.
pub(crate) fn redis_client(variables: &[(&str, &str)]) -> RedisClient {
    let lookup = |variable: &str| {
        variables
            .iter()
            .find(|(name, _)| *name == variable)
            .map(|(_, value)| value.into())
    };
    App::from_lookup(lookup).expect("usable").redis().clone()
}
