//! The script against the pure functions, verdict by verdict and byte by byte.

mod pair;
mod replies;

use harness::RedisServer;
use pair::Pair;

use super::super::history::{self, Pair as _};

#[tokio::test]
async fn the_script_decides_as_the_pure_functions_do_where_chance_rarely_gets() {
    let mut pair = Pair::new(RedisServer::start().await).await;
    for history in history::known_histories() {
        pair.begin().await;
        for step in history {
            pair.take(step).await;
        }
    }
}

#[test]
fn the_script_decides_as_the_pure_functions_do() {
    history::run_random(500, history::step(), async || {
        Pair::new(RedisServer::start().await).await
    });
}
