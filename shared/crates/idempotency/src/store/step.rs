//! One atomic step of a store, as pure functions of the stored value, the call and the store's time.
//!
//! A store reads the value and calls one of these functions. It writes the record of the returned `Step`, if there is
//! one. Then it sends the answer of the `Step`. No other write of that record may come between the reading and the
//! writing. A store ensures this by a lock, a transaction, or a compare-and-set on the
//! [`version`](crate::record::Record::version) that was read. If that version no longer matches, the store reads the
//! value and calls the function again.
//!
//! `stored` is the result of [`Record::from_text`](crate::record::Record::from_text): `Ok(None)` if the key is absent,
//! an error if the value is unreadable. `now` is the time of the store's own clock, read in the same step.

use super::answer::{Grant, Repeated, Stored};
use crate::blocked::{Blocked, UnknownCause};
use crate::decision::{
    self, Change, ClaimRequest, Decision, Fence, Resolution, ResolveResult, Step,
};
use crate::outcome::ClaimOutcome;
use crate::record::{Unreadable, Version};
use crate::store_time::StoreTime;
use crate::write_result::WriteResult;
use crate::{OwnerId, SavedResponse};

/// Decides a claim.
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

/// Returns what blocks a claim. `None`: the key is free.
pub fn look(stored: &Stored, claim: &ClaimRequest, now: StoreTime) -> Option<Blocked> {
    match stored {
        Ok(record) => decision::blocked(record.as_ref(), claim, now),
        Err(Unreadable) => Some(UNREADABLE),
    }
}

/// Decides a change by the owner of the record.
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

/// Decides the resolution of the record with the version `seen`. `owner` is fresh for every resolution. So if the
/// stored record has this owner, an earlier copy of this resolution wrote it.
pub fn resolve(
    stored: &Stored,
    seen: Version,
    owner: OwnerId,
    resolution: &Resolution,
    now: StoreTime,
) -> Step<ResolveResult> {
    match stored {
        Ok(Some(record)) if record.owner == owner => Step::answer(ResolveResult::Stored),
        Ok(Some(record)) => decision::resolve(record, seen, owner, resolution, now),
        Ok(None) | Err(Unreadable) => Step::answer(ResolveResult::Refused),
    }
}

/// The value under the key is unreadable. It may have been a result, so nothing runs.
const UNREADABLE: Blocked = Blocked::Unknown(UnknownCause::Unreadable);
