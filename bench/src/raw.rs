//! redis-rs and nothing else: what everything is compared with.

use redis::aio::MultiplexedConnection;

/// Connects to a Redis that runs.
pub(crate) async fn connect(url: &str) -> MultiplexedConnection {
    let client = redis::Client::open(url).expect("a URL");
    let connection = client.get_multiplexed_async_connection().await;
    connection.expect("Redis runs")
}

/// Makes a script known; its digest.
pub(crate) async fn load(connection: &mut MultiplexedConnection, script: &str) -> String {
    let mut load = redis::cmd("SCRIPT");
    load.arg("LOAD").arg(script);
    load.query_async(connection).await.expect("loaded")
}
