//! Redis as a cache in front of MongoDB. It holds claims as hints, and results that MongoDB has acknowledged.
//!
//! The cache saves round trips to MongoDB: Redis replays a result, or reports a running attempt. If Redis is
//! unavailable, empty or stale, MongoDB decides the claim.
//!
//! A claim is a plain `SET` with `NX`. The result of a claim is a `SET` with `IFEQ`, which replaces the claim. If the
//! key has another value, a script stores the result. A script also removes claims.

mod rules;

use std::sync::LazyLock;
use std::time::Duration;

use foundation::Deadline;
use redis::Value;
use redis_client::{Error, Expiry, Reason, RedisClient, Repeat, Script, SetIfAbsent, Stored};

use self::rules::Answer;
use super::script_reply::unavailable;
use super::{Blocked, StoreError, redis_text};
use crate::decision::ClaimRequest;
use crate::record::Record;
use crate::store_time::{StoreTime, whole_ms};
use crate::{OwnerId, RecordKey, ResponseKeys};

/// Redis as a cache in front of MongoDB.
pub(super) struct Hints {
    client: RedisClient,
    /// How long Redis replays a result. It is less than the configured retention, because the clocks of both servers
    /// may differ.
    retention: Duration,
    /// The keys that verify the MAC of a result. `None`: results are accepted without a MAC.
    response_keys: Option<ResponseKeys>,
}

/// The answer of Redis to a claim.
#[derive(Debug)]
pub(super) enum Hint {
    /// The claim is blocked.
    Blocked(Blocked),
    /// Redis cannot answer the claim: ask MongoDB.
    Ask,
    /// Redis has stored the hint of this claim: ask MongoDB.
    Stored,
}

/// The largest expected difference between the clocks of Redis and MongoDB. Near the end of a result's retention, only
/// MongoDB replays that result.
pub(super) const CLOCK_MARGIN: Duration = Duration::from_secs(60);
/// The share of the remaining time that a call to Redis may take.
const SHARE_OF_TIME: f64 = 0.25;

static HINTS: LazyLock<Script> =
    LazyLock::new(|| Script::new(include_str!("hints.lua"), Repeat::Safe));

impl Hints {
    pub(super) fn new(
        client: RedisClient,
        retention: Duration,
        response_keys: Option<ResponseKeys>,
    ) -> Self {
        Self {
            client,
            // A short retention is reduced by half at most: otherwise Redis would never replay a result.
            retention: retention.saturating_sub(CLOCK_MARGIN.min(retention / 2)),
            response_keys,
        }
    }

    /// Stores a claim if the key is absent. Returns the answer of Redis to the claim.
    pub(super) async fn claim(
        &self,
        key: &RecordKey,
        claim: &ClaimRequest,
        deadline: Deadline,
    ) -> Result<Hint, StoreError> {
        let client = self.client.within(share_of(deadline));
        let hint = rules::hint_text(claim);
        match client.set_if_absent(key.as_str(), &hint, claim.lease).await {
            Ok(SetIfAbsent::Set) => Ok(Hint::Stored),
            // The reply to an earlier copy of this claim was lost.
            Ok(SetIfAbsent::Present(stored)) if stored.value == hint => Ok(Hint::Stored),
            Ok(SetIfAbsent::Present(stored)) => Ok(self.hint(stored, key, claim, deadline).await),
            // A value of another type is no hint and no result.
            Err(Error::Refused(Reason::Rejected)) => Ok(Hint::Ask),
            // A server that has run out of memory still answers reads.
            Err(error @ Error::Refused(_)) => match self.look(key, claim, deadline).await {
                Ok(Hint::Blocked(blocked)) => Ok(Hint::Blocked(blocked)),
                Ok(Hint::Ask | Hint::Stored) | Err(_) => Err(unavailable(error)),
            },
            Err(error) => Err(unavailable(error)),
        }
    }

    /// Returns the answer of Redis to a claim, and stores nothing.
    pub(super) async fn look(
        &self,
        key: &RecordKey,
        claim: &ClaimRequest,
        deadline: Deadline,
    ) -> Result<Hint, StoreError> {
        let client = self.client.within(share_of(deadline));
        match client.get_with_ttl(key.as_str()).await {
            Ok(Some(stored)) => Ok(self.hint(stored, key, claim, deadline).await),
            // A value of another type is no hint and no result.
            Ok(None) | Err(Error::Refused(Reason::Rejected)) => Ok(Hint::Ask),
            Err(error) => Err(unavailable(error)),
        }
    }

    /// Stores a result that MongoDB has acknowledged. `replaces` is the claim whose hint is most likely the stored
    /// value.
    pub(super) async fn store(
        &self,
        key: &RecordKey,
        record: &Record,
        replaces: Option<&ClaimRequest>,
        deadline: Deadline,
    ) -> Result<(), StoreError> {
        let client = self.client.within(deadline);
        let finished_at = record.finished_at().map_or(0, StoreTime::as_ms);
        let end = finished_at.saturating_add(whole_ms(self.retention));
        let result = redis_text::write(record, self.retention);
        if let Some(claim) = replaces {
            let hint = rules::hint_text(claim);
            let expiry = Expiry::AtMs(end);
            match client
                .set_if_equal(key.as_str(), &hint, &result, expiry)
                .await
            {
                Ok(true) => return Ok(()),
                Ok(false) | Err(Error::Refused(_)) => {}
                Err(error) => return Err(unavailable(error)),
            }
        }
        let (finished_at, end) = (finished_at.to_string(), end.to_string());
        let arguments = [
            ("finished_at", finished_at.as_bytes()),
            ("end", end.as_bytes()),
            ("result", &result),
        ];
        self.run("store", key, &arguments, deadline).await
    }

    /// Removes the claim of `owner`, if it is stored.
    pub(super) async fn remove(
        &self,
        key: &RecordKey,
        owner: OwnerId,
        deadline: Deadline,
    ) -> Result<(), StoreError> {
        let owner = owner.to_string();
        let arguments = [("owner", owner.as_bytes())];
        self.run("remove", key, &arguments, deadline).await
    }

    async fn run(
        &self,
        operation: &'static str,
        key: &RecordKey,
        arguments: &[(&str, &[u8])],
        deadline: Deadline,
    ) -> Result<(), StoreError> {
        let mut named = vec![("operation", operation.as_bytes())];
        named.extend_from_slice(arguments);
        let client = self.client.within(deadline);
        let ran: Result<Value, _> = client.run_script(&HINTS, &[key.as_str()], &named).await;
        ran.map(drop).map_err(unavailable)
    }

    async fn hint(
        &self,
        stored: Stored,
        key: &RecordKey,
        claim: &ClaimRequest,
        deadline: Deadline,
    ) -> Hint {
        match rules::answer(&stored.value.into(), stored.ttl, claim, self.retention) {
            Some(Answer::InProgress { retry_after }) => {
                Hint::Blocked(Blocked::InProgress { retry_after })
            }
            Some(Answer::Result(record)) if self.is_authentic(&record, key, deadline).await => {
                Hint::Blocked(
                    match (
                        record.fingerprint == claim.fingerprint,
                        record.into_response(),
                    ) {
                        (true, Some(response)) => Blocked::Replay(response),
                        _ => Blocked::Mismatch,
                    },
                )
            }
            Some(Answer::Result(_)) | None => Hint::Ask,
        }
    }

    /// Whether a result has a valid MAC. If no MAC is required, every result counts as valid.
    async fn is_authentic(&self, record: &Record, key: &RecordKey, deadline: Deadline) -> bool {
        let Some(keys) = &self.response_keys else {
            return true;
        };
        match record.response() {
            Some(response) => {
                keys.verify(key, &record.fingerprint, response, deadline)
                    .await
            }
            None => false,
        }
    }
}

/// Returns a deadline that leaves most of the remaining time to MongoDB.
fn share_of(deadline: Deadline) -> Deadline {
    match deadline.remaining() {
        Some(left) => deadline.within(left.mul_f64(SHARE_OF_TIME)),
        None => deadline,
    }
}

#[cfg(test)]
pub(crate) mod simulated;
#[cfg(test)]
mod tests;
