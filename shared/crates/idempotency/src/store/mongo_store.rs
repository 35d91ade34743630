//! MongoDB as the authoritative store: one document per key, compare-and-set, majority writes, the server's clock.
//!
//! A claim inserts a record, or replaces only the version that it has read. A change replaces only a record of its own
//! owner and attempt. So a delayed or repeated write changes nothing. This holds even if the record was deleted and the
//! key was claimed again meanwhile.
//!
//! Only finished records expire. A key is free as soon as its record has expired, even before MongoDB deletes the
//! record.

mod update;

use std::time::Duration;

use async_trait::async_trait;
use foundation::Deadline;
use futures_util::TryStreamExt;
use mongo_client::{Error, Mongo};
use mongodb::bson::{Document, doc};
use mongodb::options::ReturnDocument;
use mongodb::{Collection, Database};

use self::update::Update;
use super::mongo_document;
use super::{
    Answer, Backend, Blocked, ClaimOutcome, Found, Grant, Page, Repeated, ResolveResult, Store,
    StoreError, UnknownCause, WriteResult, mongo_index,
};
use crate::decision::{self, Change, ClaimRequest, Decision, Fence, Resolution, Step};
use crate::record::{Record, Version};
use crate::store_time::StoreTime;
use crate::{OwnerId, RecordKey, SavedResponse};

/// Records in MongoDB.
pub(crate) struct MongoStore {
    mongo: Mongo,
    retention: Duration,
}

const COLLECTION: &str = "idempotency";
/// The largest number of times that the insert of a claim is sent. It is sent again, with the same owner, only if the
/// acknowledgement is missing.
const SENDINGS: u32 = 3;
/// The largest number of tries of a call. A try reads the record and then writes it. The try fails if another write
/// happens in between.
const ROUNDS: u32 = 20;

impl MongoStore {
    pub(crate) fn new(mongo: Mongo, retention: Duration) -> Self {
        Self { mongo, retention }
    }

    /// Decides a claim. Returns the outcome, and the record that determines it, if there is one.
    pub(super) async fn claim_record(
        &self,
        key: &RecordKey,
        claim: &ClaimRequest,
        deadline: Deadline,
    ) -> Result<(ClaimOutcome<Grant>, Option<Record>), StoreError> {
        if let Some(record) = self.insert(key, claim, deadline).await? {
            return Ok((
                granted(&record, Repeated::No, record.leased_at),
                Some(record),
            ));
        }
        for _ in 0..ROUNDS {
            let (record, now) = match self.read(key, deadline).await? {
                Found::Record(record, now) => (*record, now),
                Found::Unreadable => {
                    return Ok((
                        ClaimOutcome::Blocked(Blocked::Unknown(UnknownCause::Unreadable)),
                        None,
                    ));
                }
                Found::Nothing => {
                    if let Some(record) = self.insert(key, claim, deadline).await? {
                        return Ok((
                            granted(&record, Repeated::No, record.leased_at),
                            Some(record),
                        ));
                    }
                    continue;
                }
            };
            match decision::decide(Some(&record), claim, now) {
                Decision::Start(how) => {
                    let next = decision::start(how, Some(&record), claim, now);
                    let update = Update::of_claim(key, &record, how, &next);
                    // Without a match, another claim came first. After an error, this claim may or may not have been
                    // written. In both cases, the next round reads the record again.
                    if let Ok(Some(record)) = self.update(update, deadline).await {
                        return Ok((
                            granted(&record, Repeated::No, record.leased_at),
                            Some(record),
                        ));
                    }
                }
                Decision::Repeated => {
                    return Ok((granted(&record, Repeated::Yes, now), Some(record)));
                }
                Decision::Blocked(blocked) => {
                    return Ok((ClaimOutcome::Blocked(blocked), Some(record)));
                }
            }
        }
        Err(CONTENDED)
    }

    /// Changes the record of an owner. Returns the result, and the record after the call.
    pub(super) async fn change_record(
        &self,
        key: &RecordKey,
        fence: &Fence,
        change: &Change,
        deadline: Deadline,
    ) -> Result<(WriteResult<Option<SavedResponse>>, Option<Record>), StoreError> {
        if let Some(update) = Update::at_once(key, fence, change)
            && let Some(record) = self.update(update, deadline).await?
        {
            return Ok((WriteResult::Stored(None), Some(record)));
        }
        for _ in 0..ROUNDS {
            let (record, now) = match self.read(key, deadline).await? {
                Found::Record(record, now) => (*record, now),
                Found::Nothing => return Ok((WriteResult::Superseded(None), None)),
                Found::Unreadable => {
                    let blocked = Some(Blocked::Unknown(UnknownCause::Unreadable));
                    return Ok((WriteResult::Superseded(blocked), None));
                }
            };
            let Step { write, answer } = decision::change(Some(&record), fence, change, now);
            if write.is_none() {
                return Ok((answer, Some(record)));
            }
            let update = Update::of_change(key, &record, change);
            if let Some(record) = self.update(update, deadline).await? {
                return Ok((answer, Some(record)));
            }
        }
        Err(CONTENDED)
    }

    /// Writes a resolution. Returns the result, and the record after the call.
    pub(super) async fn resolve_record(
        &self,
        key: &RecordKey,
        seen: Version,
        owner: OwnerId,
        resolution: &Resolution,
        deadline: Deadline,
    ) -> Result<(ResolveResult, Option<Record>), StoreError> {
        let Found::Record(record, now) = self.read(key, deadline).await? else {
            return Ok((ResolveResult::Refused, None));
        };
        if decision::resolve(&record, seen, owner, resolution, now)
            .write
            .is_none()
        {
            return Ok((result_of(owner, &record), Some(*record)));
        }
        let update = Update::of_resolution(key, seen, owner, resolution);
        if let Some(record) = self.update(update, deadline).await? {
            return Ok((ResolveResult::Stored, Some(record)));
        }
        match self.read(key, deadline).await? {
            Found::Record(record, _) => Ok((result_of(owner, &record), Some(*record))),
            _ => Ok((ResolveResult::Refused, None)),
        }
    }

    /// Inserts a record for a claim, and returns the record. `None`: the key already has a record. An earlier copy of
    /// this claim may have made that record.
    async fn insert(
        &self,
        key: &RecordKey,
        claim: &ClaimRequest,
        deadline: Deadline,
    ) -> Result<Option<Record>, StoreError> {
        let filter = doc! { "_id": key.as_str(), "owner": { "$exists": false } };
        let update = doc! {
            "$setOnInsert": mongo_document::inserted(claim),
            "$currentDate": { "leased_at": true, "first_at": true },
        };
        let mut sent = 0;
        let document = loop {
            sent += 1;
            let inserting = self.mongo.run(deadline, |database| {
                let records = records(&database);
                let (filter, update) = (filter.clone(), update.clone());
                async move {
                    let inserting = records.find_one_and_update(filter, update);
                    inserting
                        .upsert(true)
                        .return_document(ReturnDocument::After)
                        .await
                }
            });
            match inserting.await {
                Ok(document) => break document,
                Err(Error::Duplicate) => return Ok(None),
                Err(error) if error.may_have_run() && sent < SENDINGS => {}
                Err(error) => return Err(unavailable(error)),
            }
        };
        let record = document.and_then(|mut document| mongo_document::record(&mut document).ok());
        Ok(record.filter(|record| record.owner == claim.owner))
    }

    /// Updates the record that the filter matches, and returns the record. `None`: no record matches.
    async fn update(
        &self,
        update: Update,
        deadline: Deadline,
    ) -> Result<Option<Record>, StoreError> {
        let (filter, update) = update.into_documents();
        let updated = self
            .mongo
            .run(deadline, |database| {
                let records = records(&database);
                let (filter, update) = (filter.clone(), update.clone());
                async move {
                    let updating = records.find_one_and_update(filter, update);
                    updating.return_document(ReturnDocument::After).await
                }
            })
            .await
            .map_err(unavailable)?;
        let Some(mut document) = updated else {
            return Ok(None);
        };
        mongo_document::record(&mut document)
            .map(Some)
            .map_err(|_| UNEXPECTED)
    }
}

#[async_trait]
impl Store for MongoStore {
    async fn claim(
        &self,
        key: &RecordKey,
        claim: &ClaimRequest,
        deadline: Deadline,
    ) -> Result<Answer<ClaimOutcome<Grant>>, StoreError> {
        let (claimed, _) = self.claim_record(key, claim, deadline).await?;
        Ok(Answer::of_all(claimed))
    }

    async fn look(
        &self,
        key: &RecordKey,
        claim: &ClaimRequest,
        deadline: Deadline,
    ) -> Result<Answer<Option<Blocked>>, StoreError> {
        Ok(Answer::of_all(match self.read(key, deadline).await? {
            Found::Nothing => None,
            Found::Record(record, now) => decision::blocked(Some(&record), claim, now),
            Found::Unreadable => Some(Blocked::Unknown(UnknownCause::Unreadable)),
        }))
    }

    async fn change(
        &self,
        key: &RecordKey,
        fence: &Fence,
        change: &Change,
        deadline: Deadline,
    ) -> Result<Answer<WriteResult<Option<SavedResponse>>>, StoreError> {
        let (changed, _) = self.change_record(key, fence, change, deadline).await?;
        Ok(Answer::of_all(changed))
    }

    async fn read(&self, key: &RecordKey, deadline: Deadline) -> Result<Found, StoreError> {
        let pipeline = [
            doc! { "$match": { "_id": key.as_str() } },
            doc! { "$addFields": { "now": "$$NOW" } },
        ];
        let found = self
            .mongo
            .run(deadline, |database| {
                let (records, pipeline) = (records(&database), pipeline.clone());
                async move { records.aggregate(pipeline).await?.try_next().await }
            })
            .await
            .map_err(unavailable)?;
        let Some(document) = found else {
            return Ok(Found::Nothing);
        };
        found_in(document)
    }

    async fn list(&self, limit: u32, deadline: Deadline) -> Result<Vec<RecordKey>, StoreError> {
        let found: Vec<Document> = self
            .mongo
            .run(deadline, |database| {
                let records = records(&database);
                async move {
                    let finding = records.find(doc! {}).projection(doc! { "_id": 1 });
                    let finding = finding.sort(doc! { "_id": 1 }).limit(limit.into());
                    finding.await?.try_collect().await
                }
            })
            .await
            .map_err(unavailable)?;
        let names = found.iter().filter_map(|found| found.get_str("_id").ok());
        Ok(names.map(RecordKey::named).collect())
    }

    async fn unfinished(
        &self,
        page: Page<'_>,
        deadline: Deadline,
    ) -> Result<Vec<(RecordKey, Found)>, StoreError> {
        let pipeline = unfinished(page);
        let found: Vec<Document> = self
            .mongo
            .run(deadline, |database| {
                let (records, pipeline) = (records(&database), pipeline.clone());
                async move { records.aggregate(pipeline).await?.try_collect().await }
            })
            .await
            .map_err(unavailable)?;
        let read = found.into_iter().filter_map(|document| {
            let key = RecordKey::named(document.get_str("_id").ok()?);
            Some((key, found_in(document).ok()?))
        });
        Ok(read.collect())
    }

    async fn resolve(
        &self,
        key: &RecordKey,
        seen: Version,
        owner: OwnerId,
        resolution: &Resolution,
        deadline: Deadline,
    ) -> Result<ResolveResult, StoreError> {
        let (resolved, _) = self
            .resolve_record(key, seen, owner, resolution, deadline)
            .await?;
        Ok(resolved)
    }

    /// Creates the indexes that delete expired records and find unfinished ones.
    async fn prepare(&self, deadline: Deadline) -> Result<(), StoreError> {
        self.mongo
            .run(deadline, |database| {
                mongo_index::make(records(&database), self.retention)
            })
            .await
            .map_err(unavailable)
    }
}

/// Parses a document that contains the server's time.
fn found_in(mut document: Document) -> Result<Found, StoreError> {
    let now = mongo_document::now(&document).ok_or(UNEXPECTED)?;
    Ok(match mongo_document::record(&mut document) {
        Ok(record) => Found::Record(Box::new(record), now),
        Err(_) => Found::Unreadable,
    })
}

/// Returns the aggregation that reads a page of unfinished records, through the index of `mongo_index`.
fn unfinished(page: Page<'_>) -> [Document; 4] {
    let mut names = doc! { "$gte": page.prefix, "$lt": format!("{}{}", page.prefix, char::MAX) };
    if let Some(after) = page.after {
        names.insert("$gt", after.as_str());
    }
    [
        doc! { "$match": { "state": { "$in": mongo_index::UNFINISHED.to_vec() }, "_id": names } },
        doc! { "$sort": { "_id": 1 } },
        doc! { "$limit": i64::from(page.limit) },
        doc! { "$addFields": { "now": "$$NOW" } },
    ]
}

fn records(database: &Database) -> Collection<Document> {
    database.collection(COLLECTION)
}

/// Returns the result of a resolution that did not write `record`. If the owner is the same, an earlier copy of this
/// resolution wrote it, and the reply to that copy was lost.
fn result_of(owner: OwnerId, record: &Record) -> ResolveResult {
    if record.owner == owner {
        ResolveResult::Stored
    } else {
        ResolveResult::Refused
    }
}

fn granted(record: &Record, repeated: Repeated, now: StoreTime) -> ClaimOutcome<Grant> {
    ClaimOutcome::Claimed(Grant::of(record, repeated, now))
}

const CONTENDED: StoreError = StoreError::Unavailable {
    store: Backend::MongoDb,
    code: "contended",
};

const UNEXPECTED: StoreError = StoreError::Unavailable {
    store: Backend::MongoDb,
    code: "unexpected_answer",
};

fn unavailable(error: Error) -> StoreError {
    StoreError::Unavailable {
        store: Backend::MongoDb,
        code: error.code(),
    }
}

#[cfg(test)]
mod tests;
