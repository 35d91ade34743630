//! Where records are kept, which store decides, and how to write another one.
//!
//! | configured | decides | in front of it |
//! |---|---|---|
//! | MongoDB and Redis | MongoDB | Redis, with hints and results |
//! | MongoDB | MongoDB | |
//! | Redis | Redis | in development this process's memory |
//! | neither, in development | this process's memory | |
//! | neither, elsewhere | nobody: everything is refused | |
//! | a [`Store`] of one's own | that one | |
//!
//! # A store of one's own
//!
//! A [`Store`] keeps one [`Record`] per key. It does not know the rules of idempotency: [`step`] has them as pure functions of what
//! is stored, the call and the time. What a store adds is durability, one atomic step per call, and a clock.
//!
//! What it has to guarantee:
//!
//! - **One atomic step.** Each call reads the record, decides, and writes, and no other write of that record comes between.
//! - **Acknowledged means kept.** An answer is given only after what it says is as durable as the store promises. A call whose write
//!   may or may not have landed is [`StoreError::Unavailable`]; the caller repeats it.
//! - **Its own clock.** `now` is one clock for all callers, read in the same step: a caller's clock decides nothing. It may be set
//!   back by less than the longest lease.
//! - **Lost replies.** The same call with the same arguments may arrive twice, or late. [`step`] recognises the owner or the revision
//!   that it names, so a store hands them over unchanged and invents none.
//! - **Nothing unfinished is forgotten.** Only a record whose [`finished_at`](Record::finished_at) is a retention ago may be deleted.
//!   What is deleted earlier may run again.
//! - **What cannot be read is no absence.** A value that is no record is [`Unreadable`], and never replaced by a claim.
//! - **Time-outs.** A call returns by its deadline.
//!
//! `conformance`, behind the feature of that name, has these guarantees as tests.
//!
//! ```
#![doc = include_str!("../examples/own_store.rs")]
//! ```

mod answer;
mod backend;
#[cfg(all(feature = "memory", feature = "redis"))]
pub(crate) mod gate;
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
#[cfg(feature = "redis")]
pub(crate) mod redis_store;
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
pub use crate::decision::{Change, ClaimRequest, Fence, Settled, Settlement, Step};
pub use crate::outcome::ClaimOutcome;
pub use crate::record::{Record, State, Unreadable, Version};
pub use crate::store_time::StoreTime;
pub use crate::write_result::WriteResult;
use crate::{OwnerId, RecordKey, SavedResponse};

/// One place that keeps records, or several that act as one.
///
/// Every call may be repeated with the same arguments, and arrive late: it carries an owner, and recognises what it has
/// done, or names the writing that it follows.
#[async_trait]
pub trait Store: Send + Sync {
    /// Lets the caller work, or says why not. `Started` is said only after the store that decides has acknowledged a
    /// record that names this owner.
    async fn claim(
        &self,
        key: &RecordKey,
        claim: &ClaimRequest,
        deadline: Deadline,
    ) -> Result<Answer<ClaimOutcome<Grant>>, StoreError>;

    /// What a claim would be told, without claiming.
    async fn look(
        &self,
        key: &RecordKey,
        claim: &ClaimRequest,
        deadline: Deadline,
    ) -> Result<Answer<Option<Blocked>>, StoreError>;

    /// Changes the record of an owner.
    async fn change(
        &self,
        key: &RecordKey,
        fence: &Fence,
        change: &Change,
        deadline: Deadline,
    ) -> Result<Answer<WriteResult<Option<SavedResponse>>>, StoreError>;

    /// What is stored.
    async fn read(&self, key: &RecordKey, deadline: Deadline) -> Result<Found, StoreError>;

    /// Replaces the record that was `seen` by a settlement of it. `owner` is fresh.
    async fn settle(
        &self,
        key: &RecordKey,
        seen: Version,
        owner: OwnerId,
        settlement: &Settlement,
        deadline: Deadline,
    ) -> Result<Settled, StoreError>;

    /// The names of at most `limit` keys, in their order.
    async fn list(&self, limit: u32, deadline: Deadline) -> Result<Vec<RecordKey>, StoreError>;

    /// Unfinished records in the order of their keys: running, abandoned and unknown ones, and what cannot be read. None at all:
    /// there are no more.
    ///
    /// This reads every key that there is; a store that has an index uses it.
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

    /// Sets up what no decision depends on.
    async fn prepare(&self, _: Deadline) -> Result<(), StoreError> {
        Ok(())
    }
}

#[cfg(test)]
mod tests;
