//! The health of a Redis whose memory fills up.

use harness::{Lambda, RedisServer};
use serde_json::{Value, json};

/// A script that writes much data. In comparison, the memory of one more connection is negligible. The values are
/// small, so that no large buffer remains.
const BALLAST: &str =
    "for i = 1, 3000 do redis.call('SET', 'ballast:' .. i, string.rep('x', 2000)) end";

/// What `/api/health/redis` and `/api/health/detailed` report about Redis.
async fn reports(redis: &Lambda, detailed: &Lambda) -> [Value; 2] {
    let redis = redis.get("/api/health/redis").await;
    let detailed = detailed.get("/api/health/detailed").await;
    let service = detailed.json()["services"]["redis"].clone();
    let is_serving = |report: &Value| {
        let status = report["status"].as_str().expect("a status");
        ["healthy", "degraded"].contains(&status)
    };
    assert_eq!(redis.status == 200, is_serving(&redis.json()));
    assert_eq!(detailed.status == 200, is_serving(&service));
    [redis.json(), service]
}

/// The memory that Redis uses and the memory limit, in bytes.
fn memory(report: &Value) -> (u64, u64) {
    let bytes = |name: &str| report["server"][name].as_u64().expect("a number");
    (bytes("memory_used_bytes"), bytes("memory_limit_bytes"))
}

async fn functions(redis: &RedisServer) -> (Lambda, Lambda) {
    let function = |name| {
        let function = Lambda::function(name)
            .env("REDIS_URL", &redis.url())
            .env("HEALTH_MEMO_MS", "0")
            .env("HEALTH_CRITICAL", "redis")
            // A slow test machine must not make Redis `slow`.
            .env("HEALTH_SLOW_MS", "29000");
        function.start()
    };
    (
        function("health-redis").await,
        function("health-detailed").await,
    )
}

async fn limit(redis: &RedisServer, bytes: u64) {
    redis
        .command(&["CONFIG", "SET", "maxmemory", &bytes.to_string()])
        .await;
}

#[tokio::test]
async fn both_endpoints_report_the_state_of_the_memory() {
    let redis = RedisServer::start().await;
    let (health_redis, health_detailed) = functions(&redis).await;
    reports(&health_redis, &health_detailed).await;
    redis.command(&["EVAL", BALLAST, "0"]).await;
    let used: u64 = redis.info("used_memory").await.parse().expect("a number");

    let full = (json!("unhealthy"), json!("out_of_memory"));
    let high = (json!("degraded"), json!("memory_high"));
    for (percent, expected) in [
        (80, (json!("healthy"), Value::Null)),
        (94, high.clone()),
        (97, high),
        (103, full.clone()),
        (150, full),
    ] {
        limit(&redis, used * 100 / percent).await;
        for report in reports(&health_redis, &health_detailed).await {
            let found = (report["status"].clone(), report["error_code"].clone());
            assert_eq!(found, expected, "{percent} %: {report}");
            if report["error_code"] == "memory_high" {
                let (used, limit) = memory(&report);
                let percent = used * 100 / limit;
                let error = format!(
                    "the server has used {percent} % of its memory limit and rejects writes above it; raise maxmemory"
                );
                assert_eq!(report["error"], error);
            }
        }
    }
}

/// Regression: health reported that 90 % of the memory was used. In fact 101 % was used, and the next write failed.
/// After the probe's write had succeeded, the probe's connection and reply filled the memory. This test always runs on
/// Redis. On Valkey, there is no known memory limit at which the probe's write succeeds and then the server is above
/// the limit.
#[tokio::test]
async fn a_server_above_its_memory_limit_is_unhealthy_even_if_the_probe_succeeds() {
    let redis = RedisServer::builder().on_redis().start().await;
    let (health_redis, health_detailed) = functions(&redis).await;
    reports(&health_redis, &health_detailed).await;
    let used: u64 = redis.info("used_memory").await.parse().expect("a number");
    let mut found = Vec::new();

    for step in 0..256 {
        limit(&redis, used - 64 * 1024 + step * 512).await;
        for report in reports(&health_redis, &health_detailed).await {
            let (used, limit) = memory(&report);
            let code = report["error_code"]
                .as_str()
                .expect("a code, because the memory is nearly full");
            let is_refused =
                |operation: &str| report["operation_results"][operation]["ok"] == false;
            let expected = if used > limit || is_refused("set") || is_refused("script") {
                "out_of_memory"
            } else {
                "memory_high"
            };
            assert_eq!(code, expected, "{report}");
            found.push((code.to_owned(), is_refused("set")));
        }
    }

    for (code, is_refused) in [
        ("out_of_memory", true),
        ("out_of_memory", false),
        ("memory_high", false),
    ] {
        let seen = found.contains(&(code.to_owned(), is_refused));
        assert!(seen, "{code}, refused: {is_refused}");
    }
}
