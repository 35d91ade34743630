//! A restarted server that is still loading its data, as after a failover. It accepts connections and answers `LOADING` to almost
//! every command.

use std::time::Duration;

use super::RedisServer;
use crate::eventually::eventually;

/// A script that writes a thousand keys. With [`SLOWLY`], each key takes a hundredth of a second to load, so all keys take ten
/// seconds.
const FILL: &str =
    "for i = 1, 1000 do redis.call('SET', 'loading:' .. i, string.rep('x', 2000)) end";

/// Settings that Redis has for its own tests. They are the time to load each key, in microseconds, and the number of loaded
/// bytes after which Redis answers clients again.
const SLOWLY: [&str; 4] = [
    "--key-load-delay",
    "10000",
    "--loading-process-events-interval-bytes",
    "1024",
];

const DEADLINE: Duration = Duration::from_secs(5);

impl RedisServer {
    /// Kills the process and starts it again on the same port, with data that loads for longer than a test.
    pub async fn restart_loading(&self) {
        // Redis would read compressed keys in one piece.
        self.command(&["CONFIG", "SET", "rdbcompression", "no"])
            .await;
        self.command(&["EVAL", FILL, "0"]).await;
        self.command(&["SAVE"]).await;
        self.stop().await;
        self.process
            .lock()
            .start_with(&SLOWLY)
            .expect("the server's port was reserved for it");
        eventually(DEADLINE, async || {
            let reply = self.try_command(&["GET", "key"]).await;
            reply.is_err_and(|error| error.code() == Some("LOADING"))
        })
        .await;
    }
}
