//! Redis as the authoritative store: one script on one key, the server's clock.
//!
//! A record is a string that an operator can `GET`. A finished record expires when the retention has passed since it
//! was written. An unfinished record expires when the retention has passed since the end of its lease. So Redis alone
//! guarantees at most one execution only while it keeps its data, and only until the record expires.

mod call;

use std::sync::LazyLock;
use std::time::Duration;

use async_trait::async_trait;
use foundation::Deadline;
use redis::Value;
use redis_client::{RedisClient, Repeat, Script};

use self::call::Call;
use super::script_reply::{Reply, UNEXPECTED, unavailable};
use super::{
    Answer, Blocked, ClaimOutcome, Found, Grant, Repeated, ResolveResult, Store, StoreError,
    UnknownCause, WriteResult,
};
use crate::decision::{Change, ClaimRequest, Fence, Resolution};
use crate::record::{Record, Version};
use crate::{OwnerId, RecordKey, SavedResponse, decision};

/// Records in Redis.
pub(crate) struct RedisStore {
    client: RedisClient,
    /// How long a finished record is kept after it was written, and any other record after the end of its lease.
    retention: Duration,
}

static RECORD: LazyLock<Script> =
    LazyLock::new(|| Script::new(include_str!("record.lua"), Repeat::Safe));

impl RedisStore {
    pub(crate) fn new(client: RedisClient, retention: Duration) -> Self {
        Self { client, retention }
    }

    async fn run(
        &self,
        key: &RecordKey,
        call: Call,
        deadline: Deadline,
    ) -> Result<Reply, StoreError> {
        let client = self.client.within(deadline);
        let reply: Value = client
            .run_script(&RECORD, &[key.as_str()], &call.arguments())
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
        let call = Call::claim(claim, self.retention);
        let reply = self.run(key, call, deadline).await?;
        let repeated = match reply.verdict.as_str() {
            "claimed" => Repeated::No,
            "claim_repeated" => Repeated::Yes,
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
        let call = Call::look(claim, self.retention);
        let reply = self.run(key, call, deadline).await?;
        Self::blocked(&reply, claim).map(Answer::of_all)
    }

    async fn change(
        &self,
        key: &RecordKey,
        fence: &Fence,
        change: &Change,
        deadline: Deadline,
    ) -> Result<Answer<WriteResult<Option<SavedResponse>>>, StoreError> {
        let call = Call::change(fence, change, self.retention);
        let reply = self.run(key, call, deadline).await?;
        let record = reply.record();
        Ok(Answer::of_all(match reply.verdict.as_str() {
            "stored" => WriteResult::Stored(None),
            "already_stored" => match record.and_then(Record::into_response) {
                // The result is final, but unreadable.
                None if matches!(change, Change::Complete(_)) => {
                    WriteResult::Superseded(Some(UNREADABLE))
                }
                response => WriteResult::Stored(response),
            },
            "too_late" => WriteResult::TooLate,
            "outdated" => WriteResult::Outdated(reply.rev().ok_or(UNEXPECTED)?),
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
        let reply = self.run(key, Call::read(), deadline).await?;
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
        let call = Call::resolve(seen, owner, resolution, self.retention);
        let reply = self.run(key, call, deadline).await?;
        match reply.verdict.as_str() {
            "stored" => Ok(ResolveResult::Stored),
            // A resolution that is sent again, because its reply was lost, finds its own owner.
            "superseded" if reply.record().is_some_and(|record| record.owner == owner) => {
                Ok(ResolveResult::Stored)
            }
            "superseded" | "absent" | "unreadable" => Ok(ResolveResult::Refused),
            _ => Err(UNEXPECTED),
        }
    }
}

#[cfg(test)]
mod tests;
