//! What a store does in one atomic step: pure functions of what is stored, the call, and the store's time.
//!
//! Each function is handed what the store has read, and returns what the store has to write and what it answers. Between the
//! reading and the writing nobody else may write the same record. A store does that by a lock, by a transaction, or by a write that
//! names the [`version`](Record::version) which was read: where that does not match any more, it reads and decides anew.
//!
//! `stored` is what [`Record::from_text`] makes of the stored text: `Ok(None)` where there is nothing, an error where it cannot be
//! read. `now` is the time by the store's own clock, in the same step.

use super::answer::{Changed, Claimed, Doubt, Grant, Repeated, Settled, Standing, Stored};
use crate::OwnerId;
use crate::decision::{self, Change, Claim, Decision, Fence, Settlement, Verdict};
use crate::record::{Record, Unreadable, Version};
use crate::store_time::StoreTime;

/// What a store has to write, and what it answers once that is acknowledged.
#[derive(Debug)]
#[must_use = "the record has to be written before the answer is given"]
pub struct Step<T> {
    /// The record that takes the place of the stored one; `None`: nothing is written.
    pub write: Option<Box<Record>>,
    /// What the caller is told.
    pub answer: T,
}

impl<T> Step<T> {
    /// This record is written, and then this is the answer.
    pub fn write(record: Record, answer: T) -> Self {
        Self {
            write: Some(Box::new(record)),
            answer,
        }
    }

    /// Nothing is written, and this is the answer.
    pub fn answer(answer: T) -> Self {
        Self {
            write: None,
            answer,
        }
    }
}

/// A claim: whether the caller may work.
pub fn claim(stored: &Stored, claim: &Claim, now: StoreTime) -> Step<Claimed> {
    let record = match stored {
        Ok(record) => record.as_ref(),
        Err(Unreadable) => return Step::answer(Claimed::Standing(UNREADABLE)),
    };
    match (decision::decide(record, claim, now), record) {
        (Decision::Start(how), _) => {
            let record = decision::start(how, record, claim, now);
            let grant = Grant::of(&record, Repeated::No, now);
            Step::write(record, Claimed::Started(grant))
        }
        (Decision::Repeated, Some(record)) => {
            Step::answer(Claimed::Started(Grant::of(record, Repeated::Yes, now)))
        }
        _ => Step::answer(Claimed::Standing(Standing::of(record, claim, now))),
    }
}

/// What a claim would be told. It never writes.
pub fn look(stored: &Stored, claim: &Claim, now: StoreTime) -> Standing {
    match stored {
        Ok(record) => Standing::of(record.as_ref(), claim, now),
        Err(Unreadable) => UNREADABLE,
    }
}

/// A change by the owner of the record.
pub fn change(stored: &Stored, fence: &Fence, change: &Change, now: StoreTime) -> Step<Changed> {
    let record = match stored {
        Ok(record) => record.as_ref(),
        Err(Unreadable) => return Step::answer(Changed::Superseded(UNREADABLE)),
    };
    match decision::change(record, fence, change, now) {
        Verdict::Write(record) => Step::write(*record, Changed::Done),
        Verdict::Already => {
            let response = record.cloned().and_then(Record::into_response);
            Step::answer(Changed::Already(response))
        }
        Verdict::TooLate => Step::answer(Changed::TooLate),
        Verdict::Moved => Step::answer(Changed::Moved(record.map_or(0, |record| record.rev))),
        Verdict::Superseded => {
            let standing = Standing::of(record, &fence.claim, now);
            Step::answer(Changed::Superseded(standing))
        }
    }
}

/// A settlement of the record that was `seen`. `owner` is fresh for every settlement; the record that names it is the one that an
/// earlier sending of the same settlement has written.
pub fn settle(
    stored: &Stored,
    seen: Version,
    owner: OwnerId,
    settlement: &Settlement,
    now: StoreTime,
) -> Step<Settled> {
    match stored {
        Ok(Some(record)) if record.owner == owner => Step::answer(Settled::Done),
        Ok(Some(record)) => match decision::settle(record, seen, owner, settlement, now) {
            Verdict::Write(record) => Step::write(*record, Settled::Done),
            _ => Step::answer(Settled::Refused),
        },
        Ok(None) | Err(Unreadable) => Step::answer(Settled::Refused),
    }
}

/// How a key stands whose record cannot be read: it may have been a result, so nothing runs.
const UNREADABLE: Standing = Standing::Unknown(Doubt::Unreadable);
