//! The Redis client in two situations: it cannot find out whether a command ran, or one caller has less time than
//! others.

use std::time::Duration;

use harness::{FaultProxy, RedisServer, eventually, within};
use http::HeaderMap;
use redis_client::{Error, Expiry, Reason, RedisClient, Repeat, Script};
use shared::App;
use shared::deadline::Deadline;

use crate::given;

const CLAIM: &str = "return redis.call('SET', KEYS[1], args.owner, 'NX', 'GET') or 'mine'";

fn impatient(url: &str) -> RedisClient {
    given::redis_client(&[
        ("REDIS_URL", url),
        ("REDIS_RESPONSE_TIMEOUT_MS", "300"),
        ("REDIS_CONNECT_TIMEOUT_MS", "300"),
    ])
}

/// Runs a claim whose reply is lost. Runs `then` after the claim and before the client's retry.
/// Returns the result of the retry.
async fn claimed_and_lost(then: impl AsyncFn(&RedisServer, &FaultProxy)) -> Result<String, Error> {
    let redis = RedisServer::start().await;
    let proxy = FaultProxy::in_front_of(redis.address());
    let client = impatient(&redis.url_through(&proxy));
    let claim = Script::new(CLAIM, Repeat::Safe);
    client
        .run_script::<String>(&claim, &["other"], &[("owner", b"owner")])
        .await
        .expect("the server has the script");

    proxy.drop_next_reply();
    let arguments: [(&str, &[u8]); 1] = [("owner", b"owner")];
    let (claimed, ()) = tokio::join!(
        client.run_script::<String>(&claim, &["claim"], &arguments),
        async {
            let limit = Duration::from_secs(5);
            eventually(limit, async || {
                redis.query::<bool>(&["EXISTS", "claim"]).await
            })
            .await;
            then(&redis, &proxy).await;
        }
    );
    claimed
}

#[tokio::test]
async fn a_claim_may_have_run_if_its_retry_cannot_connect() {
    let claimed = claimed_and_lost(async |_, proxy| proxy.refuse()).await;
    assert_eq!(claimed, Err(Error::Unanswered(Reason::ConnectFailed)));
}

#[tokio::test]
async fn a_claim_may_have_run_if_its_retry_is_rejected() {
    let claimed = claimed_and_lost(async |redis, _| {
        redis
            .command(&["CONFIG", "SET", "min-replicas-to-write", "1"])
            .await;
    })
    .await;
    assert_eq!(claimed, Err(Error::Unanswered(Reason::NoReplicas)));
}

#[tokio::test]
async fn a_script_that_fails_after_a_write_may_have_run() {
    let redis = RedisServer::start().await;
    let client = impatient(&redis.url());
    let script = Script::new(
        "redis.call('SET', KEYS[1], 'x'); return redis.call('INCR', KEYS[1])",
        Repeat::Never,
    );

    let failed = client.run_script::<i64>(&script, &["key"], &[]).await;

    assert_eq!(failed, Err(Error::Unanswered(Reason::Rejected)));
    assert_eq!(redis.query::<String>(&["GET", "key"]).await, "x");
}

#[tokio::test]
async fn a_script_that_is_rejected_before_execution_has_not_run() {
    let redis = RedisServer::builder()
        .setting("min-replicas-to-write", "1")
        .start()
        .await;
    let script = Script::new("return redis.call('SET', KEYS[1], 'x')", Repeat::Safe);
    let refused = impatient(&redis.url())
        .run_script::<String>(&script, &["key"], &[])
        .await;
    assert_eq!(refused, Err(Error::Refused(Reason::NoReplicas)));
}

#[tokio::test]
async fn a_write_without_a_reply_is_not_retried() {
    let redis = RedisServer::start().await;
    let proxy = FaultProxy::in_front_of(redis.address());
    let client = impatient(&redis.url_through(&proxy));
    let lost = |result: Result<(), Error>| result == Err(Error::Unanswered(Reason::ConnectionLost));

    client.ping().await.expect("connected");
    proxy.close_on_next_reply();
    assert!(lost(client.set("key", "value", Expiry::Never).await));
    client.ping().await.expect("connected");
    proxy.close_on_next_reply();
    assert!(lost(
        client.expire("key", Duration::from_secs(9)).await.map(drop)
    ));
    client.ping().await.expect("connected");
    proxy.close_on_next_reply();
    assert!(lost(client.delete("key").await.map(drop)));
}

#[tokio::test]
async fn a_connection_closed_by_the_server_is_detected_without_a_command() {
    let redis = RedisServer::start().await;
    let proxy = FaultProxy::in_front_of(redis.address());
    let client = impatient(&redis.url_through(&proxy));
    client.ping().await.expect("connected");

    proxy.close_connections();

    eventually(Duration::from_secs(5), async || !client.is_connected()).await;
}

#[tokio::test]
async fn a_command_after_its_deadline_is_not_sent() {
    let redis = RedisServer::start().await;
    let client = impatient(&redis.url());
    client.ping().await.expect("connected");
    let over = client.within(Deadline::after(Duration::ZERO));

    assert_eq!(
        over.incr("counter").await,
        Err(Error::Unreachable(Reason::Timeout))
    );
    assert_eq!(redis.query::<i64>(&["EXISTS", "counter"]).await, 0);
}

#[tokio::test]
async fn a_caller_without_time_does_not_discard_the_connection() {
    let redis = RedisServer::start().await;
    let proxy = FaultProxy::in_front_of(redis.address());
    let url = redis.url_through(&proxy);
    let client = given::redis_client(&[("REDIS_URL", &url), ("REDIS_IDLE_CHECK_MS", "0")]);
    client.ping().await.expect("connected");
    proxy.delay(Duration::from_millis(50));

    let hurried = client.within(Deadline::after(Duration::from_millis(5)));
    assert_eq!(
        hurried.get("key").await,
        Err(Error::Unreachable(Reason::Timeout))
    );

    assert_eq!(client.get("key").await, Ok(None));
    assert_eq!(proxy.accepted(), 1);
}

#[tokio::test]
async fn a_caller_without_time_does_not_stop_others_from_connecting() {
    let redis = RedisServer::start().await;
    let proxy = FaultProxy::in_front_of(redis.address());
    proxy.delay(Duration::from_millis(300));
    let client = given::redis_client(&[("REDIS_URL", &redis.url_through(&proxy))]);

    let hurried = client.within(Deadline::after(Duration::from_millis(250)));
    assert_eq!(
        hurried.get("key").await,
        Err(Error::Unreachable(Reason::ConnectTimeout))
    );

    assert_eq!(client.get("key").await, Ok(None));
}

#[tokio::test]
async fn a_caller_waits_for_another_connect_only_until_its_own_deadline() {
    let silent = FaultProxy::silent();
    let client = given::redis_client(&[("REDIS_URL", &format!("redis://{}", silent.address()))]);
    let patient = client.within(Deadline::after(Duration::from_secs(1)));
    let hurried = client.within(Deadline::after(Duration::from_millis(50)));

    let (_, waited) = tokio::join!(
        patient.ping(),
        within(Duration::from_millis(400), hurried.ping())
    );

    assert_eq!(waited, Err(Error::Unreachable(Reason::ConnectTimeout)));
}

#[tokio::test]
async fn the_health_result_of_a_request_without_time_is_not_reused() {
    let redis = RedisServer::start().await;
    let lookup = |variable: &str| (variable == "REDIS_URL").then(|| redis.url().into());
    let health = App::from_lookup(lookup).expect("usable").redis_health();
    let status = async |limit| {
        let headers = HeaderMap::new();
        let answer = health.answer(&headers, Deadline::after(limit)).await;
        answer.status()
    };

    assert_eq!(status(Duration::ZERO).await, 503);
    assert_eq!(status(Duration::from_secs(3)).await, 200);
}

#[tokio::test]
async fn a_write_follows_a_failover_to_the_new_primary() {
    let (old, new) = (RedisServer::start().await, RedisServer::start().await);
    let name = FaultProxy::in_front_of(old.address());
    let client = impatient(&old.url_through(&name));
    client.ping().await.expect("connected");

    name.lead_to(new.address());
    old.command(&["REPLICAOF", "127.0.0.1", &new.port().to_string()])
        .await;

    assert_eq!(
        client.incr("counter").await,
        Err(Error::Refused(Reason::ReadOnly))
    );
    let limit = Duration::from_secs(20);
    eventually(limit, async || client.incr("counter").await.is_ok()).await;
    assert_eq!(new.query::<i64>(&["GET", "counter"]).await, 1);
}
