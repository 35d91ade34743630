//! MongoDB's TTL monitor with a short interval.
//!
//! MongoDB deletes expired records once a minute (<https://www.mongodb.com/docs/manual/core/index-ttl/>), and mongo-java-server
//! never deletes them. So without this monitor, a finished record would rarely be deleted shortly before a new claim of its
//! key. This monitor follows the rule of the engine's TTL index: a record is deleted one retention after its `finished_at`, by
//! the server's clock.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use futures_util::TryStreamExt;
use harness::mongo_server::MongoServer;
use mongodb::Collection;
use mongodb::bson::{DateTime, Document, doc};
use mongodb::error::{Error, Result};
use tokio::task::JoinSet;
use tokio::time::sleep;

/// A running monitor. Dropping this value ends the monitor.
pub(super) struct TtlMonitor {
    deleted: Arc<AtomicU64>,
    _task: JoinSet<()>,
}

const COLLECTION: &str = "idempotency";
/// The pause between two deletions. It is long enough for clients to read expired records that still exist.
const PAUSE: Duration = Duration::from_millis(200);

impl TtlMonitor {
    /// Starts a monitor that deletes each record one retention after the record was finished.
    ///
    /// # Panics
    ///
    /// Panics if the server's URI is invalid.
    pub(super) async fn start(server: &MongoServer, database: &str, retention: Duration) -> Self {
        let records = server.collection(database, COLLECTION).await;
        let deleted = Arc::new(AtomicU64::default());
        let counting = Arc::clone(&deleted);
        let mut task = JoinSet::new();
        task.spawn(async move {
            loop {
                sleep(PAUSE).await;
                let deleted = delete(&records, retention).await;
                let deleted = deleted.unwrap_or_else(|error| panic!("the TTL monitor: {error}"));
                counting.fetch_add(deleted, Relaxed);
            }
        });
        Self {
            deleted,
            _task: task,
        }
    }

    /// The number of deleted records.
    pub(super) fn deleted(&self) -> u64 {
        self.deleted.load(Relaxed)
    }
}

/// Deletes the records that are expired by the server's clock. Returns the number of deleted records.
async fn delete(records: &Collection<Document>, retention: Duration) -> Result<u64> {
    let now = [
        doc! { "$limit": 1 },
        doc! { "$project": { "now": "$$NOW" } },
    ];
    let Some(asked) = records.aggregate(now).await?.try_next().await? else {
        return Ok(0);
    };
    let now = asked.get_datetime("now").map_err(Error::custom)?;
    let retention = i64::try_from(retention.as_millis()).unwrap_or(i64::MAX);
    let limit = DateTime::from_millis(now.timestamp_millis().saturating_sub(retention));
    let over = doc! { "finished_at": { "$lte": limit } };
    Ok(records.delete_many(over).await?.deleted_count)
}

#[cfg(test)]
mod tests {
    use harness::eventually::eventually;

    use super::*;

    #[tokio::test]
    async fn only_records_that_finished_a_retention_ago_are_deleted() {
        let server = MongoServer::shared().await;
        let database = server.fresh_database();
        let records = server.collection(&database, COLLECTION).await;
        let ago = |seconds: i64| {
            let now = DateTime::now().timestamp_millis();
            DateTime::from_millis(now - 1_000 * seconds)
        };
        let all = [
            doc! { "_id": "over", "finished_at": ago(3_700) },
            doc! { "_id": "fresh", "finished_at": ago(3_500) },
            doc! { "_id": "unfinished", "leased_at": ago(9_000) },
        ];
        records.insert_many(all).await.expect("inserted");

        let retention = Duration::from_secs(3_600);
        let monitor = TtlMonitor::start(server, &database, retention).await;

        eventually(Duration::from_secs(10), async || monitor.deleted() == 1).await;
        let left = records.distinct("_id", doc! {}).await.expect("read");
        let mut left: Vec<_> = left.iter().filter_map(|id| id.as_str()).collect();
        left.sort_unstable();
        assert_eq!(left, ["fresh", "unfinished"]);
    }
}
