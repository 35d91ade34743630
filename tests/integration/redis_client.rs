//! The Redis client with real servers, and after a lost reply.

use std::time::Duration;

use harness::{FaultProxy, RedisServer, within};
use redis_client::{Error, Expiry, Reason, RedisClient, Repeat, Script, SetIfAbsent, Stored, Ttl};
use shared::deadline::Deadline;

use crate::given;

const MINUTE: Duration = Duration::from_secs(60);
const LASTING: Expiry = Expiry::After(MINUTE);

/// A client with short time limits.
fn client_of(url: &str) -> RedisClient {
    given::redis_client(&[
        ("REDIS_URL", url),
        ("REDIS_RESPONSE_TIMEOUT_MS", "300"),
        ("REDIS_CONNECT_TIMEOUT_MS", "300"),
    ])
}

/// A client that is connected to a server through a proxy.
async fn proxied() -> (RedisServer, FaultProxy, RedisClient) {
    let redis = RedisServer::start().await;
    let proxy = FaultProxy::in_front_of(redis.address());
    let client = client_of(&redis.url_through(&proxy));
    client.ping().await.expect("connected");
    (redis, proxy, client)
}

#[tokio::test]
async fn set_get_and_delete_work() {
    let redis = RedisServer::start().await;
    let client = client_of(&redis.url());

    let set = client.set("key", "hello", Expiry::After(MINUTE)).await;
    assert_eq!(set, Ok(()));
    assert_eq!(client.get("key").await, Ok(Some(b"hello".to_vec())));
    assert_eq!(client.exists("key").await, Ok(true));
    assert!(
        matches!(client.ttl("key").await, Ok(Ttl::Left(left)) if left > Duration::from_secs(58))
    );

    assert_eq!(client.delete("key").await, Ok(true));
    assert_eq!(client.get("key").await, Ok(None));
    assert_eq!(client.exists("key").await, Ok(false));
    assert_eq!(client.ttl("key").await, Ok(Ttl::NoKey));
    assert_eq!(client.delete("key").await, Ok(false));
}

#[tokio::test]
async fn incr_and_expire_work() {
    let redis = RedisServer::start().await;
    let client = client_of(&redis.url());

    assert_eq!(client.incr("counter").await, Ok(1));
    assert_eq!(client.incr("counter").await, Ok(2));
    assert_eq!(client.ttl("counter").await, Ok(Ttl::NoExpiry));

    assert_eq!(client.expire("counter", MINUTE).await, Ok(true));
    assert!(matches!(client.ttl("counter").await, Ok(Ttl::Left(_))));
    assert_eq!(client.expire("nothing", MINUTE).await, Ok(false));
}

#[tokio::test]
async fn an_absent_key_is_set_and_a_present_one_is_returned() {
    let redis = RedisServer::start().await;
    let client = client_of(&redis.url());

    let set = client.set_if_absent("key", b"\xffone", MINUTE).await;
    let found = client.set_if_absent("key", b"two", MINUTE).await;
    redis.command(&["PERSIST", "key"]).await;
    let permanent = client.set_if_absent("key", b"three", MINUTE).await;

    assert_eq!(set, Ok(SetIfAbsent::Set));
    let Ok(SetIfAbsent::Present(Stored { value, ttl })) = found else {
        panic!("{found:?}");
    };
    assert_eq!(value, b"\xffone");
    assert!(matches!(ttl, Ttl::Left(left) if left > MINUTE / 2 && left <= MINUTE));
    let value = b"\xffone".to_vec();
    let ttl = Ttl::NoExpiry;
    assert_eq!(permanent, Ok(SetIfAbsent::Present(Stored { value, ttl })));
}

#[tokio::test]
async fn a_value_is_replaced_only_if_it_is_the_expected_one() {
    let redis = RedisServer::start().await;
    let client = client_of(&redis.url());
    let replace = async |expected: &[u8], value: &[u8]| {
        client.set_if_equal("key", expected, value, LASTING).await
    };

    assert_eq!(replace(b"one", b"two").await, Ok(false));
    assert_eq!(client.exists("key").await, Ok(false));
    client
        .set("key", b"\xffone", Expiry::Never)
        .await
        .expect("set");
    assert_eq!(replace(b"\xfeone", b"two").await, Ok(false));
    assert_eq!(replace(b"\xffone", b"\x00two").await, Ok(true));
    assert_eq!(client.get("key").await, Ok(Some(b"\x00two".to_vec())));
    assert!(matches!(client.ttl("key").await, Ok(Ttl::Left(left)) if left <= MINUTE));
    assert_eq!(replace(b"\xffone", b"three").await, Ok(false));
}

/// A server without `IFEQ` rejects the first command of a connection, and gets the script from then on.
#[tokio::test]
async fn a_server_is_asked_only_once_whether_it_supports_ifeq() {
    let (_redis, proxy, client) = proxied().await;
    proxy.reset_counters();
    for _ in 0..3 {
        let replaced = client.set_if_equal("key", b"a", b"b", LASTING).await;
        assert_eq!(replaced, Ok(false));
    }

    let commands = proxy.commands();
    let by_script = ["SET", "EVALSHA", "EVAL", "EVALSHA", "EVALSHA"];
    assert!(
        commands == ["SET"; 3] || commands == by_script,
        "{commands:?}"
    );
}

#[tokio::test]
async fn a_conditional_write_rejects_a_value_of_another_type() {
    let redis = RedisServer::start().await;
    let client = client_of(&redis.url());
    redis.command(&["HSET", "key", "a", "b"]).await;

    let set = client.set_if_absent("key", b"one", MINUTE).await;
    let replaced = client.set_if_equal("key", b"b", b"c", LASTING).await;

    assert_eq!(set, Err(Error::Refused(Reason::Rejected)));
    assert_eq!(replaced, Err(Error::Refused(Reason::Rejected)));
    assert_eq!(redis.query::<String>(&["HGET", "key", "a"]).await, "b");
}

/// The user may run `SET`, but not `PTTL`. The client sends the two commands together.
#[tokio::test]
async fn a_claim_succeeds_without_the_permission_to_read_its_expiry() {
    let redis = RedisServer::builder().user("app", "pw", "~* +@all -pttl");
    let redis = redis.start().await;
    let client = client_of(&redis.url_with("app", "pw"));

    let set = client.set_if_absent("key", b"one", MINUTE).await;
    let found = client.set_if_absent("key", b"two", MINUTE).await;

    assert_eq!(set, Ok(SetIfAbsent::Set));
    assert_eq!(found, Err(Error::Refused(Reason::NoPermission)));
}

/// The reply and the connection are lost. The command is sent again, and finds the value that the first command has
/// set.
#[tokio::test]
async fn a_conditional_write_without_a_reply_is_sent_again() {
    let (redis, proxy, client) = proxied().await;
    proxy.drop_next_reply();
    let set = client.set_if_absent("key", b"one", MINUTE).await;
    assert!(
        matches!(&set, Ok(SetIfAbsent::Present(stored)) if stored.value == b"one"),
        "{set:?}"
    );
    // With this call, the client finds out whether the server supports `IFEQ`.
    let replaced = client.set_if_equal("key", b"a", b"b", LASTING).await;
    assert_eq!(replaced, Ok(false));
    proxy.drop_next_reply();
    let replaced = client.set_if_equal("key", b"one", b"two", LASTING).await;

    assert_eq!(replaced, Ok(false));
    assert_eq!(redis.query::<String>(&["GET", "key"]).await, "two");
}

#[tokio::test]
async fn a_value_can_be_any_bytes() {
    let redis = RedisServer::start().await;
    let client = client_of(&redis.url());

    let set = client.set("key", [0xff, 0x00], Expiry::Never).await;

    assert_eq!(set, Ok(()));
    assert_eq!(client.get("key").await, Ok(Some(vec![0xff, 0x00])));
}

#[tokio::test]
async fn a_disconnected_client_reconnects() {
    let redis = RedisServer::start().await;
    let client = client_of(&redis.url());
    assert!(!client.is_connected());
    client.connect().await.expect("connected");
    assert!(client.is_connected());

    client.disconnect();

    assert!(!client.is_connected());
    assert_eq!(client.exists("key").await, Ok(false));
    assert!(client.is_connected());
}

#[tokio::test]
async fn the_text_of_a_script_is_sent_only_once() {
    let (_redis, proxy, client) = proxied().await;
    let script = Script::new(
        "return {KEYS[1], args.token, redis.call('INCR', KEYS[1])}",
        Repeat::Never,
    );
    let run = || {
        client.run_script::<(String, String, i64)>(&script, &["counter"], &[("token", b"token")])
    };

    assert_eq!(
        run().await,
        Ok(("counter".to_owned(), "token".to_owned(), 1))
    );
    proxy.reset_counters();
    assert_eq!(
        run().await,
        Ok(("counter".to_owned(), "token".to_owned(), 2))
    );

    assert_eq!(proxy.commands(), ["EVALSHA"]);
}

#[tokio::test]
async fn a_reply_of_another_type_is_an_error() {
    let redis = RedisServer::start().await;
    let client = client_of(&redis.url());
    let script = Script::new("return {1, {2, 'x'}}", Repeat::Safe);

    let answer = client.run_script::<i64>(&script, &["key"], &[]).await;
    assert_eq!(answer, Err(Error::Unanswered(Reason::UnexpectedAnswer)));

    redis.command(&["LPUSH", "list", "x"]).await;
    assert_eq!(
        client.get("list").await,
        Err(Error::Refused(Reason::Rejected))
    );
    assert_eq!(
        client.incr("list").await,
        Err(Error::Refused(Reason::Rejected))
    );
}

#[tokio::test]
async fn the_url_selects_the_database() {
    let redis = RedisServer::start().await;
    let (zero, two) = (
        client_of(&redis.url()),
        client_of(&format!("{}/2", redis.url())),
    );

    two.set("key", "value", Expiry::Never).await.expect("set");

    assert_eq!(
        (zero.exists("key").await, two.exists("key").await),
        (Ok(false), Ok(true))
    );
}

#[tokio::test]
async fn credentials_and_tls_work_together() {
    let redis = RedisServer::builder()
        .tls()
        .user("app", "p@ss/w:rd#?%", "~* +@all")
        .default_user("off")
        .start()
        .await;
    let ca_file = redis.ca_file().to_str().expect("a path");

    let trusting = given::redis_client(&[("REDIS_URL", &redis.url()), ("REDIS_CA_FILE", ca_file)]);

    assert_eq!(trusting.ping().await, Ok(()));
    assert_eq!(
        trusting.masked_url().as_deref(),
        Some(&*format!("rediss://***:***@127.0.0.1:{}", redis.port()))
    );
}

#[tokio::test]
async fn a_read_without_a_reply_is_retried_on_a_new_connection() {
    for lose in [
        FaultProxy::drop_next_reply,
        FaultProxy::close_on_next_reply,
        FaultProxy::reset_connections,
    ] {
        let (redis, proxy, client) = proxied().await;
        redis.command(&["SET", "key", "value"]).await;
        lose(&proxy);
        assert_eq!(client.get("key").await, Ok(Some(b"value".to_vec())));
        assert_eq!(proxy.accepted(), 2);
    }
}

#[tokio::test]
async fn an_increment_without_a_reply_is_not_retried() {
    for (lose, reason) in [
        (
            FaultProxy::drop_next_reply as fn(&FaultProxy),
            Reason::Timeout,
        ),
        (FaultProxy::close_on_next_reply, Reason::ConnectionLost),
    ] {
        let (redis, proxy, client) = proxied().await;
        lose(&proxy);

        let counted = client.incr("counter").await;

        assert_eq!(counted, Err(Error::Unanswered(reason)));
        assert!(counted.is_err_and(Error::may_have_run));
        assert_eq!(redis.query::<i64>(&["GET", "counter"]).await, 1);
        assert_eq!(
            client.incr("counter").await,
            Ok(2),
            "the next command has a new connection"
        );
    }
}

#[tokio::test]
async fn a_script_that_recognises_its_owner_is_retried() {
    let (redis, proxy, client) = proxied().await;
    let script = Script::new(
        "return redis.call('SET', KEYS[1], args.owner, 'NX', 'GET') or 'mine'",
        Repeat::Safe,
    );
    client
        .run_script::<String>(&script, &["other"], &[("owner", b"owner")])
        .await
        .expect("the server has the script");
    proxy.drop_next_reply();

    let claimed = client
        .run_script::<String>(&script, &["claim"], &[("owner", b"owner")])
        .await;

    assert_eq!(
        claimed.as_deref(),
        Ok("owner"),
        "the retry finds its own token"
    );
    assert_eq!(redis.query::<String>(&["GET", "claim"]).await, "owner");
}

#[tokio::test]
async fn after_a_failed_connect_the_next_commands_fail_at_once() {
    let silent = FaultProxy::silent();
    let client = client_of(&format!("redis://{}", silent.address()));
    let unreachable = Err(Error::Unreachable(Reason::ConnectTimeout));

    assert_eq!(client.ping().await, unreachable);
    within(Duration::from_millis(200), async {
        for _ in 0..100 {
            assert_eq!(client.ping().await, unreachable);
        }
    })
    .await;

    assert_eq!(silent.accepted(), 1);
}

#[tokio::test]
async fn parallel_commands_open_one_connection() {
    let redis = RedisServer::start().await;
    let proxy = FaultProxy::in_front_of(redis.address());
    proxy.delay(Duration::from_millis(20));
    let client = client_of(&redis.url_through(&proxy));

    let mut commands = tokio::task::JoinSet::new();
    for _ in 0..50 {
        let client = client.clone();
        commands.spawn(async move { client.incr("counter").await.is_ok() });
    }

    assert!(commands.join_all().await.into_iter().all(|counted| counted));
    assert_eq!(proxy.accepted(), 1);
    assert_eq!(redis.query::<i64>(&["GET", "counter"]).await, 50);
}

#[tokio::test]
async fn a_command_ends_at_its_deadline() {
    let (_redis, proxy, client) = proxied().await;
    proxy.stall();

    let hurried = client.within(Deadline::after(Duration::from_millis(50)));
    let answer = within(Duration::from_millis(200), hurried.get("key")).await;

    assert_eq!(answer, Err(Error::Unanswered(Reason::Timeout)));
    proxy.heal();
    assert_eq!(
        client.get("key").await,
        Ok(None),
        "a wait cut by the deadline does not discard the connection"
    );
    assert_eq!(proxy.accepted(), 1);
}

#[tokio::test]
async fn a_connection_that_times_out_is_replaced() {
    let (_redis, proxy, client) = proxied().await;
    proxy.black_hole_existing();

    assert_eq!(
        client.incr("counter").await,
        Err(Error::Unanswered(Reason::Timeout))
    );
    assert_eq!(client.incr("counter").await, Ok(1));
}

#[tokio::test]
async fn an_idle_connection_is_tested_before_use() {
    let redis = RedisServer::start().await;
    let proxy = FaultProxy::in_front_of(redis.address());
    let url = redis.url_through(&proxy);
    let client = given::redis_client(&[("REDIS_URL", &url), ("REDIS_IDLE_CHECK_MS", "0")]);
    for lose in [
        FaultProxy::close_connections,
        FaultProxy::reset_connections,
        FaultProxy::black_hole_existing,
    ] {
        client.incr("counter").await.expect("counted");
        lose(&proxy);
    }
    assert_eq!(client.incr("counter").await, Ok(4), "no increment was lost");
}

#[tokio::test]
async fn without_a_valid_url_every_command_returns_the_reason() {
    let missing = given::redis_client(&[]);
    assert_eq!(
        missing.get("key").await,
        Err(Error::Unreachable(Reason::NotConfigured))
    );
    assert_eq!(missing.masked_url(), None);

    let unusable = given::redis_client(&[("REDIS_URL", "redis://localhost/many")]);
    assert_eq!(
        unusable.get("key").await,
        Err(Error::Unreachable(Reason::InvalidUrl))
    );
    assert_eq!(unusable.masked_url().as_deref(), Some("<unparseable>"));
}

#[tokio::test]
async fn debug_output_of_client_and_errors_shows_no_credential() {
    let redis = RedisServer::builder()
        .user("app", "hunter2", "+ping")
        .start()
        .await;
    let client = client_of(&redis.url());
    let denied = client
        .set("hunter2", "hunter2", Expiry::Never)
        .await
        .expect_err("denied");

    let shown = format!("{client:?} {denied:?} {denied} {:?}", client.masked_url());

    assert!(
        !shown.contains("hunter2") && !shown.contains("app"),
        "{shown}"
    );
}
