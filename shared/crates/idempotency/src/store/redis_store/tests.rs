//! Compares the script with the pure functions: every verdict and every byte.

mod model;
mod pair;
mod replies;

use harness::RedisServer;
use pair::Pair;

use super::super::history::{self, Pair as _};

#[tokio::test]
async fn the_script_matches_the_pure_functions_in_rare_histories() {
    let mut pair = Pair::new(RedisServer::start().await).await;
    for history in history::known_histories() {
        pair.begin().await;
        for step in history {
            pair.take(step).await;
        }
    }
}

#[test]
fn the_script_matches_the_pure_functions() {
    history::run_random(500, history::step(), async || {
        Pair::new(RedisServer::start().await).await
    });
}
