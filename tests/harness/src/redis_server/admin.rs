//! The harness's access to a server, for setup and assertions. It uses a Unix socket that no fault affects.

use std::time::{Duration, Instant};

use redis::{AsyncConnectionConfig, Client, FromRedisValue, Value};

use super::RedisServer;

/// The harness's ACL user. The name is no secret: the server accepts connections from this machine only.
pub(super) const USER: &str = "harness";
pub(super) const PASSWORD: &str = "harness";

/// The socket's name in the server's directory.
pub(super) const SOCKET: &str = "admin.sock";

/// The time limit of a start or of a command. Even on a busy machine, both take less time.
const DEADLINE: Duration = Duration::from_secs(20);
/// The pause between two checks whether the server is ready.
const PAUSE: Duration = Duration::from_millis(5);

impl RedisServer {
    /// Sends one command over a new connection and returns the reply.
    ///
    /// # Panics
    ///
    /// Panics if the reply is an error or does not arrive.
    pub async fn command(&self, words: &[&str]) -> Value {
        match self.try_command(words).await {
            Ok(reply) => reply,
            Err(error) => panic!("{words:?} failed: {error}\n{}", self.process.lock().log()),
        }
    }

    /// Sends one command over a new connection and returns the reply as `T`, for example a `String` or an `i64`.
    ///
    /// # Panics
    ///
    /// Panics if the reply is an error, is not a `T`, or does not arrive.
    pub async fn query<T: FromRedisValue>(&self, words: &[&str]) -> T {
        let reply = self.command(words).await;
        redis::from_redis_value(reply).unwrap_or_else(|error| panic!("{words:?}: {error}"))
    }

    /// Sends one command over a new connection.
    ///
    /// # Errors
    ///
    /// Fails with the server's error or a timeout.
    pub async fn try_command(&self, words: &[&str]) -> redis::RedisResult<Value> {
        let socket = self.process.lock().directory().join(SOCKET);
        let url = format!(
            "redis+unix://{}?user={USER}&pass={PASSWORD}",
            socket.display()
        );
        let conversation = async {
            // The client's default timeout of half a second is too short for a busy machine.
            let config = AsyncConnectionConfig::new().set_response_timeout(None);
            let mut connection = Client::open(url)?
                .get_multiplexed_async_connection_with_config(&config)
                .await?;
            let mut command = redis::cmd(words[0]);
            command.arg(&words[1..]);
            command.query_async(&mut connection).await
        };
        let timeout =
            || redis::RedisError::from((redis::ErrorKind::Io, "the server did not answer in time"));
        tokio::time::timeout(DEADLINE, conversation)
            .await
            .unwrap_or_else(|_| Err(timeout()))
    }

    /// The keys that match a pattern such as `health:*`, sorted.
    pub async fn keys(&self, pattern: &str) -> Vec<String> {
        let mut keys: Vec<String> = self.query(&["KEYS", pattern]).await;
        keys.sort();
        keys
    }

    /// A field of `INFO`, for example `used_memory` or `total_connections_received`.
    ///
    /// # Panics
    ///
    /// Panics if there is no such field.
    pub async fn info(&self, field: &str) -> String {
        let info: String = self.query(&["INFO", "everything"]).await;
        let value = info
            .lines()
            .find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
        value
            .unwrap_or_else(|| panic!("INFO has no `{field}`:\n{info}"))
            .to_owned()
    }

    /// Waits until the server answers and, if it is a replica, until it is in sync.
    pub(super) async fn wait_until_ready(&self) {
        assert!(
            self.wait_until_ready_or_port_taken().await,
            "redis-server ended:\n{}",
            self.process.lock().log()
        );
    }

    /// Waits until the server answers. Returns `false` if another program took its port.
    pub(super) async fn wait_until_ready_or_port_taken(&self) -> bool {
        let start = Instant::now();
        while !self.is_ready().await {
            let (ended, log) = {
                let mut process = self.process.lock();
                (process.ended(), process.log())
            };
            if let Some(status) = ended {
                assert!(
                    log.contains("Address already in use"),
                    "redis-server ended with {status}:\n{log}"
                );
                return false;
            }
            assert!(
                start.elapsed() < DEADLINE,
                "redis-server does not answer:\n{log}"
            );
            tokio::time::sleep(PAUSE).await;
        }
        true
    }

    async fn is_ready(&self) -> bool {
        // The answer alone does not show that the server is ready, because a server that loads its data answers `INFO` too.
        let Ok(info) = self.try_command(&["INFO"]).await else {
            return false;
        };
        let info: String = redis::from_redis_value(info).unwrap_or_default();
        let has_its_data = info.contains("role:master") || info.contains("master_link_status:up");
        has_its_data && info.contains("\r\nloading:0\r\n")
    }
}
