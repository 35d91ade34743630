//! Redis as the authoritative store: one atomic step on one key, the server's clock.
//!
//! A claim of an absent key is plain commands, and so are a checkpoint, a mark as unknown and the result of the first
//! attempt, until it renews its lease. Every other call is a script.
//!
//! A record is a string that an operator can `GET`. A finished record expires when the retention has passed since it
//! was written. An unfinished record expires when the retention has passed since the end of its lease. So at most one
//! execution is guaranteed only while Redis keeps its data, and only until the record expires.

mod call;
mod plain;

use std::sync::LazyLock;
use std::time::Duration;

use async_trait::async_trait;
use foundation::Deadline;
use redis::Value;
use redis_client::{Error, RedisClient, Repeat, Script, SetIfAbsent};

use self::call::Call;
use super::redis_text;
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
    commands: Commands,
}

/// The commands with which claims and changes are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Commands {
    /// Plain commands where they can answer, otherwise the script.
    Plain,
    /// The script only.
    #[cfg_attr(
        not(feature = "memory"),
        expect(dead_code, reason = "only Redis behind memory needs the script only")
    )]
    Script,
}

static RECORD: LazyLock<Script> =
    LazyLock::new(|| Script::new(include_str!("record.lua"), Repeat::Safe));

impl RedisStore {
    pub(crate) fn new(client: RedisClient, retention: Duration) -> Self {
        Self {
            client,
            retention,
            commands: Commands::Plain,
        }
    }

    /// Returns a store whose grants all contain the time of the first claim. Plain commands do not return that time, so
    /// every call of this store is a script.
    #[cfg(feature = "memory")]
    pub(crate) fn with_first_times(client: RedisClient, retention: Duration) -> Self {
        Self {
            commands: Commands::Script,
            ..Self::new(client, retention)
        }
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

    /// Claims the key by plain commands; `None`: only the script can answer the claim.
    async fn claim_plainly(
        &self,
        key: &RecordKey,
        claim: &ClaimRequest,
        deadline: Deadline,
    ) -> Result<Option<ClaimOutcome<Grant>>, StoreError> {
        let text = match self.commands {
            Commands::Plain => plain::claim_text(claim),
            Commands::Script => None,
        };
        let Some(text) = text else {
            return Ok(None);
        };
        let kept_for = claim.retention.saturating_add(claim.lease);
        let client = self.client.within(deadline);
        match client.set_if_absent(key.as_str(), &text, kept_for).await {
            Ok(SetIfAbsent::Set) => Ok(Some(ClaimOutcome::Claimed(plain::grant(claim)))),
            Ok(SetIfAbsent::Present(stored)) => {
                let blocked = plain::blocked(&stored.value.into(), stored.ttl, claim);
                Ok(blocked.map(ClaimOutcome::Blocked))
            }
            // The script can read the record even while the server rejects every write.
            Err(Error::Refused(_)) => Ok(None),
            Err(error) => Err(unavailable(error)),
        }
    }

    async fn claim_by_script(
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
        let Some(record) = record_in(&reply) else {
            return Ok(Answer::of_all(ClaimOutcome::Blocked(UNREADABLE)));
        };
        Ok(Answer::of_all(ClaimOutcome::Claimed(Grant::of(
            &record, repeated, reply.now,
        ))))
    }

    /// Writes a change by a plain command; false: only the script can write it.
    async fn change_plainly(
        &self,
        key: &RecordKey,
        fence: &Fence,
        change: &Change,
        deadline: Deadline,
    ) -> Result<bool, StoreError> {
        let replacement = match self.commands {
            Commands::Plain => plain::replacement(fence, change),
            Commands::Script => None,
        };
        let Some(replacement) = replacement else {
            return Ok(false);
        };
        let plain::Replacement {
            expected,
            text,
            expiry,
        } = &replacement;
        let client = self.client.within(deadline);
        let key = key.as_str();
        match client.set_if_equal(key, expected, text, *expiry).await {
            Ok(is_replaced) => Ok(is_replaced),
            Err(Error::Refused(_)) => Ok(false),
            Err(error) => Err(unavailable(error)),
        }
    }

    /// Returns what blocks a claim. `None`: the key is free.
    fn blocked(reply: &Reply, claim: &ClaimRequest) -> Result<Option<Blocked>, StoreError> {
        Ok(Some(match reply.verdict.as_str() {
            "mismatch" => Blocked::Mismatch,
            "unknown" => Blocked::Unknown(UnknownCause::Abandoned),
            "unreadable" => UNREADABLE,
            "absent" => return Ok(None),
            "in_progress" => Blocked::InProgress {
                retry_after: reply.lease_end().ok_or(UNEXPECTED)?.since(reply.now),
            },
            "replay" => match record_in(reply) {
                Some(record) => return Ok(decision::blocked(Some(&record), claim, reply.now)),
                None => UNREADABLE,
            },
            _ => return Err(UNEXPECTED),
        }))
    }
}

/// Returns the record in a reply of the script. `None`: the reply has no readable record.
fn record_in(reply: &Reply) -> Option<Record> {
    let text = reply.text()?;
    match redis_text::read(text) {
        Some(stored) => Some(stored.record),
        None => Record::from_text(text).ok(),
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
        match self.claim_plainly(key, claim, deadline).await? {
            Some(outcome) => Ok(Answer::of_all(outcome)),
            None => self.claim_by_script(key, claim, deadline).await,
        }
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
        if self.change_plainly(key, fence, change, deadline).await? {
            return Ok(Answer::of_all(WriteResult::Stored(None)));
        }
        let call = Call::change(fence, change, self.retention);
        let reply = self.run(key, call, deadline).await?;
        let record = record_in(&reply);
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
        Ok(match (reply.verdict.as_str(), record_in(&reply)) {
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
            // After a lost reply, a repeated resolution finds its own owner in the record.
            "superseded" if record_in(&reply).is_some_and(|record| record.owner == owner) => {
                Ok(ResolveResult::Stored)
            }
            "superseded" | "absent" | "unreadable" => Ok(ResolveResult::Refused),
            _ => Err(UNEXPECTED),
        }
    }
}

#[cfg(test)]
mod tests;
