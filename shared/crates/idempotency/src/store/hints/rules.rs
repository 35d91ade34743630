//! The text of a hint, and the claims that a stored value answers.
//!
//! A hint never permits an attempt. It expires at the end of its lease, so its time to live is the time until the lease
//! ends.

use std::time::Duration;

use bytes::Bytes;
use redis_client::Ttl;

use super::CLOCK_MARGIN;
use crate::Policy;
use crate::config::LONGEST_LEASE;
use crate::decision::ClaimRequest;
use crate::record::{Record, State};
use crate::store::redis_text;
use crate::store_time::StoreTime;

/// The answer of a stored value to a claim.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// An attempt of the same request is running.
    InProgress {
        /// The time until its lease ends.
        retry_after: Duration,
    },
    /// The key has this result. If the result belongs to another request, the claim is a mismatch.
    Result(Box<Record>),
}

/// Returns the value that a claim stores in Redis. Its attempt and revision are zero, because a hint permits no
/// attempt. Its times are zero, because they follow from its expiry.
pub(super) fn hint_text(claim: &ClaimRequest) -> Vec<u8> {
    let hint = Record {
        state: State::InProgress,
        owner: claim.owner,
        attempt: 0,
        rev: 0,
        leased_at: StoreTime::from_ms(0),
        lease: claim.lease,
        fingerprint: claim.fingerprint,
        policy: Policy::AtMostOnce,
        first_at: StoreTime::from_ms(0),
        took_over: false,
        checkpoint: Bytes::new(),
    };
    redis_text::write(&hint, Duration::ZERO)
}

/// Returns the answer to a claim. `None`: ask MongoDB. `retention` is how long Redis keeps a result in this deployment.
///
/// The time to live was read after the text. If another client replaced the value in between, the time to live belongs
/// to the new value. So the time to live is used only if it is possible for `stored`.
pub(super) fn answer(
    stored: &Bytes,
    ttl: Ttl,
    claim: &ClaimRequest,
    retention: Duration,
) -> Option<Answer> {
    let (Ttl::Left(left), Some(stored)) = (ttl, redis_text::read(stored)) else {
        return None;
    };
    if left.is_zero() {
        return None;
    }
    let record = stored.record;
    match record.state {
        // Redis still had the result, so the result's retention is not over. The expiry comes from MongoDB's clock,
        // which may be ahead by the margin. This program never writes a longer time to live.
        State::Completed { .. }
            if stored.retention <= retention && left <= stored.retention + CLOCK_MARGIN =>
        {
            Some(Answer::Result(Box::new(record)))
        }
        State::InProgress
            if record.fingerprint == claim.fingerprint
                && record.owner != claim.owner
                && record.lease <= LONGEST_LEASE
                && left <= record.lease =>
        {
            Some(Answer::InProgress { retry_after: left })
        }
        _ => None,
    }
}
