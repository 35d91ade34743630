//! Redis as the deciding store: one script on one key, the server's clock.
//!
//! A record is a string that an operator can `GET`. A finished record expires after its retention, and an unfinished
//! one a retention after its lease. So Redis alone guarantees at most one execution only while it keeps its data, and
//! for one retention.

use std::sync::LazyLock;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use foundation::Deadline;
use redis::Value;
use redis_client::{RedisClient, Repeat, Script};

use super::script_reply::{Reply, UNEXPECTED, unavailable};
use super::{
    Answer, Blocked, ClaimOutcome, Found, Grant, Repeated, ResolveResult, Store, StoreError,
    UnknownCause, WriteResult,
};
use crate::decision::{Change, ClaimRequest, Fence, Resolution};
use crate::record::{COUNT_WIDTH, LEASE_WIDTH, Record, TIME_WIDTH, Version, field};
use crate::store_time::whole_ms;
use crate::{OwnerId, RecordKey, SavedResponse, decision};

/// Records in Redis.
pub(crate) struct RedisStore {
    client: RedisClient,
    /// How long a finished record is kept, and any record after its lease.
    retention: Duration,
}

static RECORD: LazyLock<Script> =
    LazyLock::new(|| Script::new(include_str!("record.lua"), Repeat::Safe));

/// The arguments of one operation, in the script's order.
struct Call<'a> {
    operation: &'static str,
    owner: OwnerId,
    claim: Option<&'a ClaimRequest>,
    lease: Duration,
    /// The attempt of a change, or the revision of a resolution.
    number: Option<u64>,
    /// The revision that a renewal or a checkpoint follows.
    follows: Option<u64>,
    /// The version that a resolution replaces.
    resolves: Option<Version>,
    /// The new body, if the operation has one.
    body: Option<Bytes>,
}

impl RedisStore {
    pub(crate) fn new(client: RedisClient, retention: Duration) -> Self {
        Self { client, retention }
    }

    async fn run(
        &self,
        key: &RecordKey,
        call: Call<'_>,
        deadline: Deadline,
    ) -> Result<Reply, StoreError> {
        let (fingerprint, bound) = match call.claim {
            Some(claim) => (claim.fingerprint.to_string(), claim.policy.to_bound_ms()),
            // A resolution has no fingerprint; it names the record that it replaces.
            None => match call.resolves {
                Some(seen) => (seen.owner.to_string(), seen.first_at.as_ms()),
                None => (String::new(), 0),
            },
        };
        let owner = call.owner.to_string();
        let retention = whole_ms(self.retention).to_string();
        let bound = match call.follows {
            Some(rev) => field(rev, COUNT_WIDTH),
            None => field(bound, TIME_WIDTH),
        };
        let lease = field(whole_ms(call.lease), LEASE_WIDTH);
        let number = match call.number {
            Some(count) => field(count, COUNT_WIDTH),
            None => whole_ms(self.retention.saturating_add(call.lease)).to_string(),
        };
        let arguments: [&[u8]; 8] = [
            call.operation.as_bytes(),
            owner.as_bytes(),
            retention.as_bytes(),
            fingerprint.as_bytes(),
            bound.as_bytes(),
            lease.as_bytes(),
            number.as_bytes(),
            call.body.as_deref().unwrap_or_default(),
        ];
        // Each argument costs time in Redis, so an empty one is omitted.
        let said = arguments.len() - usize::from(call.body.is_none());
        let client = self.client.within(deadline);
        let reply: Value = client
            .run_script(&RECORD, &[key.as_str()], &arguments[..said])
            .await
            .map_err(unavailable)?;
        Reply::parse(reply).ok_or(UNEXPECTED)
    }

    /// What blocks a claim; `None`: the key is free.
    fn blocked(reply: &Reply, claim: &ClaimRequest) -> Result<Option<Blocked>, StoreError> {
        Ok(Some(match reply.verdict.as_str() {
            "mismatch" => Blocked::Mismatch,
            "unknown" => Blocked::Unknown(UnknownCause::Abandoned),
            "unreadable" => UNREADABLE,
            "absent" => return Ok(None),
            "in_progress" => Blocked::InProgress {
                retry_after: reply.lease_end().ok_or(UNEXPECTED)?.since(reply.now),
            },
            "replay" => match reply.record() {
                Some(record) => return Ok(decision::blocked(Some(&record), claim, reply.now)),
                None => UNREADABLE,
            },
            _ => return Err(UNEXPECTED),
        }))
    }
}

/// The value under the key is unreadable.
const UNREADABLE: Blocked = Blocked::Unknown(UnknownCause::Unreadable);

#[async_trait]
impl Store for RedisStore {
    async fn claim(
        &self,
        key: &RecordKey,
        claim: &ClaimRequest,
        deadline: Deadline,
    ) -> Result<Answer<ClaimOutcome<Grant>>, StoreError> {
        let reply = self
            .run(key, Call::of_claim("claim", claim), deadline)
            .await?;
        let repeated = match reply.verdict.as_str() {
            "started" => Repeated::No,
            "repeated" => Repeated::Yes,
            _ => {
                let blocked = Self::blocked(&reply, claim)?.ok_or(UNEXPECTED)?;
                return Ok(Answer::of_all(ClaimOutcome::Blocked(blocked)));
            }
        };
        // The script has read only the header.
        let Some(record) = reply.record() else {
            return Ok(Answer::of_all(ClaimOutcome::Blocked(UNREADABLE)));
        };
        Ok(Answer::of_all(ClaimOutcome::Claimed(Grant::of(
            &record, repeated, reply.now,
        ))))
    }

    async fn look(
        &self,
        key: &RecordKey,
        claim: &ClaimRequest,
        deadline: Deadline,
    ) -> Result<Answer<Option<Blocked>>, StoreError> {
        let reply = self
            .run(key, Call::of_claim("look", claim), deadline)
            .await?;
        Self::blocked(&reply, claim).map(Answer::of_all)
    }

    async fn change(
        &self,
        key: &RecordKey,
        fence: &Fence,
        change: &Change,
        deadline: Deadline,
    ) -> Result<Answer<WriteResult<Option<SavedResponse>>>, StoreError> {
        let reply = self
            .run(key, Call::of_change(fence, change), deadline)
            .await?;
        let record = reply.record();
        Ok(Answer::of_all(match reply.verdict.as_str() {
            "done" => WriteResult::Stored(None),
            "already" => match record.and_then(Record::into_response) {
                // The result is final, but unreadable.
                None if matches!(change, Change::Complete(_)) => {
                    WriteResult::Superseded(Some(UNREADABLE))
                }
                response => WriteResult::Stored(response),
            },
            "too_late" => WriteResult::TooLate,
            "moved" => WriteResult::Outdated(reply.rev().ok_or(UNEXPECTED)?),
            "absent" => WriteResult::Superseded(None),
            "unreadable" => WriteResult::Superseded(Some(UNREADABLE)),
            "superseded" => WriteResult::Superseded(match record {
                Some(record) => decision::blocked(Some(&record), &fence.claim, reply.now),
                None => Some(UNREADABLE),
            }),
            _ => return Err(UNEXPECTED),
        }))
    }

    async fn read(&self, key: &RecordKey, deadline: Deadline) -> Result<Found, StoreError> {
        let call = Call {
            operation: "read",
            owner: OwnerId::NONE,
            claim: None,
            lease: Duration::ZERO,
            number: None,
            follows: None,
            resolves: None,
            body: None,
        };
        let reply = self.run(key, call, deadline).await?;
        Ok(match (reply.verdict.as_str(), reply.record()) {
            ("absent", _) => Found::Nothing,
            ("found", Some(record)) => Found::Record(Box::new(record), reply.now),
            _ => Found::Unreadable,
        })
    }

    async fn list(&self, limit: u32, deadline: Deadline) -> Result<Vec<RecordKey>, StoreError> {
        let limit = limit.try_into().unwrap_or(usize::MAX);
        let scanning = self.client.within(deadline);
        let pattern = format!("{}*", RecordKey::PREFIX);
        let names = scanning.scan(&pattern, limit).await;
        let names = names.map_err(unavailable)?.into_iter();
        Ok(names.take(limit).map(RecordKey::named).collect())
    }

    async fn resolve(
        &self,
        key: &RecordKey,
        seen: Version,
        owner: OwnerId,
        resolution: &Resolution,
        deadline: Deadline,
    ) -> Result<ResolveResult, StoreError> {
        let call = Call::of_resolution(seen, owner, resolution);
        let reply = self.run(key, call, deadline).await?;
        match reply.verdict.as_str() {
            "done" => Ok(ResolveResult::Done),
            // A resolution that is sent again, because its reply was lost, finds its own owner.
            "superseded" if reply.record().is_some_and(|record| record.owner == owner) => {
                Ok(ResolveResult::Done)
            }
            "superseded" | "absent" | "unreadable" => Ok(ResolveResult::Refused),
            _ => Err(UNEXPECTED),
        }
    }
}

impl<'a> Call<'a> {
    fn of_claim(operation: &'static str, claim: &'a ClaimRequest) -> Self {
        Self {
            operation,
            owner: claim.owner,
            claim: Some(claim),
            lease: claim.lease,
            number: None,
            follows: None,
            resolves: None,
            body: None,
        }
    }

    fn of_change(fence: &'a Fence, change: &Change) -> Self {
        let (operation, body) = match change {
            Change::Complete(response) => ("complete", Some(response.to_bytes())),
            Change::Release => ("release", None),
            Change::Renew(_) => ("renew", None),
            Change::Checkpoint(checkpoint) => ("checkpoint", Some(checkpoint.clone())),
            Change::MarkUnknown => ("mark_unknown", None),
        };
        let lease = match change {
            Change::Renew(lease) => *lease,
            _ => fence.claim.lease,
        };
        Self {
            lease,
            number: Some(fence.attempt),
            follows: change.names_rev().then_some(fence.rev),
            body,
            ..Self::of_claim(operation, &fence.claim)
        }
    }

    fn of_resolution(seen: Version, owner: OwnerId, resolution: &Resolution) -> Self {
        let (operation, body) = match resolution {
            Resolution::Completed(response) => ("resolve_completed", Some(response.to_bytes())),
            Resolution::Released => ("resolve_released", None),
            Resolution::Reopened => ("resolve_reopened", None),
        };
        Self {
            operation,
            owner,
            claim: None,
            lease: Duration::ZERO,
            number: Some(seen.rev),
            follows: None,
            resolves: Some(seen),
            body,
        }
    }
}

#[cfg(test)]
mod tests;
