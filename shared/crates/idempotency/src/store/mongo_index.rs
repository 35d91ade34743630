//! The MongoDB indexes that delete expired records and find unfinished ones. No claim and no write depends on them.
//!
//! Few records are unfinished. A partial index contains these and the few released records, so a scheduled job can
//! search it every minute. A claim adds one index entry. The completion of the claim deletes that entry.

use std::time::Duration;

use futures_util::TryStreamExt;
use mongodb::bson::{Document, doc};
use mongodb::error::Result;
use mongodb::options::IndexOptions;
use mongodb::{Collection, IndexModel};

const NAME: &str = "idempotency_window";

/// The states of unfinished records.
pub(super) const UNFINISHED: [&str; 2] = ["in_progress", "unknown"];

/// Creates both indexes if they are absent.
pub(super) async fn make(records: Collection<Document>, retention: Duration) -> Result<()> {
    // The index of unfinished records comes first, because it creates the collection: MongoDB lists no indexes of an
    // absent collection.
    let unfinished = make_unfinished(&records).await;
    make_expiry(&records, retention).await?;
    unfinished
}

/// Creates the partial index. Its filter excludes `completed`, the state of most records. The filter uses `$gt`,
/// because MongoDB before 6.0 supports no `$in` in such a filter.
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

/// Creates the expiry index. First drops an existing expiry index that has another retention.
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

/// Returns the retention of the existing expiry index. `None`: there is no such index.
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
