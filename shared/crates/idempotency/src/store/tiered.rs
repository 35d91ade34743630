//! MongoDB as the authoritative store, with Redis as a cache in front of it.
//!
//! Redis alone answers a claim if it has a result that MongoDB has acknowledged. Redis alone also answers a claim if an
//! attempt of the same request is running. MongoDB answers every other call.
//!
//! A result is written to Redis only after MongoDB has acknowledged it. So no response changes if Redis loses data or
//! falls back to an older state. If results are signed, the same holds for anything that another program writes to
//! Redis.

use std::time::Duration;

use async_trait::async_trait;
use foundation::Deadline;
use redis_client::RedisClient;

use super::hints::{Hint, Hints};
use super::mongo_store::MongoStore;
use super::{
    Answer, Backend, Blocked, ClaimOutcome, Found, Grant, Page, ResolveResult, Store, StoreError,
    WriteResult,
};
use crate::decision::{Change, ClaimRequest, Fence, Resolution};
use crate::record::{Record, Version};
use crate::{OwnerId, RecordKey, ResponseKeys, SavedResponse};

/// Records in MongoDB, with hints and results in Redis.
pub(crate) struct TieredStore {
    hints: Hints,
    mongo: MongoStore,
}

/// The time that a claim reserves at its end for removing its hint from Redis. A claim with little time left reserves a
/// quarter of that time. A hint that stays in Redis after a failed claim would block the key until its lease ends.
const REMOVAL_TIME: Duration = Duration::from_millis(300);

/// The longest time to copy MongoDB's result to Redis. The response is already final, and the client waits for it.
const COPY_TIME: Duration = Duration::from_secs(1);

impl TieredStore {
    pub(crate) fn new(
        redis: RedisClient,
        mongo: MongoStore,
        retention: Duration,
        response_keys: Option<ResponseKeys>,
    ) -> Self {
        Self {
            hints: Hints::new(redis, retention, response_keys),
            mongo,
        }
    }

    /// Copies MongoDB's state to Redis: stores a result, or removes `hint`.
    async fn copy_to_redis(
        &self,
        key: &RecordKey,
        record: Option<&Record>,
        hint: OwnHint<'_>,
        deadline: Deadline,
    ) -> Result<(), StoreError> {
        let deadline = deadline.within(COPY_TIME);
        match (record, hint) {
            (Some(record), _) if record.is_completed() => {
                let replaces = match hint {
                    OwnHint::Of(claim) => Some(claim),
                    OwnHint::OfOwner(_) | OwnHint::None => None,
                };
                self.hints.store(key, record, replaces, deadline).await
            }
            (_, OwnHint::Of(claim)) => self.hints.remove(key, claim.owner, deadline).await,
            (_, OwnHint::OfOwner(owner)) => self.hints.remove(key, owner, deadline).await,
            (_, OwnHint::None) => Ok(()),
        }
    }
}

/// The hint in Redis that a call may have to replace or remove.
#[derive(Clone, Copy)]
enum OwnHint<'a> {
    /// The hint of this claim.
    Of(&'a ClaimRequest),
    /// The hint of this owner. The text of the hint is unknown.
    OfOwner(OwnerId),
    /// The call has stored no hint.
    None,
}

impl<'a> OwnHint<'a> {
    /// Returns the hint of an attempt. The claim of a resumed lease is incomplete: its lease length is zero.
    fn of_attempt(claim: &'a ClaimRequest) -> Self {
        if claim.lease.is_zero() {
            Self::OfOwner(claim.owner)
        } else {
            Self::Of(claim)
        }
    }
}

#[async_trait]
impl Store for TieredStore {
    async fn claim(
        &self,
        key: &RecordKey,
        claim: &ClaimRequest,
        deadline: Deadline,
    ) -> Result<Answer<ClaimOutcome<Grant>>, StoreError> {
        let hinted = self.hints.claim(key, claim, deadline).await;
        if let Ok(Hint::Blocked(blocked)) = hinted {
            return Ok(Answer::of_all(ClaimOutcome::Blocked(blocked)));
        }
        let took_part = hinted.is_ok();
        let hint = match hinted {
            Ok(Hint::Stored) => OwnHint::Of(claim),
            _ => OwnHint::None,
        };
        // Without a hint to remove later, no time is reserved for the removal.
        let mongo_deadline = if matches!(hint, OwnHint::Of(_)) {
            deadline.reserving(deadline.clip(REMOVAL_TIME * 4) / 4)
        } else {
            deadline
        };
        match self.mongo.claim_record(key, claim, mongo_deadline).await {
            Ok((ClaimOutcome::Claimed(grant), _)) => {
                Ok(answer(ClaimOutcome::Claimed(grant), took_part))
            }
            Ok((claimed, record)) => {
                let is_copied = took_part
                    && self
                        .copy_to_redis(key, record.as_ref(), hint, deadline)
                        .await
                        .is_ok();
                Ok(answer(claimed, is_copied))
            }
            Err(error) => {
                let _ = self.copy_to_redis(key, None, hint, deadline).await;
                Err(error)
            }
        }
    }

    async fn look(
        &self,
        key: &RecordKey,
        claim: &ClaimRequest,
        deadline: Deadline,
    ) -> Result<Answer<Option<Blocked>>, StoreError> {
        let hinted = self.hints.look(key, claim, deadline).await;
        let took_part = hinted.is_ok();
        match hinted {
            Ok(Hint::Blocked(blocked)) => Ok(Answer::of_all(Some(blocked))),
            Ok(Hint::Stored | Hint::Ask) | Err(_) => {
                let looked = self.mongo.look(key, claim, deadline).await?;
                Ok(answer(looked.value, took_part))
            }
        }
    }

    async fn change(
        &self,
        key: &RecordKey,
        fence: &Fence,
        change: &Change,
        deadline: Deadline,
    ) -> Result<Answer<WriteResult<Option<SavedResponse>>>, StoreError> {
        let (changed, record) = self
            .mongo
            .change_record(key, fence, change, deadline)
            .await?;
        let is_still_running = matches!(
            (&changed, change),
            (
                WriteResult::Stored(_) | WriteResult::TooLate | WriteResult::Outdated(_),
                Change::Renew(_) | Change::Checkpoint(_)
            )
        );
        let hint = OwnHint::of_attempt(&fence.claim);
        let is_copied = is_still_running
            || self
                .copy_to_redis(key, record.as_ref(), hint, deadline)
                .await
                .is_ok();
        Ok(answer(changed, is_copied))
    }

    async fn read(&self, key: &RecordKey, deadline: Deadline) -> Result<Found, StoreError> {
        self.mongo.read(key, deadline).await
    }

    async fn list(&self, limit: u32, deadline: Deadline) -> Result<Vec<RecordKey>, StoreError> {
        self.mongo.list(limit, deadline).await
    }

    async fn unfinished(
        &self,
        page: Page<'_>,
        deadline: Deadline,
    ) -> Result<Vec<(RecordKey, Found)>, StoreError> {
        self.mongo.unfinished(page, deadline).await
    }

    async fn resolve(
        &self,
        key: &RecordKey,
        seen: Version,
        owner: OwnerId,
        resolution: &Resolution,
        deadline: Deadline,
    ) -> Result<ResolveResult, StoreError> {
        let (resolved, record) = self
            .mongo
            .resolve_record(key, seen, owner, resolution, deadline)
            .await?;
        // The resolution counts even if it cannot be copied to Redis.
        let hint = OwnHint::OfOwner(seen.owner);
        let _ = self
            .copy_to_redis(key, record.as_ref(), hint, deadline)
            .await;
        Ok(resolved)
    }

    async fn prepare(&self, deadline: Deadline) -> Result<(), StoreError> {
        self.mongo.prepare(deadline).await
    }
}

fn answer<T>(value: T, redis_took_part: bool) -> Answer<T> {
    if redis_took_part {
        Answer::of_all(value)
    } else {
        Answer::degraded(value, Backend::MongoDb)
    }
}
