//! The MongoDB client against a MongoDB-wire server.

use std::time::Duration;

use futures_util::future::join_all;
use harness::{FaultProxy, MongoServer, within};
use mongo_client::{Error, Mongo};
use mongodb::Database;
use mongodb::bson::{Document, doc};
use shared::App;
use shared::deadline::Deadline;

fn mongo(uri: &str) -> Mongo {
    let app = App::from_lookup(|variable| (variable == "MONGODB_URI").then(|| uri.into()));
    app.expect("usable").mongodb().clone()
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
    let mongo = App::from_lookup(|_| None)
        .expect("the defaults")
        .mongodb()
        .clone();
    assert_eq!(
        mongo.ping(Deadline::UNKNOWN).await,
        Err(Error::NotConfigured)
    );
    assert_eq!(
        note(&mongo, Deadline::UNKNOWN).await,
        Err(Error::NotConfigured)
    );
}

/// Inserts a document with the same `_id` each time the call is sent.
async fn note(mongo: &Mongo, deadline: Deadline) -> Result<(), Error> {
    let document = doc! { "_id": mongodb::bson::oid::ObjectId::new() };
    insert(mongo, &document, deadline).await
}

async fn insert(mongo: &Mongo, document: &Document, deadline: Deadline) -> Result<(), Error> {
    let inserting = |database: Database| {
        let document = document.clone();
        async move { database.collection("notes").insert_one(document).await }
    };
    mongo.run(deadline, inserting).await.map(drop)
}

#[tokio::test]
async fn a_connection_that_died_at_rest_costs_no_call() {
    let (proxy, mongo) = proxied().await;
    let deaths: [fn(&FaultProxy); 3] = [
        FaultProxy::close_connections,
        FaultProxy::reset_connections,
        FaultProxy::black_hole_existing,
    ];
    for die in deaths.into_iter().cycle().take(6) {
        assert_eq!(note(&mongo, patience()).await, Ok(()));
        die(&proxy);
        assert_eq!(
            note(&mongo, Deadline::after(Duration::from_secs(2))).await,
            Ok(())
        );
    }
}

#[tokio::test]
async fn a_call_whose_answer_was_lost_is_sent_again() {
    let (proxy, mongo) = proxied().await;
    note(&mongo, patience()).await.expect("connected");
    proxy.drop_next_reply();

    // What the first one did, the second one finds.
    let again = note(&mongo, Deadline::after(Duration::from_secs(2))).await;

    assert_eq!(again, Err(Error::Duplicate));
    assert_eq!(note(&mongo, patience()).await, Ok(()));
}

#[tokio::test]
async fn a_call_that_was_sent_may_have_run_whatever_became_of_its_repetition() {
    let (proxy, mongo) = proxied().await;
    note(&mongo, patience()).await.expect("connected");
    proxy.drop_next_reply();
    let calling = note(&mongo, Deadline::after(Duration::from_secs(1)));

    let (called, ()) = tokio::join!(calling, async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        proxy.refuse();
    });

    let error = called.expect_err("no answer");
    assert!(error.may_have_run(), "{error:?}");
}

#[tokio::test]
async fn a_call_that_found_no_server_has_not_run() {
    let refusing = FaultProxy::refusing();
    let mongo = mongo(&format!("mongodb://{}", refusing.address()));

    let called = note(&mongo, Deadline::UNKNOWN).await;

    assert_eq!(called, Err(Error::ConnectFailed));
    assert!(!Error::ConnectFailed.may_have_run());
}

#[tokio::test]
async fn a_call_ends_at_its_deadline_and_without_one_all_the_same() {
    let (proxy, mongo) = proxied().await;
    note(&mongo, patience()).await.expect("connected");
    proxy.black_hole();
    let hurried = note(&mongo, Deadline::after(Duration::from_millis(300)));
    let called = within(Duration::from_millis(600), hurried).await;
    assert_eq!(called, Err(Error::Timeout));

    let called = within(Duration::from_secs(6), note(&mongo, Deadline::UNKNOWN)).await;

    assert!(called.is_err());
    proxy.heal();
    assert_eq!(note(&mongo, patience()).await, Ok(()));
}

#[tokio::test]
async fn calls_at_once_share_a_few_connections() {
    let (proxy, mongo) = proxied().await;

    let called = join_all((0..100).map(|_| note(&mongo, patience()))).await;

    assert!(called.iter().all(Result::is_ok), "{called:?}");
    // Five that are worked on, and two by which the driver watches the server.
    assert!(proxy.accepted() <= 7, "{} connections", proxy.accepted());
}

#[tokio::test]
async fn who_comes_second_is_told_that_the_document_exists() {
    let (_proxy, mongo) = proxied().await;
    let document = doc! { "_id": mongodb::bson::oid::ObjectId::new() };
    assert_eq!(insert(&mongo, &document, patience()).await, Ok(()));

    let second = insert(&mongo, &document, patience()).await;

    assert_eq!(second, Err(Error::Duplicate));
    assert!(!Error::Duplicate.may_have_run());
}
