//! The index by which MongoDB deletes what is over. No decision depends on it.

use std::time::Duration;

use futures_util::TryStreamExt;
use mongodb::bson::{Document, doc};
use mongodb::error::{ErrorKind, Result};
use mongodb::options::IndexOptions;
use mongodb::{Collection, IndexModel};

const NAME: &str = "idempotency_window";
/// MongoDB's code for a collection that is not there.
const NAMESPACE_NOT_FOUND: i32 = 26;

/// Makes the index, unless it is there. One for another window goes before its successor is there.
pub(super) async fn make(records: Collection<Document>, window: Duration) -> Result<()> {
    if window_of(&records)
        .await?
        .is_some_and(|made_for| made_for != window)
    {
        records.drop_index(NAME).await?;
    }
    let options = IndexOptions::builder()
        .name(NAME.to_owned())
        .expire_after(window)
        .build();
    let index = IndexModel::builder()
        .keys(doc! { "finished_at": 1 })
        .options(options)
        .build();
    records.create_index(index).await.map(drop)
}

/// The window that the index was made for; `None`: there is no index.
async fn window_of(records: &Collection<Document>) -> Result<Option<Duration>> {
    let mut indexes = match records.list_indexes().await {
        Err(error) if is_of_no_collection(&error) => return Ok(None),
        listed => listed?,
    };
    while let Some(index) = indexes.try_next().await? {
        let options = index.options.unwrap_or_default();
        if options.name.as_deref() == Some(NAME) {
            return Ok(options.expire_after);
        }
    }
    Ok(None)
}

fn is_of_no_collection(error: &mongodb::error::Error) -> bool {
    matches!(&*error.kind, ErrorKind::Command(command) if command.code == NAMESPACE_NOT_FOUND)
}
