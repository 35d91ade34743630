//! Calls with redis-rs alone. The benchmark compares the idempotency engine with them.

use redis::Script;
use redis::aio::MultiplexedConnection;

/// A value as long as the record that a claim writes.
pub(crate) const RECORD: [u8; 225] = [b'x'; 225];

/// Connects to a running Redis.
pub(crate) async fn connect(url: &str) -> MultiplexedConnection {
    let client = redis::Client::open(url).expect("a URL");
    let connection = client.get_multiplexed_async_connection().await;
    connection.expect("Redis runs")
}

/// Sends one `PING`.
pub(crate) async fn ping(connection: &mut MultiplexedConnection) {
    let pong: redis::RedisResult<String> = redis::cmd("PING").query_async(connection).await;
    pong.expect("Redis runs");
}

/// The shortest script that stores a record.
pub(crate) fn one_set() -> Script {
    Script::new("return redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])")
}

/// Runs the script: `EVALSHA` around one `SET`.
pub(crate) async fn set(script: &Script, connection: &mut MultiplexedConnection, key: &str) {
    let mut call = script.key(key);
    call.arg(RECORD.as_slice()).arg(3_600_000);
    let set: redis::RedisResult<()> = call.invoke_async(connection).await;
    set.expect("the script runs");
}
