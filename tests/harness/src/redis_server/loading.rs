//! A server that has been started again and is still reading its data, as after a failover: it accepts connections
//! and answers `LOADING` to almost everything.

use std::time::Duration;

use super::RedisServer;
use crate::eventually::eventually;

/// A thousand keys, each of which takes [`SLOWLY`]'s hundredth of a second: ten seconds, unless the test ends first.
const FILL: &str =
    "for i = 1, 1000 do redis.call('SET', 'loading:' .. i, string.rep('x', 2000)) end";

/// Redis's own settings for testing this: microseconds per key, and an answer to clients at least at every key.
const SLOWLY: [&str; 4] = [
    "--key-load-delay",
    "10000",
    "--loading-process-events-interval-bytes",
    "1024",
];

const DEADLINE: Duration = Duration::from_secs(5);

impl RedisServer {
    /// Kills the process and starts it again, on the same port, with data that takes longer to load than a test lasts.
    pub async fn restart_loading(&self) {
        // Compressed, the keys would be read in one piece.
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
