//! The ledger in MongoDB: one document for each payment, each change one conditional update.

use async_trait::async_trait;
use futures_util::TryStreamExt;
use mongodb::bson::{self, Bson, Document, doc};
use mongodb::options::ReturnDocument;
use mongodb::{Collection, Database, IndexModel};

use tracing::error;

use super::{Change, Changed, Ledger, Queue, QueueOrder, Unavailable};
use crate::deadline::Deadline;
use crate::mongo::{Error, Mongo};
use crate::payments::{Moment, Payment, State};

pub(in crate::payments) struct MongoLedger {
    mongo: Mongo,
}

const COLLECTION: &str = "payments";
/// How often an insert that was not acknowledged is sent: a second one finds what the first one did.
const SENDINGS: u32 = 2;

impl MongoLedger {
    pub(in crate::payments) fn new(mongo: Mongo) -> Self {
        Self { mongo }
    }

    /// Sends one `findOneAndUpdate`. `None`: nothing is as `filter` says.
    async fn update(
        &self,
        filter: Document,
        update: Document,
        upsert: Upsert,
        deadline: Deadline,
    ) -> Result<Option<Payment>, Error> {
        let document = self
            .mongo
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
            .await?;
        document.map(payment).transpose()
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Upsert {
    Yes,
    No,
}

impl MongoLedger {
    /// Calls for a person where rows cannot be read, and lets them wait for their next turn, so that they keep no others from
    /// theirs.
    async fn put_back(&self, rows: Vec<Bson>, deadline: Deadline) -> Result<(), Unavailable> {
        if rows.is_empty() {
            return Ok(());
        }
        for id in &rows {
            error!(payment.id = %id, "a row of the ledger cannot be read: its payment is not settled");
        }
        let filter = doc! { "_id": { "$in": rows } };
        let update = doc! { "$set": { "looked_at": Moment::now().to_string() } };
        let writing = self.mongo.run(deadline, |database| {
            let (payments, filter, update) = (payments(&database), filter.clone(), update.clone());
            async move { payments.update_many(filter, update).await }
        });
        writing.await.map_err(unavailable)?;
        Ok(())
    }
}

#[async_trait]
impl Ledger for MongoLedger {
    async fn open(&self, payment: &Payment, deadline: Deadline) -> Result<Payment, Unavailable> {
        let mut inserted = document(payment)?;
        inserted.remove("_id");
        let filter = doc! { "_id": &payment.id };
        let update = doc! { "$setOnInsert": inserted };
        for sending in 1..=SENDINGS {
            let (filter, update) = (filter.clone(), update.clone());
            match self.update(filter, update, Upsert::Yes, deadline).await {
                Ok(Some(opened)) => return Ok(opened),
                // Two inserted at once: the other one's row is there now.
                Ok(None) | Err(Error::Duplicate) if sending < SENDINGS => {}
                Ok(None) => break,
                Err(error) => return Err(unavailable(error)),
            }
        }
        Err(Unavailable("contended"))
    }

    async fn change(
        &self,
        payment: &Payment,
        change: &Change,
        deadline: Deadline,
    ) -> Result<Changed, Unavailable> {
        let (guard, set) = written(change)?;
        let mut filter = doc! { "_id": &payment.id, "state": is_open() };
        filter.extend(guard);
        let changed = self
            .update(filter, doc! { "$set": set }, Upsert::No, deadline)
            .await
            .map_err(unavailable)?;
        match changed {
            Some(changed) => Ok(Changed::Now(changed)),
            None => self
                .read(&payment.id, deadline)
                .await?
                .map(Changed::Not)
                .ok_or(Unavailable("not_found")),
        }
    }

    async fn read(&self, id: &str, deadline: Deadline) -> Result<Option<Payment>, Unavailable> {
        let filter = doc! { "_id": id };
        let found = self
            .mongo
            .run(deadline, |database| {
                let (payments, filter) = (payments(&database), filter.clone());
                async move { payments.find_one(filter).await }
            })
            .await
            .map_err(unavailable)?;
        found.map(payment).transpose().map_err(unavailable)
    }

    async fn open_payments(
        &self,
        queue: Queue,
        deadline: Deadline,
    ) -> Result<Vec<Payment>, Unavailable> {
        let asked = asked(queue);
        let found: Vec<Document> = self
            .mongo
            .run(deadline, |database| {
                let (payments, asked) = (payments(&database), asked.clone());
                async move { payments.aggregate(asked).await?.try_collect().await }
            })
            .await
            .map_err(unavailable)?;
        let (mut open, mut unreadable) = (Vec::new(), Vec::new());
        for row in found {
            let id = row.get("_id").cloned().unwrap_or_default();
            match payment(row) {
                Ok(payment) => open.push(payment),
                Err(_) => unreadable.push(id),
            }
        }
        // Who only looks leaves the queue as it is.
        if matches!(queue.order, QueueOrder::Unseen { .. }) {
            self.put_back(unreadable, deadline).await?;
        }
        Ok(open)
    }

    async fn count_open(
        &self,
        created_before: Moment,
        deadline: Deadline,
    ) -> Result<u64, Unavailable> {
        let filter = open_since(created_before);
        self.mongo
            .run(deadline, |database| {
                let (payments, filter) = (payments(&database), filter.clone());
                async move { payments.count_documents(filter).await }
            })
            .await
            .map_err(unavailable)
    }

    async fn prepare(&self, deadline: Deadline) -> Result<(), Unavailable> {
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

/// The aggregation that a queue is. It says what [`Queue::takes`] and [`Queue::rank`] say, which a test compares.
fn asked(queue: Queue) -> [Document; 4] {
    let mut filter = open_since(queue.created_before);
    let rank = match queue.order {
        QueueOrder::Oldest => Bson::from("$created_at"),
        QueueOrder::Unseen { looked_before } => {
            let is_earlier = doc! { "looked_at": { "$lt": looked_before.to_string() } };
            filter.insert("$or", vec![doc! { "looked_at": Bson::Null }, is_earlier]);
            doc! { "$ifNull": ["$looked_at", "$created_at"] }.into()
        }
    };
    [
        doc! { "$match": filter },
        doc! { "$addFields": { "rank": rank } },
        doc! { "$sort": { "rank": 1 } },
        doc! { "$limit": i64::from(queue.limit) },
    ]
}

fn open_since(created_before: Moment) -> Document {
    doc! { "state": is_open(), "created_at": { "$lt": created_before.to_string() } }
}

fn is_open() -> Document {
    doc! { "$in": State::OPEN.map(State::name).to_vec() }
}

/// What a change expects beside an open state, and what it sets. It says what [`Change::apply`] says, which a test compares.
fn written(change: &Change) -> Result<(Document, Document), Unavailable> {
    let now = Moment::now().to_string();
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

/// What an end sets, and nothing that another attempt may have written since.
fn ending(ended: &Payment) -> Result<Document, Unavailable> {
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

fn document(payment: &Payment) -> Result<Document, Unavailable> {
    bson::to_document(payment).map_err(|_| UNWRITABLE)
}

fn payment(document: Document) -> Result<Payment, Error> {
    bson::from_document(document).map_err(|_| Error::Rejected)
}

const UNWRITABLE: Unavailable = Unavailable("unwritable");

fn unavailable(error: Error) -> Unavailable {
    Unavailable(error.code())
}
