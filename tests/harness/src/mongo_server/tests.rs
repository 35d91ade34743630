//! Tests that the MongoDB server has the properties that the integration tests need.

use mongodb::Client;
use mongodb::bson::{Document, doc};

use super::MongoServer;
use crate::fault_proxy::FaultProxy;

#[tokio::test]
async fn the_shared_server_stores_documents_directly_and_through_a_proxy() {
    let server = MongoServer::shared().await;
    let proxy = FaultProxy::in_front_of(server.address());
    let database = server.fresh_database();
    for uri in [server.uri(), server.uri_through(&proxy)] {
        let client = Client::with_uri_str(uri).await.expect("the URI is valid");
        let ping = client
            .database("admin")
            .run_command(doc! { "ping": 1 })
            .await;
        ping.expect("the server answers");
        let collection = client
            .database(&database)
            .collection::<Document>("documents");
        collection
            .insert_one(doc! { "n": 1 })
            .await
            .expect("the server stores");
    }
    assert!(proxy.accepted() > 0);
    assert_ne!(server.fresh_database(), database);
}
