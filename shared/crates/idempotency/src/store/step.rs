//! What a store does in one atomic step: pure functions of what is stored, the call, and the store's time.
//!
//! Each function is handed what the store has read, and returns what the store has to write and what it answers. Between the
//! reading and the writing nobody else may write the same record. A store does that by a lock, by a transaction, or by a write that
//! names the [`version`](Record::version) which was read: where that does not match any more, it reads and decides anew.
//!
//! `stored` is what [`Record::from_text`] makes of the stored text: `Ok(None)` where there is nothing, an error where it cannot be
//! read. `now` is the time by the store's own clock, in the same step.

use super::answer::{Grant, Repeated, Stored};
use crate::blocked::{Blocked, UnknownCause};
use crate::decision::{self, Change, ClaimRequest, Decision, Fence, Settled, Settlement, Step};
use crate::outcome::ClaimOutcome;
use crate::record::{Unreadable, Version};
use crate::store_time::StoreTime;
use crate::write_result::WriteResult;
use crate::{OwnerId, SavedResponse};

/// A claim: whether the caller may work.
pub fn claim(stored: &Stored, claim: &ClaimRequest, now: StoreTime) -> Step<ClaimOutcome<Grant>> {
    let record = match stored {
        Ok(record) => record.as_ref(),
        Err(Unreadable) => return Step::answer(ClaimOutcome::Blocked(UNREADABLE)),
    };
    match (decision::decide(record, claim, now), record) {
        (Decision::Start(how), _) => {
            let record = decision::start(how, record, claim, now);
            let grant = Grant::of(&record, Repeated::No, now);
            Step::write(record, ClaimOutcome::Claimed(grant))
        }
        (Decision::Repeated, Some(record)) => {
            Step::answer(ClaimOutcome::Claimed(Grant::of(record, Repeated::Yes, now)))
        }
        (Decision::Repeated, None) => Step::answer(ClaimOutcome::Blocked(UNREADABLE)),
        (Decision::Blocked(blocked), _) => Step::answer(ClaimOutcome::Blocked(blocked)),
    }
}

/// What blocks a claim; `None`: the key is free. It never writes.
pub fn look(stored: &Stored, claim: &ClaimRequest, now: StoreTime) -> Option<Blocked> {
    match stored {
        Ok(record) => decision::blocked(record.as_ref(), claim, now),
        Err(Unreadable) => Some(UNREADABLE),
    }
}

/// A change by the owner of the record.
pub fn change(
    stored: &Stored,
    fence: &Fence,
    change: &Change,
    now: StoreTime,
) -> Step<WriteResult<Option<SavedResponse>>> {
    match stored {
        Ok(record) => decision::change(record.as_ref(), fence, change, now),
        Err(Unreadable) => Step::answer(WriteResult::Superseded(Some(UNREADABLE))),
    }
}

/// A resolution of the record that was `seen`. `owner` is fresh for every resolution; the record that names it is the one that an earlier
/// sending of the same resolution has written.
pub fn settle(
    stored: &Stored,
    seen: Version,
    owner: OwnerId,
    settlement: &Settlement,
    now: StoreTime,
) -> Step<Settled> {
    match stored {
        Ok(Some(record)) if record.owner == owner => Step::answer(Settled::Done),
        Ok(Some(record)) => decision::settle(record, seen, owner, settlement, now),
        Ok(None) | Err(Unreadable) => Step::answer(Settled::Refused),
    }
}

/// The value under the key cannot be read. It may have been a result, so nothing runs.
const UNREADABLE: Blocked = Blocked::Unknown(UnknownCause::Unreadable);
