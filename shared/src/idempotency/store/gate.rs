//! In development this process's memory stands in front of Redis, always, and not only while Redis is away.
//!
//! Every claim passes the memory first, with the same owner in both, and what Redis does not start is undone here. So
//! nothing is handed over when Redis goes or comes back, and one process does not run a key twice while Redis is away. The
//! memory accepts a release from Redis only for an attempt that both have started.
//!
//! Both count the writes of an attempt alike. Where Redis has missed some because it was away, the next write follows the last one that
//! Redis has; where this memory has missed some because another process wrote them, it catches up. An attempt that Redis has not
//! seen begin begins there when it has something that must last: a result, or that its outcome is unknown.
//!
//! Other processes do not see this memory, which is why it stands in nowhere but on a laptop. Not held: what ended while Redis was
//! away (a result, a note, that an outcome is unknown) counts in this process alone, until it restarts; and a process runs a key
//! twice if Redis falls back to an older state, and another process then claims and releases the same attempt again.

use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;

use super::memory::MemoryStore;
use super::redis_store::RedisStore;
use super::{Answer, Backend, Changed, Claimed, Found, Settled, Standing, Store, Undecided};
use crate::deadline::Deadline;
use crate::idempotency::decision::{Change, Claim, Fence, Settlement};
use crate::idempotency::record::Version;
use crate::idempotency::{OwnerId, RecordKey};

/// Records in Redis, behind the memory of this process.
pub(in crate::idempotency) struct GatedStore {
    memory: MemoryStore,
    redis: RedisStore,
    /// Whether Redis did not answer when it was last asked.
    is_alone: AtomicBool,
}

impl GatedStore {
    pub(in crate::idempotency) fn new(memory: MemoryStore, redis: RedisStore) -> Self {
        Self {
            memory,
            redis,
            is_alone: AtomicBool::new(false),
        }
    }

    /// Asks Redis about work that is unknown here: another process may have settled or finished it. A missing record in Redis is
    /// no evidence: Redis may have lost it.
    async fn learn(&self, key: &RecordKey, deadline: Deadline) {
        if let Some(Found::Record(record, _)) = self.note(self.redis.read(key, deadline).await) {
            self.memory.learn(key, *record);
        }
    }

    /// Whether Redis may have anything of a key; also where it does not answer. Where it has nothing, the entry that is settled was
    /// this memory's.
    async fn knows(&self, key: &RecordKey, deadline: Deadline) -> bool {
        let found = self.note(self.redis.read(key, deadline).await);
        !matches!(found, Some(Found::Nothing))
    }

    async fn change_in_redis(
        &self,
        key: &RecordKey,
        fence: &Fence,
        change: &Change,
        deadline: Deadline,
    ) -> Option<Changed> {
        let changed = self.redis.change(key, fence, change, deadline).await;
        self.note(changed).map(|answer| answer.value)
    }

    /// Begins an attempt in Redis that began while Redis was away, and changes it there. `None`: another one has begun since, or Redis
    /// does not answer.
    async fn begin_and_change_in_redis(
        &self,
        key: &RecordKey,
        fence: &Fence,
        change: &Change,
        deadline: Deadline,
    ) -> Option<Changed> {
        let claimed = self.redis.claim(key, &fence.claim, deadline).await;
        let Claimed::Started(grant) = self.note(claimed)?.value else {
            return None;
        };
        let fence = Fence {
            attempt: grant.attempt,
            rev: grant.rev,
            ..fence.clone()
        };
        self.change_in_redis(key, &fence, change, deadline).await
    }

    /// Notes whether Redis answered.
    fn note<T>(&self, answered: Result<T, Undecided>) -> Option<T> {
        self.is_alone.store(answered.is_err(), Ordering::Relaxed);
        answered.ok()
    }

    fn answer<T>(&self, value: T) -> Answer<T> {
        if self.is_alone.load(Ordering::Relaxed) {
            Answer::of_stand_in(value, Backend::Memory)
        } else {
            Answer::of_all(value)
        }
    }
}

#[async_trait]
impl Store for GatedStore {
    async fn claim(
        &self,
        key: &RecordKey,
        claim: &Claim,
        deadline: Deadline,
    ) -> Result<Answer<Claimed>, Undecided> {
        let (mut here, mut before) = self.memory.claim_at(key, claim, self.memory.now())?;
        if let Claimed::Standing(Standing::Unknown(_)) = here {
            self.learn(key, deadline).await;
            (here, before) = self.memory.claim_at(key, claim, self.memory.now())?;
        }
        let Claimed::Started(local) = here else {
            return Ok(self.answer(here));
        };
        match self.note(self.redis.claim(key, claim, deadline).await) {
            Some(Answer {
                value: Claimed::Started(grant),
                ..
            }) => {
                self.memory.adopt(key, claim.owner, &grant);
                Ok(self.answer(Claimed::Started(grant.with_history_of(local))))
            }
            Some(Answer { value, .. }) => {
                self.memory.undo(key, claim.owner, before);
                Ok(self.answer(value))
            }
            None => Ok(self.answer(Claimed::Started(local))),
        }
    }

    async fn look(
        &self,
        key: &RecordKey,
        claim: &Claim,
        deadline: Deadline,
    ) -> Result<Answer<Standing>, Undecided> {
        let mut here = self.memory.look(key, claim, deadline).await?;
        if let Standing::Unknown(_) = here.value {
            self.learn(key, deadline).await;
            here = self.memory.look(key, claim, deadline).await?;
        }
        if here.value != Standing::Free {
            return Ok(self.answer(here.value));
        }
        let there = self.note(self.redis.look(key, claim, deadline).await);
        Ok(self.answer(there.map_or(Standing::Free, |there| there.value)))
    }

    async fn change(
        &self,
        key: &RecordKey,
        fence: &Fence,
        change: &Change,
        deadline: Deadline,
    ) -> Result<Answer<Changed>, Undecided> {
        let here = self.memory.rev(key, fence);
        if change.names_rev() && here.is_some_and(|rev| rev > fence.rev) {
            // It has been on its way since before a later write of this attempt.
            let outdated = self
                .memory
                .change_at(key, fence, change, self.memory.now())?;
            return Ok(self.answer(outdated));
        }
        let mut there = self.change_in_redis(key, fence, change, deadline).await;
        if let Some(Changed::Moved(rev)) = there
            && here == Some(fence.rev)
            && rev < fence.rev
        {
            // Redis was away when the writes in between were made.
            let fence = Fence {
                rev,
                ..fence.clone()
            };
            there = self.change_in_redis(key, &fence, change, deadline).await;
        }
        if let Some(Changed::Superseded(Standing::Free)) = there
            && matches!(change, Change::Complete(_) | Change::MarkUnknown)
            && self.memory.is_unfinished(key, fence)
        {
            there = self
                .begin_and_change_in_redis(key, fence, change, deadline)
                .await;
        }
        let is_known = !matches!(there, Some(Changed::Superseded(Standing::Free)) | None);
        match there {
            // Redis has rejected this write as outdated, so the memory does not take it either. It learns of the later one.
            Some(Changed::Moved(rev)) => {
                self.memory.catch_up(key, fence, rev);
                return Ok(self.answer(Changed::Moved(rev)));
            }
            // An attempt of another process, or of this one before it was restarted: Redis keeps the mark.
            Some(there) if is_known && here.is_none() && *change == Change::MarkUnknown => {
                return Ok(self.answer(there));
            }
            _ => {}
        }
        self.memory.catch_up(key, fence, fence.rev);
        let theirs = match &there {
            // Another process has the key, and its result is everybody's answer.
            Some(Changed::Superseded(Standing::Replay(response))) => {
                Some(Change::Complete(response.clone()))
            }
            _ => None,
        };
        let change = theirs.as_ref().unwrap_or(change);
        let here = self.memory.change_at(key, fence, change, self.memory.now());
        Ok(self.answer(match (there, here) {
            // Redis may have forgotten that this attempt took over.
            (Some(_), Ok(Changed::TooLate)) => Changed::TooLate,
            (Some(there), _) if is_known => there,
            // An attempt that began while Redis was away is none that Redis knows.
            (_, here) => here?,
        }))
    }

    /// What Redis has, unless this memory has the result that Redis missed.
    async fn read(&self, key: &RecordKey, deadline: Deadline) -> Result<Found, Undecided> {
        let there = self.note(self.redis.read(key, deadline).await);
        match there {
            Some(found) if found.is_result() => Ok(found),
            Some(Found::Nothing) | None => self.memory.read(key, deadline).await,
            Some(found) => {
                let result = self.memory.result(key);
                Ok(result.map_or(found, |(record, now)| Found::Record(record.into(), now)))
            }
        }
    }

    /// Redis's alone: what only this process has is of no use to who asks.
    async fn list(&self, limit: u32, deadline: Deadline) -> Result<Vec<RecordKey>, Undecided> {
        self.redis.list(limit, deadline).await
    }

    async fn settle(
        &self,
        key: &RecordKey,
        seen: Version,
        owner: OwnerId,
        settlement: &Settlement,
        deadline: Deadline,
    ) -> Result<Settled, Undecided> {
        if let Some((result, _)) = self.memory.result(key)
            && result.owner != owner
        {
            // Redis may have missed it.
            return Ok(Settled::Refused);
        }
        let settled = self
            .redis
            .settle(key, seen, owner, settlement, deadline)
            .await;
        let undecided = settled.as_ref().err().copied();
        match self.note(settled) {
            Some(Settled::Done) => {
                self.memory.settle_too(key, seen.owner, owner, settlement);
                Ok(Settled::Done)
            }
            Some(Settled::Refused) if self.knows(key, deadline).await => Ok(Settled::Refused),
            _ => {
                let settling = self.memory.settle(key, seen, owner, settlement, deadline);
                match (settling.await?, undecided) {
                    // The record is Redis's, which may have written the settlement or not.
                    (Settled::Refused, Some(undecided)) => Err(undecided),
                    (settled, _) => Ok(settled),
                }
            }
        }
    }
}
