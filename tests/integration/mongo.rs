//! The MongoDB client, with a server that uses MongoDB's wire protocol.

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

/// A proxy in front of MongoDB, and a client that has not connected to it yet.
async fn proxied() -> (FaultProxy, Mongo) {
    let server = MongoServer::shared().await;
    let proxy = FaultProxy::in_front_of(server.address());
    let mongo = mongo(&server.uri_through(&proxy));
    (proxy, mongo)
}

/// A deadline that is long enough for any reply.
fn patience() -> Deadline {
    Deadline::after(Duration::from_secs(5))
}

#[tokio::test]
async fn the_first_call_connects() {
    let (proxy, mongo) = proxied().await;

    assert_eq!(proxy.accepted(), 0);
    mongo.ping(patience()).await.expect("a reply");
    assert!(proxy.accepted() > 0);
}

#[tokio::test]
async fn a_process_holds_one_connection_and_one_for_monitoring() {
    let (proxy, mongo) = proxied().await;

    for _ in 0..100 {
        mongo.ping(patience()).await.expect("a reply");
    }

    assert!(proxy.accepted() <= 3, "{} connections", proxy.accepted());
}

#[tokio::test]
async fn the_latency_excludes_connecting() {
    let (proxy, mongo) = proxied().await;
    proxy.delay(Duration::from_millis(50));

    let latency = mongo.ping(patience()).await.expect("a reply");

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
async fn without_a_uri_every_call_fails() {
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

/// Inserts a document. A retry of the call inserts the same `_id`.
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
async fn a_connection_that_broke_while_idle_fails_no_call() {
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
async fn a_call_without_a_reply_is_retried() {
    let (proxy, mongo) = proxied().await;
    note(&mongo, patience()).await.expect("connected");
    proxy.drop_next_reply();

    // The first attempt inserted the document, so the retry finds it.
    let again = note(&mongo, Deadline::after(Duration::from_secs(2))).await;

    assert_eq!(again, Err(Error::Duplicate));
    assert_eq!(note(&mongo, patience()).await, Ok(()));
}

#[tokio::test]
async fn a_call_that_was_sent_may_have_run_even_if_its_retry_was_not_sent() {
    let (proxy, mongo) = proxied().await;
    note(&mongo, patience()).await.expect("connected");
    proxy.drop_next_reply();
    let calling = note(&mongo, Deadline::after(Duration::from_secs(1)));

    let (called, ()) = tokio::join!(calling, async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        proxy.refuse();
    });

    let error = called.expect_err("no reply");
    assert!(error.may_have_run(), "{error:?}");
}

#[tokio::test]
async fn a_call_without_a_server_has_not_run() {
    let refusing = FaultProxy::refusing();
    let mongo = mongo(&format!("mongodb://{}", refusing.address()));

    let called = note(&mongo, Deadline::UNKNOWN).await;

    assert_eq!(called, Err(Error::ConnectFailed));
    assert!(!Error::ConnectFailed.may_have_run());
}

#[tokio::test]
async fn a_call_ends_at_its_deadline_or_after_five_seconds() {
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
async fn parallel_calls_share_a_few_connections() {
    let (proxy, mongo) = proxied().await;

    let called = join_all((0..100).map(|_| note(&mongo, patience()))).await;

    assert!(called.iter().all(Result::is_ok), "{called:?}");
    // The pool has at most five connections, and the driver's monitoring has two.
    assert!(proxy.accepted() <= 7, "{} connections", proxy.accepted());
}

#[tokio::test]
async fn a_second_insert_of_a_document_is_a_duplicate() {
    let (_proxy, mongo) = proxied().await;
    let document = doc! { "_id": mongodb::bson::oid::ObjectId::new() };
    assert_eq!(insert(&mongo, &document, patience()).await, Ok(()));

    let second = insert(&mongo, &document, patience()).await;

    assert_eq!(second, Err(Error::Duplicate));
    assert!(!Error::Duplicate.may_have_run());
}
