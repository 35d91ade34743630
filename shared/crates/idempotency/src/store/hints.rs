//! What Redis knows of a key when MongoDB decides: claims, which are hints, and results that MongoDB has acknowledged.
//!
//! A hint only shortens the way: it lets Redis answer a repetition or turn away a second caller. Redis away, or empty, or
//! behind, costs a way to MongoDB and nothing else.

use crate::decision;
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
use crate::{OwnerId, RecordKey, ResponseKeys};

/// Redis in front of MongoDB.
pub(super) struct Hints {
    client: RedisClient,
    /// For how long a result is answered from here: the retention, less what the two servers' clocks may differ by.
    retention: Duration,
    /// The script; a test replaces its clock.
    script: &'static LazyLock<Script>,
    /// With which a result has to be signed; `None`: any result is believed.
    response_keys: Option<ResponseKeys>,
}

/// The answer of Redis to a claim.
pub(super) enum Hint {
    /// This blocks the claim.
    Blocked(Blocked),
    /// MongoDB has to decide.
    Ask,
}

/// By how much the clocks of Redis and MongoDB may differ. Near the end of its retention a result is MongoDB's to answer.
const CLOCK_MARGIN: Duration = Duration::from_secs(60);
/// The part of the time left that a hint may take.
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
            // Of a short retention half: a result that Redis never answers is of no use there.
            retention: retention.saturating_sub(CLOCK_MARGIN.min(retention / 2)),
            script: &HINTS,
            response_keys,
        }
    }

    /// Leaves a claim, where there is nothing, and says whether Redis can answer it.
    pub(super) async fn claim(
        &self,
        key: &RecordKey,
        claim: &ClaimRequest,
        deadline: Deadline,
    ) -> Result<Hint, StoreError> {
        let reply = self.ask("claim", key, claim, deadline).await?;
        self.hint(&reply, key, claim, deadline).await
    }

    /// Says whether Redis can answer a claim, without leaving one.
    pub(super) async fn look(
        &self,
        key: &RecordKey,
        claim: &ClaimRequest,
        deadline: Deadline,
    ) -> Result<Hint, StoreError> {
        let reply = self.ask("look", key, claim, deadline).await?;
        self.hint(&reply, key, claim, deadline).await
    }

    /// Keeps a result that MongoDB has acknowledged.
    pub(super) async fn keep(
        &self,
        key: &RecordKey,
        record: &Record,
        deadline: Deadline,
    ) -> Result<(), StoreError> {
        let finished_at = record.finished_at().map_or(0, StoreTime::as_ms);
        let arguments = Arguments {
            number: finished_at.to_string(),
            record: Some(record.to_text()),
            ..Arguments::of("result", "")
        };
        self.run(key, &arguments, deadline).await.map(drop)
    }

    /// Takes back the claim of `owner`, if it is there.
    pub(super) async fn remove(
        &self,
        key: &RecordKey,
        owner: OwnerId,
        deadline: Deadline,
    ) -> Result<(), StoreError> {
        let arguments = Arguments::of("remove", &owner.to_string());
        self.run(key, &arguments, deadline).await.map(drop)
    }

    async fn ask(
        &self,
        operation: &'static str,
        key: &RecordKey,
        claim: &ClaimRequest,
        deadline: Deadline,
    ) -> Result<Reply, StoreError> {
        let arguments = Arguments {
            fingerprint: claim.fingerprint.to_string(),
            number: field(whole_ms(claim.lease), LEASE_WIDTH),
            ..Arguments::of(operation, &claim.owner.to_string())
        };
        let in_time = match deadline.remaining() {
            Some(left) => deadline.within(left.mul_f64(SHARE_OF_TIME)),
            None => deadline,
        };
        self.run(key, &arguments, in_time).await
    }

    async fn run(
        &self,
        key: &RecordKey,
        arguments: &Arguments,
        deadline: Deadline,
    ) -> Result<Reply, StoreError> {
        let retention = whole_ms(self.retention).to_string();
        let list: [&[u8]; 6] = [
            arguments.operation.as_bytes(),
            arguments.owner.as_bytes(),
            arguments.fingerprint.as_bytes(),
            arguments.number.as_bytes(),
            retention.as_bytes(),
            arguments.record.as_deref().unwrap_or_default(),
        ];
        let said = list.len() - usize::from(arguments.record.is_none());
        let client = self.client.within(deadline);
        let reply: Value = client
            .run_script(self.script, &[key.as_str()], &list[..said])
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
            "mismatch" | "replay" if !self.believe(reply, key, deadline).await => Hint::Ask,
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

    /// Whether the result in a reply is one of this program's, as far as that matters.
    async fn believe(&self, reply: &Reply, key: &RecordKey, deadline: Deadline) -> bool {
        let Some(keys) = &self.response_keys else {
            return true;
        };
        let Some(record) = reply.record() else {
            return false;
        };
        let fingerprint = record.fingerprint;
        match record.into_response() {
            Some(response) => keys.believe(key, &fingerprint, &response, deadline).await,
            None => false,
        }
    }
}

/// The arguments of one operation.
struct Arguments {
    operation: &'static str,
    owner: String,
    fingerprint: String,
    number: String,
    record: Option<Vec<u8>>,
}

impl Arguments {
    fn of(operation: &'static str, owner: &str) -> Self {
        Self {
            operation,
            owner: owner.to_owned(),
            fingerprint: String::new(),
            number: String::new(),
            record: None,
        }
    }
}

#[cfg(test)]
pub(crate) mod rules;
#[cfg(test)]
mod tests;
