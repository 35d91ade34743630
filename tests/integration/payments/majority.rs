//! Each operation of the ledger uses the read concern and the write concern `majority` in MongoDB.

use std::time::Duration;

use harness::{Lambda, MongoServer, Outcome, eventually};
use mongodb::bson::doc;
use serde_json::json;

use super::shop::{Shop, ten_euros};
use crate::majority::Wire;

const LIMIT: Duration = Duration::from_secs(20);

#[tokio::test]
async fn each_operation_of_the_ledger_uses_majority_concern() {
    for wire in Wire::all().await {
        let database = MongoServer::shared().await.fresh_database();
        let shop = Shop::with(&[("MONGODB_URI", &wire.uri), ("MONGODB_DATABASE", &database)]).await;

        let acting = ten_euros("pm_sandbox_requires_action");
        // The request writes the claim, the row and the intent.
        let created = wire
            .sends(&["findAndModify"], shop.pay("k-1", &acting))
            .await;
        assert_eq!(created.status, 202, "{}", created.text());
        let created = created.json();
        let id = created["id"].as_str().expect("an id");
        let shown = wire.sends(&["find"], shop.show(id)).await;
        assert_eq!(shown.json()["status"], "requires_action");

        let soon = &[("PAYMENT_RECONCILE_AFTER_SECONDS", "1")];
        let reconciler = shop.function("payments-reconcile", soon).await;
        // An `updateMany` moves an unreadable row to the end of the queue.
        let unreadable =
            doc! { "_id": "pay_x", "state": "unknown", "created_at": "2020-01-01T00:00:00.000Z" };
        let ledger = shop.ledger().await;
        ledger.insert_one(unreadable).await.expect("inserted");
        let sent = ["createIndexes", "aggregate", "findAndModify", "update"];
        wire.sends(&sent, settled(&reconciler)).await;
        let shown = wire.sends(&["find"], shop.show(id)).await;
        assert_eq!(shown.json()["status"], "succeeded");
    }
}

/// Runs the reconciler until the payment is old enough and succeeds.
async fn settled(reconciler: &Lambda) {
    eventually(LIMIT, async || {
        match reconciler.invoke(json!({"source": "aws.scheduler"})).await {
            Outcome::Answered(report) => report["succeeded"] == 1,
            failed => panic!("{failed:?}"),
        }
    })
    .await;
}
