//! The ledger in MongoDB. Each payment is one document, and each change is one conditional update.

use async_trait::async_trait;
use foundation::Deadline;
use futures_util::TryStreamExt;
use mongo_client::{Error, Mongo};
use mongodb::bson::{self, Bson, Document, doc};
use mongodb::options::ReturnDocument;
use mongodb::{Collection, Database, IndexModel};
use tracing::error;

use super::{Change, ChangeResult, Ledger, LedgerError, OpenPayments, Queue, QueueOrder};
use crate::{Payment, State, Timestamp};

pub(crate) struct MongoLedger {
    mongo: Mongo,
}

const COLLECTION: &str = "payments";

impl MongoLedger {
    pub(crate) fn new(mongo: Mongo) -> Self {
        Self { mongo }
    }

    /// Sends one `findOneAndUpdate`. Returns the document after the update; `None`: no document matches `filter`.
    async fn update(
        &self,
        filter: Document,
        update: Document,
        upsert: Upsert,
        deadline: Deadline,
    ) -> Result<Option<Document>, Error> {
        self.mongo
            .run(deadline, |database| {
                let payments = payments(&database);
                let (filter, update) = (filter.clone(), update.clone());
                async move {
                    let updating = payments.find_one_and_update(filter, update);
                    updating
                        .upsert(upsert == Upsert::Yes)
                        .return_document(ReturnDocument::After)
                        .await
                }
            })
            .await
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Upsert {
    Yes,
    No,
}

impl MongoLedger {
    /// Logs unreadable rows for an operator. Moves the rows to the end of the queue, so that they delay no other payments.
    async fn put_back(&self, rows: &[Bson], deadline: Deadline) -> Result<(), LedgerError> {
        if rows.is_empty() {
            return Ok(());
        }
        for id in rows {
            error!(payment.id = %id, "a ledger row is unreadable: its payment may have been charged and is not reconciled until the row is repaired; see docs/runbook.md, Unreadable payments");
        }
        let filter = doc! { "_id": { "$in": rows } };
        let update = doc! { "$set": { "looked_at": Timestamp::now().to_string() } };
        let writing = self.mongo.run(deadline, |database| {
            let (payments, filter, update) = (payments(&database), filter.clone(), update.clone());
            async move { payments.update_many(filter, update).await }
        });
        writing.await.map_err(unavailable)?;
        Ok(())
    }

    /// The first rows of a queue, at most `limit`.
    async fn rows(
        &self,
        queue: Queue,
        limit: u32,
        deadline: Deadline,
    ) -> Result<Vec<Document>, LedgerError> {
        let pipeline = pipeline(queue, limit);
        self.mongo
            .run(deadline, |database| {
                let (payments, pipeline) = (payments(&database), pipeline.clone());
                async move { payments.aggregate(pipeline).await?.try_collect().await }
            })
            .await
            .map_err(unavailable)
    }
}

#[async_trait]
impl Ledger for MongoLedger {
    async fn open(&self, opened: &Payment, deadline: Deadline) -> Result<Payment, LedgerError> {
        let mut inserted = document(opened)?;
        inserted.remove("_id");
        let filter = doc! { "_id": &opened.id };
        let update = doc! { "$setOnInsert": inserted };
        match self.update(filter, update, Upsert::Yes, deadline).await {
            Ok(Some(opened)) => payment(opened),
            // Another attempt inserted the row at the same time.
            Ok(None) | Err(Error::Duplicate) => self
                .read(&opened.id, deadline)
                .await?
                .ok_or(LedgerError::Unavailable("contended")),
            Err(error) => Err(unavailable(error)),
        }
    }

    async fn change(
        &self,
        changing: &Payment,
        change: &Change,
        deadline: Deadline,
    ) -> Result<ChangeResult, LedgerError> {
        let (guard, set) = written(change)?;
        let mut filter = doc! { "_id": &changing.id, "state": is_open() };
        filter.extend(guard);
        let changed = self
            .update(filter, doc! { "$set": set }, Upsert::No, deadline)
            .await
            .map_err(unavailable)?;
        match changed {
            Some(changed) => payment(changed).map(ChangeResult::Applied),
            None => self
                .read(&changing.id, deadline)
                .await?
                .map(ChangeResult::Conflict)
                .ok_or(LedgerError::Unavailable("not_found")),
        }
    }

    async fn read(&self, id: &str, deadline: Deadline) -> Result<Option<Payment>, LedgerError> {
        let filter = doc! { "_id": id };
        let found = self
            .mongo
            .run(deadline, |database| {
                let (payments, filter) = (payments(&database), filter.clone());
                async move { payments.find_one(filter).await }
            })
            .await
            .map_err(unavailable)?;
        found.map(payment).transpose()
    }

    async fn open_payments(
        &self,
        queue: Queue,
        deadline: Deadline,
    ) -> Result<OpenPayments, LedgerError> {
        let mut limit = queue.limit;
        loop {
            let rows = self.rows(queue, limit, deadline).await?;
            let is_all = rows.len() < size(limit);
            let (mut payments, mut unreadable) = (Vec::new(), Vec::new());
            for row in rows {
                let id = row.get("_id").cloned().unwrap_or_default();
                match payment(row) {
                    Ok(payment) => payments.push(payment),
                    Err(_) => unreadable.push(id),
                }
            }
            match queue.order {
                QueueOrder::LongestWaiting { .. } => self.put_back(&unreadable, deadline).await?,
                // A list for an operator does not move unreadable rows. A query with a higher limit finds further readable rows.
                QueueOrder::Oldest if !is_all && payments.len() < size(queue.limit) => {
                    let unreadable = u32::try_from(unreadable.len()).unwrap_or(u32::MAX);
                    limit = queue.limit.saturating_add(unreadable.saturating_mul(2));
                    continue;
                }
                QueueOrder::Oldest => {}
            }
            payments.truncate(size(queue.limit));
            let unreadable = unreadable.into_iter().map(text).collect();
            return Ok(OpenPayments {
                payments,
                unreadable,
            });
        }
    }

    async fn count_open(
        &self,
        created_before: Timestamp,
        deadline: Deadline,
    ) -> Result<u64, LedgerError> {
        let filter = open_since(created_before);
        self.mongo
            .run(deadline, |database| {
                let (payments, filter) = (payments(&database), filter.clone());
                async move { payments.count_documents(filter).await }
            })
            .await
            .map_err(unavailable)
    }

    async fn prepare(&self, deadline: Deadline) -> Result<(), LedgerError> {
        self.mongo
            .run(deadline, |database| {
                let payments = payments(&database);
                let index = IndexModel::builder()
                    .keys(doc! { "state": 1, "created_at": 1 })
                    .build();
                async move { payments.create_index(index).await }
            })
            .await
            .map_err(unavailable)?;
        Ok(())
    }
}

/// The aggregation that reads a queue.
///
/// The aggregation selects payments by the rule of [`Queue::contains`], and sorts them by [`Queue::sort_key`]. A test checks both. The
/// aggregation also finds rows whose state or times are damaged.
fn pipeline(queue: Queue, limit: u32) -> [Document; 4] {
    let states = State::OPEN.into_iter().chain(State::FINAL);
    let is_damaged = doc! { "$nin": states.map(State::name).collect::<Vec<_>>() };
    let is_due = doc! { "state": is_open(), "created_at": is_before(queue.created_before) };
    let mut filter = doc! { "$or": [is_due, { "state": is_damaged }] };
    let rank = match queue.order {
        QueueOrder::Oldest => Bson::from("$created_at"),
        QueueOrder::LongestWaiting { looked_before } => {
            filter.insert("looked_at", is_before(looked_before));
            doc! { "$ifNull": ["$looked_at", "$created_at"] }.into()
        }
    };
    [
        doc! { "$match": filter },
        doc! { "$addFields": { "rank": rank } },
        doc! { "$sort": { "rank": 1 } },
        doc! { "$limit": i64::from(limit) },
    ]
}

/// Matches a time before `moment`. Also matches a missing time, and a value that is not a time.
fn is_before(moment: Timestamp) -> Document {
    doc! { "$not": { "$gte": moment.to_string(), "$lt": Timestamp::FAR.to_string() } }
}

fn open_since(created_before: Timestamp) -> Document {
    doc! { "state": is_open(), "created_at": { "$lt": created_before.to_string() } }
}

fn is_open() -> Document {
    doc! { "$in": State::OPEN.map(State::name).to_vec() }
}

/// The filter of a change, and the members that the change sets. The caller adds the condition that the state is open. An update with
/// this filter and these members has the effect of [`Change::apply`]; a test checks that.
fn written(change: &Change) -> Result<(Document, Document), LedgerError> {
    let now = Timestamp::now().to_string();
    Ok(match change {
        Change::Attach { intent, livemode } => (
            doc! { "intent": Bson::Null },
            doc! {
                "intent": intent,
                "livemode": *livemode,
                "state": State::Confirming.name(),
                "status_since": now,
            },
        ),
        Change::Move(state) => (
            doc! { "state": { "$in": State::OPEN.into_iter().filter(|open| open != state).map(State::name).collect::<Vec<_>>() } },
            doc! { "state": state.name(), "status_since": now },
        ),
        Change::Look => (doc! {}, doc! { "looked_at": now }),
        Change::End(ended) => (doc! {}, ending(ended)?),
        Change::EndWithoutIntent(ended) => (doc! { "intent": Bson::Null }, ending(ended)?),
    })
}

/// The members that the end of a payment sets. The update leaves all other members unchanged, because they may have changed since this
/// attempt read the row.
fn ending(ended: &Payment) -> Result<Document, LedgerError> {
    let mut all = document(ended)?;
    let members = ["state", "status_since", "decline_code", "answer"];
    Ok(members
        .into_iter()
        .filter_map(|member| Some((member.to_owned(), all.remove(member)?)))
        .collect())
}

fn payments(database: &Database) -> Collection<Document> {
    database.collection(COLLECTION)
}

fn document(payment: &Payment) -> Result<Document, LedgerError> {
    bson::to_document(payment).map_err(|_| LedgerError::Unavailable("unwritable"))
}

fn payment(row: Document) -> Result<Payment, LedgerError> {
    let tenant = row.get_str("tenant").ok().map(str::to_owned);
    bson::from_document(row).map_err(|_| LedgerError::Unreadable { tenant })
}

/// An id as text. The ids that this ledger writes are strings. Rows that another program wrote can have ids of other types.
fn text(id: Bson) -> String {
    match id {
        Bson::String(id) => id,
        other => other.to_string(),
    }
}

fn size(limit: u32) -> usize {
    limit.try_into().unwrap_or(usize::MAX)
}

fn unavailable(error: Error) -> LedgerError {
    LedgerError::Unavailable(error.code())
}
