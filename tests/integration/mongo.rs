//! `shared::mongo` against a MongoDB-wire server.

use std::time::Duration;

use shared::config::Config;
use shared::deadline::Deadline;
use shared::mongo::{Error, Mongo};
use tests::{FaultProxy, MongoServer, within};

fn mongo(uri: &str) -> Mongo {
    let config = Config::from_lookup(|variable| (variable == "MONGODB_URI").then(|| uri.into()))
        .expect("usable");
    Mongo::new(&config.mongo)
}

/// MongoDB as seen through a proxy, and not connected yet.
async fn proxied() -> (FaultProxy, Mongo) {
    let server = MongoServer::shared().await;
    let proxy = FaultProxy::in_front_of(server.address());
    let mongo = mongo(&server.uri_through(&proxy));
    (proxy, mongo)
}

/// Long enough for any answer.
fn patience() -> Deadline {
    Deadline::after(Duration::from_secs(5))
}

#[tokio::test]
async fn nothing_is_connected_before_the_first_call() {
    let (proxy, mongo) = proxied().await;

    assert_eq!(proxy.accepted(), 0);
    mongo.ping(patience()).await.expect("a sign of life");
    assert!(proxy.accepted() > 0);
}

#[tokio::test]
async fn a_process_holds_one_connection_beside_the_one_that_watches() {
    let (proxy, mongo) = proxied().await;

    for _ in 0..100 {
        mongo.ping(patience()).await.expect("a sign of life");
    }

    assert!(proxy.accepted() <= 3, "{} connections", proxy.accepted());
}

#[tokio::test]
async fn a_latency_is_that_of_the_ping_and_not_of_the_connecting() {
    let (proxy, mongo) = proxied().await;
    proxy.delay(Duration::from_millis(50));

    let latency = mongo.ping(patience()).await.expect("a sign of life");

    assert!((50..100).contains(&latency.as_millis()), "{latency:?}");
}

#[tokio::test]
async fn a_ping_ends_at_its_deadline() {
    let silent = FaultProxy::silent();
    let mongo = mongo(&format!("mongodb://{}", silent.address()));

    let ping = mongo.ping(Deadline::after(Duration::from_millis(100)));
    let answer = within(Duration::from_millis(400), ping).await;

    assert_eq!(answer, Err(Error::Timeout));
}

#[tokio::test]
async fn without_a_uri_there_is_nothing_to_ask() {
    let mongo = Mongo::new(&Config::from_lookup(|_| None).expect("the defaults").mongo);
    assert_eq!(
        mongo.ping(Deadline::UNKNOWN).await,
        Err(Error::NotConfigured)
    );
}
