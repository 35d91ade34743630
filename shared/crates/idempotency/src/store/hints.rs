//! Redis as a cache in front of MongoDB: claims, which are hints, and results that MongoDB has acknowledged.
//!
//! A hint saves a round trip to MongoDB: Redis replays a result, or reports a running attempt. If Redis is
//! unavailable, or its data is missing or stale, the caller asks MongoDB. There is no other consequence.

use std::sync::LazyLock;
use std::time::Duration;

use foundation::Deadline;
use redis::Value;
use redis_client::{RedisClient, Repeat, Script};

use super::script_reply::{Reply, UNEXPECTED, unavailable};
use super::{Blocked, StoreError};
use crate::decision::ClaimRequest;
use crate::record::{LEASE_WIDTH, Record, field};
use crate::store_time::{StoreTime, whole_ms};
use crate::{OwnerId, RecordKey, ResponseKeys, decision};

/// Redis as a cache in front of MongoDB.
pub(super) struct Hints {
    client: RedisClient,
    /// How long Redis replays a result: the retention, less the difference that the two servers' clocks may have.
    retention: Duration,
    /// The script; tests replace its clock.
    script: &'static LazyLock<Script>,
    /// The keys that must have signed a result; `None`: any result is accepted.
    response_keys: Option<ResponseKeys>,
}

/// The answer of Redis to a claim.
pub(super) enum Hint {
    /// The claim is blocked.
    Blocked(Blocked),
    /// Redis cannot answer the claim: ask MongoDB.
    Ask,
}

/// The largest difference between the clocks of Redis and MongoDB that is allowed for. So near the end of a result's
/// retention, only MongoDB replays it.
const CLOCK_MARGIN: Duration = Duration::from_secs(60);
/// The share of the remaining time that a hint may take.
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
            script: &HINTS,
            response_keys,
        }
    }

    /// Stores a claim if the key is absent, and returns whether Redis can answer it.
    pub(super) async fn claim(
        &self,
        key: &RecordKey,
        claim: &ClaimRequest,
        deadline: Deadline,
    ) -> Result<Hint, StoreError> {
        let reply = self.ask("claim", key, claim, deadline).await?;
        self.hint(&reply, key, claim, deadline).await
    }

    /// Returns whether Redis can answer a claim, without storing one.
    pub(super) async fn look(
        &self,
        key: &RecordKey,
        claim: &ClaimRequest,
        deadline: Deadline,
    ) -> Result<Hint, StoreError> {
        let reply = self.ask("look", key, claim, deadline).await?;
        self.hint(&reply, key, claim, deadline).await
    }

    /// Stores a result that MongoDB has acknowledged.
    pub(super) async fn store(
        &self,
        key: &RecordKey,
        record: &Record,
        deadline: Deadline,
    ) -> Result<(), StoreError> {
        let finished_at = record.finished_at().map_or(0, StoreTime::as_ms);
        let (finished_at, result) = (finished_at.to_string(), record.to_text());
        let arguments: [(&str, &[u8]); 2] =
            [("finished_at", finished_at.as_bytes()), ("result", &result)];
        self.run("store", key, &arguments, deadline).await.map(drop)
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
        self.run("remove", key, &arguments, deadline)
            .await
            .map(drop)
    }

    async fn ask(
        &self,
        operation: &'static str,
        key: &RecordKey,
        claim: &ClaimRequest,
        deadline: Deadline,
    ) -> Result<Reply, StoreError> {
        let (owner, fingerprint) = (claim.owner.to_string(), claim.fingerprint.to_string());
        let lease = field(whole_ms(claim.lease), LEASE_WIDTH);
        let arguments = [
            ("owner", owner.as_bytes()),
            ("fingerprint", fingerprint.as_bytes()),
            ("lease", lease.as_bytes()),
        ];
        let in_time = match deadline.remaining() {
            Some(left) => deadline.within(left.mul_f64(SHARE_OF_TIME)),
            None => deadline,
        };
        self.run(operation, key, &arguments, in_time).await
    }

    async fn run(
        &self,
        operation: &'static str,
        key: &RecordKey,
        arguments: &[(&str, &[u8])],
        deadline: Deadline,
    ) -> Result<Reply, StoreError> {
        let retention = whole_ms(self.retention).to_string();
        let mut named = vec![
            ("operation", operation.as_bytes()),
            ("retention", retention.as_bytes()),
        ];
        named.extend_from_slice(arguments);
        let client = self.client.within(deadline);
        let reply: Value = client
            .run_script(self.script, &[key.as_str()], &named)
            .await
            .map_err(unavailable)?;
        Reply::parse(reply).ok_or(UNEXPECTED)
    }

    async fn hint(
        &self,
        reply: &Reply,
        key: &RecordKey,
        claim: &ClaimRequest,
        deadline: Deadline,
    ) -> Result<Hint, StoreError> {
        Ok(match reply.verdict.as_str() {
            "mismatch" | "replay" if !self.is_authentic(reply, key, deadline).await => Hint::Ask,
            "mismatch" => Hint::Blocked(Blocked::Mismatch),
            "in_progress" => Hint::Blocked(Blocked::InProgress {
                retry_after: reply.lease_end().ok_or(UNEXPECTED)?.since(reply.now),
            }),
            "replay" => {
                let record = reply.record();
                let blocked =
                    record.and_then(|record| decision::blocked(Some(&record), claim, reply.now));
                blocked.map_or(Hint::Ask, Hint::Blocked)
            }
            "ask" => Hint::Ask,
            _ => return Err(UNEXPECTED),
        })
    }

    /// Whether the result in a reply was signed by this program, if that is required.
    async fn is_authentic(&self, reply: &Reply, key: &RecordKey, deadline: Deadline) -> bool {
        let Some(keys) = &self.response_keys else {
            return true;
        };
        let Some(record) = reply.record() else {
            return false;
        };
        let fingerprint = record.fingerprint;
        match record.into_response() {
            Some(response) => keys.verify(key, &fingerprint, &response, deadline).await,
            None => false,
        }
    }
}

#[cfg(test)]
pub(crate) mod rules;
#[cfg(test)]
mod tests;
