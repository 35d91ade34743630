//! Where records are kept, and which store decides.
//!
//! | configured | decides | in front of it |
//! |---|---|---|
//! | MongoDB and Redis | MongoDB | Redis, with hints and results |
//! | MongoDB | MongoDB | |
//! | Redis | Redis | in development this process's memory |
//! | neither, in development | this process's memory | |
//! | neither, elsewhere | none: everything is refused | |
//!
//! # A store of one's own
//!
//! Implement [`Store`], and hand it over as [`Setup::own_store`](crate::Setup::own_store). What may run is decided by pure functions of
//! the record, the request and the store's time: [`decide`] and [`start`] for a claim, [`change`] for an owner's writes, [`settle`] for
//! an operator's. A store reads the record, calls them, and writes what they return:
//!
//! - **in one atomic step**: a compare-and-set on [`Record::version`], or a lock that the store itself holds;
//! - **by its own clock**: the time of a process that asks is never used, since the clocks of two processes differ;
//! - **durably** before it answers: an answer is a promise that a restart of the store does not take back;
//! - **recognising what it has done**: any call may come twice, and late. A claim whose owner the record already names is that claim
//!   ([`Decision::Repeated`]).
//!
//! [`Record::to_text`] and [`Record::from_text`] are a form in which a record can be kept.

#[cfg(all(feature = "memory", feature = "redis"))]
pub(super) mod gate;
#[cfg(feature = "memory")]
pub(super) mod memory;
#[cfg(feature = "mongodb")]
pub(super) mod mongo_store;
#[cfg(feature = "redis")]
pub(super) mod redis_store;
#[cfg(all(feature = "mongodb", feature = "redis"))]
pub(super) mod tiered;

#[cfg(all(feature = "mongodb", feature = "redis"))]
pub(super) mod hints;
#[cfg(test)]
mod history;
#[cfg(feature = "mongodb")]
mod mongo_document;
#[cfg(feature = "mongodb")]
mod mongo_index;
#[cfg(feature = "redis")]
mod script_reply;

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use foundation::Deadline;
use serde::Serialize;

pub use super::decision::{
    Change, Claim, Decision, Fence, Settlement, Start, Verdict, change, decide, settle, start,
};
pub use super::record::{Record, State, Unreadable, Version};
pub use super::store_time::StoreTime;
use super::{OwnerId, RecordKey, SavedResponse};

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
        claim: &Claim,
        deadline: Deadline,
    ) -> Result<Answer<Claimed>, Undecided>;

    /// What a claim would be told, without claiming.
    async fn look(
        &self,
        key: &RecordKey,
        claim: &Claim,
        deadline: Deadline,
    ) -> Result<Answer<Standing>, Undecided>;

    /// Changes the record of an owner.
    async fn change(
        &self,
        key: &RecordKey,
        fence: &Fence,
        change: &Change,
        deadline: Deadline,
    ) -> Result<Answer<Changed>, Undecided>;

    /// What is stored.
    async fn read(&self, key: &RecordKey, deadline: Deadline) -> Result<Found, Undecided>;

    /// Replaces the record that was `seen` by a settlement of it. `owner` is fresh.
    async fn settle(
        &self,
        key: &RecordKey,
        seen: Version,
        owner: OwnerId,
        settlement: &Settlement,
        deadline: Deadline,
    ) -> Result<Settled, Undecided>;

    /// The names of at most `limit` keys, in their order.
    async fn list(&self, limit: u32, deadline: Deadline) -> Result<Vec<RecordKey>, Undecided>;

    /// Unfinished records in the order of their keys: running, abandoned and unknown ones, and what cannot be read. None at all:
    /// there are no more.
    ///
    /// This reads every key that there is; a store that has an index uses it.
    async fn unfinished(
        &self,
        page: Page<'_>,
        deadline: Deadline,
    ) -> Result<Vec<(RecordKey, Found)>, Undecided> {
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
    async fn prepare(&self, _: Deadline) -> Result<(), Undecided> {
        Ok(())
    }
}

/// Which unfinished records are asked for.
#[derive(Clone, Copy, Debug)]
pub struct Page<'a> {
    /// What their keys begin with.
    pub prefix: &'a str,
    /// The last key of the page before.
    pub after: Option<&'a RecordKey>,
    /// At most so many.
    pub limit: u32,
}

impl Page<'_> {
    fn takes(&self, key: &RecordKey) -> bool {
        key.as_str().starts_with(self.prefix)
            && self.after.is_none_or(|after| key.as_str() > after.as_str())
    }
}

/// A kind of store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Backend {
    /// Redis or Valkey.
    Redis,
    /// MongoDB.
    MongoDb,
    /// The memory of this process.
    Memory,
}

impl Backend {
    /// The word for it in answers, logs and metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Redis => "redis",
            Self::MongoDb => "mongodb",
            Self::Memory => "memory",
        }
    }
}

/// What a store says, and whether all of it took part.
#[derive(Debug)]
pub struct Answer<T> {
    /// What it says.
    pub value: T,
    /// Who answered alone, where the configured stores could not all take part.
    pub stand_in: Option<Backend>,
}

/// What is stored under a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// Nothing is stored.
    Nothing,
    /// A record, and what time it is there.
    Record(Box<Record>, StoreTime),
    /// Something that is no record this version can read.
    Unreadable,
}

impl Found {
    fn is_unfinished(&self) -> bool {
        match self {
            Self::Nothing => false,
            Self::Record(record, _) => record.finished_at().is_none(),
            Self::Unreadable => true,
        }
    }
}

/// What becomes of a claim.
#[derive(Debug)]
pub enum Claimed {
    /// The caller may work.
    Started(Grant),
    /// It may not, and this is how the key stands.
    Standing(Standing),
}

/// The permission to work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// Which attempt of the key this is, from 1.
    pub attempt: u64,
    /// Which writing of the record it is.
    pub rev: u64,
    /// Whether the store knows of no earlier attempt.
    pub is_first: bool,
    /// Whether this very claim was there already.
    pub repeated: bool,
    /// Whether an earlier attempt ended without a word.
    pub took_over: bool,
    /// The note of the attempt before; empty where there is none.
    pub checkpoint: Bytes,
    /// When the key was first seen, which tells its record from one that is made once it is forgotten.
    pub first_at: StoreTime,
    /// For how long the lease lasts yet: of a claim that is there already, less than it asks for.
    pub lease_left: Duration,
    /// For how long from now a provider still recognises the derived key; `None`: it matters only to who took over.
    pub recognised_for: Option<Duration>,
}

/// How a key stands, to somebody who does not hold it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// There is a result: the answer to every repetition.
    Replay(SavedResponse),
    /// The key stands for another request.
    Mismatch,
    /// Somebody is at work.
    InProgress {
        /// When it makes sense to ask again: when their lease is over, at the latest.
        retry_after: Duration,
    },
    /// It is not known whether the work took effect, and it will not be done again by itself.
    Unknown(Doubt),
    /// Nobody holds it: a claim would start.
    Free,
}

/// Why it is not known whether the work took effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doubt {
    /// The attempt ended without a word, or said that it does not know.
    NoWord,
    /// What is stored under the key is damaged, not a record, or a result with no valid MAC where results are signed. It may have
    /// been a result, so nothing runs.
    Unreadable,
}

/// What becomes of a change.
#[derive(Debug)]
pub enum Changed {
    /// The record is as the change makes it.
    Done,
    /// As `Done`, by an earlier call whose reply was lost; this is the result that is stored, if it was one.
    Already(Option<SavedResponse>),
    /// The provider may have forgotten the derived key by the end of the renewed lease.
    TooLate,
    /// The record is the caller's, in this writing: it may say so again of that one.
    Moved(u64),
    /// The record is not the caller's any more, and this is how the key stands.
    Superseded(Standing),
}

/// What becomes of a settlement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settled {
    /// It is written: this is the answer from now on.
    Done,
    /// The record has changed since it was read, is settled already, or its owner still holds the lease.
    Refused,
}

/// Why no store could decide. Nothing runs, and asking again is safe.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Undecided {
    /// The store that decides has not acknowledged, for the reason with this code.
    #[error("have the {} store decide: {code}", store.name())]
    Unavailable {
        /// The store.
        store: Backend,
        /// The stable word for the reason.
        code: &'static str,
    },
    /// The memory that stands in is full, and nothing in it has expired.
    #[error("keep the claim: the memory store is full")]
    Full,
    /// No store is configured that may decide here.
    #[error("decide: no store is configured")]
    NoStore,
    /// Too little time is left to do the work and to store its result.
    #[error("begin: too little time is left")]
    TooLate,
}

impl<T> Answer<T> {
    /// The answer of all the stores that are configured.
    pub fn of_all(value: T) -> Self {
        Self {
            value,
            stand_in: None,
        }
    }

    /// The answer of one of them.
    pub fn of_stand_in(value: T, backend: Backend) -> Self {
        Self {
            value,
            stand_in: Some(backend),
        }
    }
}

impl Changed {
    /// What a verdict comes to that writes nothing. Of one that writes it is `Done`, once the store has written it.
    pub fn of(verdict: &Verdict, record: Option<&Record>, claim: &Claim, now: StoreTime) -> Self {
        match verdict {
            Verdict::Write(_) => Self::Done,
            Verdict::Already => Self::Already(record.cloned().and_then(Record::into_response)),
            Verdict::TooLate => Self::TooLate,
            Verdict::Moved => Self::Moved(record.map_or(0, |record| record.rev)),
            Verdict::Superseded => Self::Superseded(Standing::of(record, claim, now)),
        }
    }
}

impl Standing {
    /// How a record that can be read stands to the sender of `claim`.
    pub fn of(record: Option<&Record>, claim: &Claim, now: StoreTime) -> Self {
        match (decide(record, claim, now), record) {
            (Decision::Replay, Some(record)) => match &record.state {
                State::Completed { response, .. } => Self::Replay(response.clone()),
                _ => Self::Unknown(Doubt::Unreadable),
            },
            (Decision::Mismatch, _) => Self::Mismatch,
            (Decision::InProgress { retry_after }, _) => Self::InProgress { retry_after },
            (Decision::Unknown, _) => Self::Unknown(Doubt::NoWord),
            (Decision::Repeated | Decision::Start(_) | Decision::Replay, _) => Self::Free,
        }
    }
}

impl Grant {
    /// The permission that a record gives to its owner.
    pub fn of(record: &Record, repeated: Repeated, now: StoreTime) -> Self {
        let recognised_for = match record.policy {
            super::Policy::Rerun { within } if record.took_over => {
                Some(record.first_at.after(within).since(now))
            }
            _ => None,
        };
        Self {
            attempt: record.attempt,
            rev: record.rev,
            // After a restart attempts count on. A reclaim in the millisecond of the first claim looks like the first one.
            is_first: record.attempt == 1
                || record.leased_at == record.first_at
                || repeated == Repeated::Yes,
            repeated: repeated == Repeated::Yes,
            took_over: record.took_over,
            checkpoint: record.checkpoint.clone(),
            first_at: record.first_at,
            lease_left: record.lease_end().since(now),
            recognised_for,
        }
    }
}

/// Whether a claim found itself already there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repeated {
    /// It did.
    Yes,
    /// It did not.
    No,
}

/// The store where none may decide.
pub(super) struct Reject;

#[async_trait]
impl Store for Reject {
    async fn claim(
        &self,
        _: &RecordKey,
        _: &Claim,
        _: Deadline,
    ) -> Result<Answer<Claimed>, Undecided> {
        Err(Undecided::NoStore)
    }

    async fn look(
        &self,
        _: &RecordKey,
        _: &Claim,
        _: Deadline,
    ) -> Result<Answer<Standing>, Undecided> {
        Err(Undecided::NoStore)
    }

    async fn change(
        &self,
        _: &RecordKey,
        _: &Fence,
        _: &Change,
        _: Deadline,
    ) -> Result<Answer<Changed>, Undecided> {
        Err(Undecided::NoStore)
    }

    async fn read(&self, _: &RecordKey, _: Deadline) -> Result<Found, Undecided> {
        Err(Undecided::NoStore)
    }

    async fn list(&self, _: u32, _: Deadline) -> Result<Vec<RecordKey>, Undecided> {
        Err(Undecided::NoStore)
    }

    async fn settle(
        &self,
        _: &RecordKey,
        _: Version,
        _: OwnerId,
        _: &Settlement,
        _: Deadline,
    ) -> Result<Settled, Undecided> {
        Err(Undecided::NoStore)
    }
}

#[cfg(test)]
mod tests;
