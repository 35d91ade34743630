//! The records that plain commands write, and the claims that they answer, without a script.
//!
//! A claim of an absent key is a `SET` with `NX`, which writes only if the key is absent. A result, a checkpoint or a mark
//! as unknown is a `SET` with `IFEQ`, which writes only if the stored record is the expected one. So each is one atomic
//! step. The rules in `decision` make all these records.
//!
//! If the key has a record, the text and the time to live of the record answer most claims. Any other claim goes to the
//! script, which decides again.

use bytes::Bytes;
use redis_client::{Expiry, Ttl};

use crate::Policy;
use crate::blocked::Blocked;
use crate::decision::{self, Change, ClaimRequest, Fence, Start};
use crate::record::{Record, State};
use crate::store::{Grant, redis_text};
use crate::store_time::StoreTime;

/// The value of every time in a record that a plain command writes. The real times follow from the key's expiry.
const UNKNOWN_TIME: StoreTime = StoreTime::from_ms(0);

/// A record that replaces another one.
pub(super) struct Replacement {
    pub(super) expected: Vec<u8>,
    pub(super) text: Vec<u8>,
    pub(super) expiry: Expiry,
}

/// The longest stored checkpoint that a plain command sends for the comparison. The script does not need the stored
/// checkpoint.
const LONGEST_COMPARED: usize = 4_096;

/// The record that a claim writes if the key is absent; `None`: only the script can write it.
pub(super) fn claim_text(claim: &ClaimRequest) -> Option<Vec<u8>> {
    is_claimed_plainly(claim.policy).then(|| redis_text::write(&new_record(claim), claim.retention))
}

/// Whether a plain command may write a claim under this policy.
///
/// If the policy limits the time of another attempt, the record needs the time of the first claim. A command such as
/// `EXPIRE` or `MIGRATE` can change the expiry, and with it a time that is not in the record.
fn is_claimed_plainly(policy: Policy) -> bool {
    match policy {
        Policy::Rerun { .. } => false,
        Policy::AtMostOnce | Policy::RerunAlways => true,
    }
}

/// The grant of a claim whose record was written by a plain command.
pub(super) fn grant(claim: &ClaimRequest) -> Grant {
    Grant {
        attempt: 1,
        rev: 1,
        is_first: true,
        repeated: false,
        took_over: false,
        checkpoint: Bytes::new(),
        first_at: None,
        lease_left: claim.lease,
        recognised_for: None,
    }
}

/// The record of a change, and the record that it replaces; `None`: only the script can write the change.
pub(super) fn replacement(fence: &Fence, change: &Change) -> Option<Replacement> {
    let expiry = match change {
        Change::Complete(_) => Expiry::After(fence.claim.retention),
        // Neither moves the end of the lease, and the expiry shows this end.
        Change::Checkpoint(_) | Change::MarkUnknown => Expiry::Kept,
        Change::Release | Change::Renew(_) => return None,
    };
    let stored = known_record(fence)?;
    let next = decision::change(Some(&stored), fence, change, UNKNOWN_TIME).write?;
    let retention = fence.claim.retention;
    Some(Replacement {
        expected: redis_text::write(&stored, retention),
        text: redis_text::write(&next, retention),
        expiry,
    })
}

/// The record of the attempt, if only plain commands have written it. If the guess is wrong, the stored record differs from
/// it, and the script writes the change.
fn known_record(fence: &Fence) -> Option<Record> {
    let checkpoint = fence.checkpoint.as_ref()?;
    let is_plain = fence.attempt == 1
        && is_claimed_plainly(fence.claim.policy)
        && checkpoint.len() <= LONGEST_COMPARED;
    is_plain.then(|| Record {
        rev: fence.rev,
        checkpoint: checkpoint.clone(),
        ..new_record(&fence.claim)
    })
}

/// Returns what blocks a claim. `None`: only the script can decide the claim.
///
/// The time to live was read after the text. If another client replaced the record in between, the time to live belongs
/// to the new record. So the time to live is used only if it is possible for `stored`.
pub(super) fn blocked(stored: &Bytes, ttl: Ttl, claim: &ClaimRequest) -> Option<Blocked> {
    let (Ttl::Left(left), Some(stored)) = (ttl, redis_text::read(stored)) else {
        return None;
    };
    if left.is_zero() {
        return None;
    }
    let record = stored.record;
    let is_same_request = record.fingerprint == claim.fingerprint;
    match record.state {
        State::InProgress | State::Unknown if record.owner == claim.owner => None,
        State::InProgress | State::Unknown if !is_same_request => Some(Blocked::Mismatch),
        State::InProgress => {
            let lease_left = left.checked_sub(stored.retention)?;
            let is_possible = !lease_left.is_zero() && lease_left <= record.lease;
            is_possible.then_some(Blocked::InProgress {
                retry_after: lease_left,
            })
        }
        // Redis still had the record, so the retention in the record is not over. But another deployment with a longer
        // retention may have written the record.
        State::Completed { response, .. }
            if left <= stored.retention && stored.retention <= claim.retention =>
        {
            Some(if is_same_request {
                Blocked::Replay(response)
            } else {
                Blocked::Mismatch
            })
        }
        State::Completed { .. } | State::Released { .. } | State::Unknown => None,
    }
}

fn new_record(claim: &ClaimRequest) -> Record {
    decision::start(Start::New, None, claim, UNKNOWN_TIME)
}
