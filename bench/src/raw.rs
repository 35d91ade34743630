//! redis-rs and nothing else: what everything is compared with.

use redis::Value;
use redis::aio::MultiplexedConnection;

/// The least that a script which keeps a record can do.
const ONE_SET: &str = "return redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])";
/// As many bytes as a record has whose work is under way.
pub(crate) const RECORD: [u8; 211] = [b'x'; 211];

/// A script that the server knows, and a connection to it.
#[derive(Clone)]
pub(crate) struct Loaded {
    connection: MultiplexedConnection,
    digest: String,
}

/// Connects to a Redis that runs.
pub(crate) async fn connect(url: &str) -> MultiplexedConnection {
    let client = redis::Client::open(url).expect("a URL");
    let connection = client.get_multiplexed_async_connection().await;
    connection.expect("Redis runs")
}

impl Loaded {
    pub(crate) async fn new(connection: &MultiplexedConnection, script: &str) -> Self {
        let mut connection = connection.clone();
        let mut load = redis::cmd("SCRIPT");
        load.arg("LOAD").arg(script);
        let digest = load.query_async(&mut connection).await.expect("loaded");
        Self { connection, digest }
    }

    /// `EVALSHA` around one `SET`.
    pub(crate) async fn one_set(connection: &MultiplexedConnection) -> Self {
        Self::new(connection, ONE_SET).await
    }

    pub(crate) async fn set(&mut self, key: &str) {
        self.run(key, &[&RECORD, b"3600000"]).await;
    }

    pub(crate) async fn run(&mut self, key: &str, arguments: &[&[u8]]) -> Value {
        let mut call = redis::cmd("EVALSHA");
        call.arg(&self.digest).arg(1).arg(key).arg(arguments);
        let answer = call.query_async(&mut self.connection).await;
        answer.expect("the script runs")
    }
}
