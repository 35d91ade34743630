//! Stores of records, which of them is authoritative, and how to write your own.
//!
//! | configured | authoritative | cache in front of it |
//! |---|---|---|
//! | MongoDB and Redis | MongoDB | Redis, with hints and results |
//! | MongoDB | MongoDB | |
//! | Redis | Redis | in development, the memory of this process |
//! | neither, in development | the memory of this process | |
//! | neither, outside development | no store: every claim is refused | |
//! | your own [`Store`] | your own | |
//!
//! # Your own store
//!
//! A [`Store`] keeps one [`Record`] per key. The rules of idempotency are in [`step`], as pure functions of the stored
//! record, the call and the time. A store adds durability, one atomic step per call, and a clock.
//!
//! It has to guarantee:
//!
//! - **Atomic steps.** Each call reads the record, applies the rules of [`step`], and writes the record. No other write
//!   of that record happens in between.
//! - **Durable replies.** The store sends a reply only after the write is as durable as the store promises. If the
//!   store cannot tell whether a write was applied, the call returns [`StoreError::Unavailable`], and the caller
//!   retries.
//! - **Its own clock.** One clock of the store supplies `now` for all callers. The store reads this clock within the
//!   atomic step. Clocks of callers are not used. The store's clock may be set back by less than the longest lease.
//! - **Retries.** A call may arrive twice or late, with the same arguments. [`step`] recognises such a call by the
//!   owner or the revision in the call. So the store has to pass both to [`step`] unchanged.
//! - **Unfinished records stay.** The store may delete a record only after the retention has passed since the
//!   [`finished_at`](Record::finished_at) of that record. If the store deletes the record earlier, the operation may
//!   run again.
//! - **An unreadable value blocks its key.** The store reports the value as [`Unreadable`]. No claim replaces the
//!   value.
//! - **Timeouts.** A call returns by its deadline.
//!
//! The feature `conformance` tests these guarantees.
//!
//! ```
#![doc = include_str!("../examples/own_store.rs")]
//! ```

mod answer;
mod backend;
#[cfg(all(feature = "mongodb", feature = "redis"))]
pub(crate) mod hints;
#[cfg(test)]
mod history;
#[cfg(feature = "memory")]
pub(crate) mod memory;
#[cfg(feature = "mongodb")]
mod mongo_document;
#[cfg(feature = "mongodb")]
mod mongo_index;
#[cfg(feature = "mongodb")]
pub(crate) mod mongo_store;
mod page;
#[cfg(all(feature = "memory", feature = "redis"))]
pub(crate) mod redis_behind_memory;
#[cfg(feature = "redis")]
pub(crate) mod redis_store;
#[cfg(feature = "redis")]
mod redis_text;
pub(crate) mod reject;
#[cfg(feature = "redis")]
mod script_reply;
pub mod step;
#[cfg(all(feature = "mongodb", feature = "redis"))]
pub(crate) mod tiered;

pub use async_trait::async_trait;
use foundation::Deadline;

pub use self::answer::{Answer, Found, Grant, Repeated, Stored};
pub use self::backend::{Backend, StoreError};
pub use self::page::Page;
pub use crate::blocked::{Blocked, UnknownCause};
pub use crate::decision::{Change, ClaimRequest, Fence, Resolution, ResolveResult, Step};
pub use crate::outcome::ClaimOutcome;
pub use crate::record::{Record, State, Unreadable, Version};
pub use crate::store_time::StoreTime;
pub use crate::write_result::WriteResult;
use crate::{OwnerId, RecordKey, SavedResponse};

/// A store of records. It may combine several servers.
///
/// Every call may be repeated with the same arguments, and may arrive late. The store recognises a repeated call by the
/// owner or the revision in the call.
#[async_trait]
pub trait Store: Send + Sync {
    /// Claims the key, or returns what blocks it. A claim succeeds only after the authoritative store has acknowledged
    /// a record with this owner.
    async fn claim(
        &self,
        key: &RecordKey,
        claim: &ClaimRequest,
        deadline: Deadline,
    ) -> Result<Answer<ClaimOutcome<Grant>>, StoreError>;

    /// Returns what would block this claim, and writes nothing. `None`: the key is free.
    async fn look(
        &self,
        key: &RecordKey,
        claim: &ClaimRequest,
        deadline: Deadline,
    ) -> Result<Answer<Option<Blocked>>, StoreError>;

    /// Changes a record for the record's owner. If an earlier call has already stored a result, `Stored` contains that
    /// result.
    async fn change(
        &self,
        key: &RecordKey,
        fence: &Fence,
        change: &Change,
        deadline: Deadline,
    ) -> Result<Answer<WriteResult<Option<SavedResponse>>>, StoreError>;

    /// Returns the value under the key.
    async fn read(&self, key: &RecordKey, deadline: Deadline) -> Result<Found, StoreError>;

    /// Resolves the record, if its version is still `seen`. The resolved record gets `owner`, which is fresh for every
    /// resolution.
    async fn resolve(
        &self,
        key: &RecordKey,
        seen: Version,
        owner: OwnerId,
        resolution: &Resolution,
        deadline: Deadline,
    ) -> Result<ResolveResult, StoreError>;

    /// Returns at most `limit` keys, sorted.
    async fn list(&self, limit: u32, deadline: Deadline) -> Result<Vec<RecordKey>, StoreError>;

    /// Returns one page of unfinished records, sorted by key. An unfinished record is running, abandoned, unknown or
    /// unreadable. An empty page means that there are no more records.
    ///
    /// The default implementation reads every key. A store with an index should override this function.
    async fn unfinished(
        &self,
        page: Page<'_>,
        deadline: Deadline,
    ) -> Result<Vec<(RecordKey, Found)>, StoreError> {
        let mut unfinished = Vec::new();
        for key in self.list(u32::MAX, deadline).await? {
            if !page.takes(&key) {
                continue;
            }
            let found = self.read(&key, deadline).await?;
            if found.is_unfinished() {
                unfinished.push((key, found));
            }
            if unfinished.len() >= page.limit as usize {
                break;
            }
        }
        Ok(unfinished)
    }

    /// Creates the store's indexes, if it has any. Claims and writes work without these indexes.
    async fn prepare(&self, _: Deadline) -> Result<(), StoreError> {
        Ok(())
    }
}

#[cfg(test)]
mod tests;
