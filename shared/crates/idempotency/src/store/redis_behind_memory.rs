//! Redis behind the memory of this process, in development.
//!
//! The memory takes part in every call, even while Redis is available. At any time, one of the two is authoritative for
//! a key:
//!
//! - Redis, if it answers the claim. The memory keeps a copy of this process's attempts. With the copy, the memory
//!   answers retries, and detects that Redis has lost the key.
//! - The memory, if Redis does not answer the claim or a completion, or has lost an unfinished attempt. From then on,
//!   the memory is authoritative for that key until the key's retention is over.
//!
//! So one process runs no operation twice and gives one response per key, whether Redis is available or not. Other
//! processes cannot read the keys in this memory, and the keys are lost at the end of the process. So this store is for
//! development only.
//!
//! An attempt that Redis has started needs Redis for each checkpoint, renewal, release and mark as unknown. While Redis
//! is unavailable, no such write is acknowledged. A process also starts an attempt for a key that only other processes
//! have used: its memory has no copy of that key.
//!
//! One case is not prevented. After Redis has fallen back to an older state, another process may claim the key with the
//! same attempt number. If that process releases the key, this process runs the operation twice.

use std::time::Duration;

use async_trait::async_trait;
use foundation::Deadline;

use super::memory::{ClaimStep, Copied, LocalKnowledge, MemoryStore, RedisAttempt, of_memory};
use super::redis_store::RedisStore;
use super::{
    Answer, Blocked, ClaimOutcome, Found, Grant, ResolveResult, Store, StoreError, WriteResult,
};
use crate::decision::{Change, ClaimRequest, Fence, Resolution};
use crate::record::Version;
use crate::{OwnerId, RecordKey, SavedResponse};

/// Records in Redis, behind the memory of this process.
pub(crate) struct RedisBehindMemory {
    memory: MemoryStore,
    redis: RedisStore,
}

impl RedisBehindMemory {
    pub(crate) fn new(memory: MemoryStore, redis: RedisStore) -> Self {
        Self { memory, redis }
    }

    /// Returns whether Redis still has the attempt. If Redis does not have it, makes the memory authoritative for the
    /// key.
    async fn redis_has(
        &self,
        key: &RecordKey,
        work: RedisAttempt,
        deadline: Deadline,
    ) -> Result<bool, StoreError> {
        let has = match self.redis.read(key, deadline).await? {
            Found::Nothing => false,
            Found::Record(record, _) => work.is_in(&record),
            // The value may be the record of the attempt, so nothing runs.
            Found::Unreadable => true,
        };
        if !has {
            self.memory.take_over(key, work);
        }
        Ok(has)
    }

    async fn claim_in_redis(
        &self,
        key: &RecordKey,
        claim: &ClaimRequest,
        deadline: Deadline,
    ) -> Result<Answer<ClaimOutcome<Grant>>, StoreError> {
        let answer = self.redis.claim(key, claim, deadline).await?;
        let copied = match &answer.value {
            ClaimOutcome::Claimed(grant) => self.memory.copy(key, claim, grant),
            ClaimOutcome::Blocked(_) if self.memory.knowledge(key) == LocalKnowledge::Decides => {
                Copied::DecidedLocally
            }
            ClaimOutcome::Blocked(Blocked::Replay(response)) => {
                self.memory.copy_result(key, claim, response);
                Copied::Done
            }
            ClaimOutcome::Blocked(_) => Copied::Done,
        };
        match copied {
            Copied::Done => Ok(answer),
            Copied::Stale => Ok(Answer::of_all(ClaimOutcome::Blocked(Blocked::InProgress {
                retry_after: Duration::ZERO,
            }))),
            Copied::DecidedLocally => {
                let claimed = self.memory.claim(key, claim, deadline).await?;
                Ok(of_memory(claimed.value))
            }
        }
    }
}

#[async_trait]
impl Store for RedisBehindMemory {
    async fn claim(
        &self,
        key: &RecordKey,
        claim: &ClaimRequest,
        deadline: Deadline,
    ) -> Result<Answer<ClaimOutcome<Grant>>, StoreError> {
        match self.memory.begin_claim(key, claim)? {
            ClaimStep::Decided(answer) => Ok(answer),
            ClaimStep::AskRedis => self.claim_in_redis(key, claim, deadline).await,
            ClaimStep::Reserved { grant, before } => {
                let claimed = self.claim_in_redis(key, claim, deadline).await;
                match &claimed {
                    Ok(Answer {
                        value: ClaimOutcome::Blocked(_),
                        ..
                    }) => self.memory.end_reservation(key, claim.owner, before),
                    Err(_) if self.memory.decide_locally(key, claim.owner) => {
                        return Ok(of_memory(ClaimOutcome::Claimed(grant)));
                    }
                    _ => {}
                }
                claimed
            }
        }
    }

    async fn look(
        &self,
        key: &RecordKey,
        claim: &ClaimRequest,
        deadline: Deadline,
    ) -> Result<Answer<Option<Blocked>>, StoreError> {
        let from_memory = async || {
            let blocked = self.memory.look(key, claim, deadline).await?;
            Ok(of_memory(blocked.value))
        };
        match self.memory.knowledge(key) {
            LocalKnowledge::Decides => from_memory().await,
            LocalKnowledge::Completed | LocalKnowledge::Running => {
                self.memory.look(key, claim, deadline).await
            }
            LocalKnowledge::Unfinished(work) if !self.redis_has(key, work, deadline).await? => {
                from_memory().await
            }
            LocalKnowledge::Unfinished(_) => self.redis.look(key, claim, deadline).await,
            LocalKnowledge::Nothing => {
                let from_redis = self.redis.look(key, claim, deadline).await;
                // While Redis is unavailable, the memory decides a claim, and the claim succeeds.
                Ok(from_redis.unwrap_or(of_memory(None)))
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
        if let Some(changed) = self.memory.change_locally(key, fence, change) {
            return changed;
        }
        match self.redis.change(key, fence, change, deadline).await {
            Ok(answer) if self.memory.copy_change(key, fence, change, &answer.value) => Ok(answer),
            Ok(answer) => {
                let decided = self.memory.change_locally(key, fence, change);
                decided.unwrap_or(Ok(answer))
            }
            Err(error) if matches!(change, Change::Complete(_)) => {
                let completed = self.memory.complete_locally(key, fence, change);
                completed.unwrap_or(Err(error))
            }
            Err(error) => Err(error),
        }
    }

    async fn read(&self, key: &RecordKey, deadline: Deadline) -> Result<Found, StoreError> {
        let memory_decides = match self.memory.knowledge(key) {
            LocalKnowledge::Decides | LocalKnowledge::Completed => true,
            LocalKnowledge::Unfinished(work) => !self.redis_has(key, work, deadline).await?,
            LocalKnowledge::Running | LocalKnowledge::Nothing => false,
        };
        if memory_decides {
            self.memory.read(key, deadline).await
        } else {
            self.redis.read(key, deadline).await
        }
    }

    /// Lists only the keys in Redis. A key that only the memory contains is not listed, but can be read.
    async fn list(&self, limit: u32, deadline: Deadline) -> Result<Vec<RecordKey>, StoreError> {
        self.redis.list(limit, deadline).await
    }

    async fn resolve(
        &self,
        key: &RecordKey,
        seen: Version,
        owner: OwnerId,
        resolution: &Resolution,
        deadline: Deadline,
    ) -> Result<ResolveResult, StoreError> {
        match self.memory.knowledge(key) {
            LocalKnowledge::Decides | LocalKnowledge::Completed => {
                let resolving = self.memory.resolve(key, seen, owner, resolution, deadline);
                return resolving.await;
            }
            LocalKnowledge::Running | LocalKnowledge::Unfinished(_) | LocalKnowledge::Nothing => {}
        }
        let resolving = self.redis.resolve(key, seen, owner, resolution, deadline);
        match resolving.await? {
            ResolveResult::Stored => {
                let followed = self
                    .memory
                    .copy_resolution(key, seen.owner, owner, resolution);
                Ok(followed)
            }
            ResolveResult::Refused => Ok(ResolveResult::Refused),
        }
    }
}
