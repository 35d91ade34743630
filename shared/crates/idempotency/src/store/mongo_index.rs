//! The indexes by which MongoDB deletes what is over, and finds what is unfinished. No decision depends on them.
//!
//! Unfinished records are few among the finished ones of a day. A partial index holds only them and the few that are released,
//! so that a schedule can look each minute: a claim writes one entry more, and its completion deletes it.

use std::time::Duration;

use futures_util::TryStreamExt;
use mongodb::bson::{Document, doc};
use mongodb::error::Result;
use mongodb::options::IndexOptions;
use mongodb::{Collection, IndexModel};

const NAME: &str = "idempotency_window";

/// The states of what is unfinished.
pub(super) const UNFINISHED: [&str; 2] = ["in_progress", "unknown"];

/// Makes both indexes, unless they are there.
pub(super) async fn make(records: Collection<Document>, retention: Duration) -> Result<()> {
    // This one first: it makes the collection, without which MongoDB lists no indexes.
    let unfinished = make_unfinished(&records).await;
    make_expiry(&records, retention).await?;
    unfinished
}

/// `$gt`, since servers before MongoDB 6.0 take no `$in` here: of the four states, it leaves out the one that most records are in.
async fn make_unfinished(records: &Collection<Document>) -> Result<()> {
    let options = IndexOptions::builder()
        .name("idempotency_unfinished".to_owned())
        .partial_filter_expression(doc! { "state": { "$gt": "completed" } })
        .build();
    let index = IndexModel::builder()
        .keys(doc! { "state": 1, "_id": 1 })
        .options(options)
        .build();
    records.create_index(index).await.map(drop)
}

/// An index for another retention goes before its successor is there.
async fn make_expiry(records: &Collection<Document>, retention: Duration) -> Result<()> {
    if retention_of(records)
        .await?
        .is_some_and(|made_for| made_for != retention)
    {
        records.drop_index(NAME).await?;
    }
    let options = IndexOptions::builder()
        .name(NAME.to_owned())
        .expire_after(retention)
        .build();
    let index = IndexModel::builder()
        .keys(doc! { "finished_at": 1 })
        .options(options)
        .build();
    records.create_index(index).await.map(drop)
}

/// The retention that the index was made for; `None`: there is no index.
async fn retention_of(records: &Collection<Document>) -> Result<Option<Duration>> {
    let mut indexes = records.list_indexes().await?;
    while let Some(index) = indexes.try_next().await? {
        let options = index.options.unwrap_or_default();
        if options.name.as_deref() == Some(NAME) {
            return Ok(options.expire_after);
        }
    }
    Ok(None)
}
