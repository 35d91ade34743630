//! Claims and waiting: what a caller asks of a key.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use foundation::Deadline;
use tokio::time::{Instant, sleep};

use super::blocked::Blocked;
use super::config::LONGEST_LEASE;
use super::counters::{Counts, Event};
use super::decision::Fence;
use super::engine::Engine;
use super::lease::Lease;
use super::lease_token::LeaseToken;
use super::operation::Operation;
use super::outcome::ClaimOutcome;
use super::store::{Answer, Grant, StoreError};
use super::{Authority, DerivedKey, IdempotencyConfig, OwnerId, RecordKey, Setup};

/// Decides which work may run. One per process; cheap to clone.
#[derive(Clone)]
pub struct Idempotency {
    pub(super) engine: Arc<Engine>,
}

/// How long a waiter waits before it looks again, at first and at most.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
const PAUSE_GROWTH: f64 = 1.5;
/// What a waiter keeps for its last look.
const LOOK_TIME: Duration = Duration::from_millis(100);

impl Idempotency {
    /// The engine over these stores. Nothing is connected, and nothing here fails.
    pub fn new(setup: Setup) -> Self {
        Self {
            engine: Arc::new(Engine::new(setup)),
        }
    }

    /// The engine over the memory of this process, for development and tests: no other process sees what it decides.
    #[cfg(feature = "memory")]
    pub fn in_memory() -> Self {
        Self::new(Setup::of(super::Stores::memory()))
    }

    /// Which stores take part.
    pub fn authority(&self) -> Authority {
        self.engine.authority
    }

    /// What has happened in this process.
    pub fn counts(&self) -> Counts {
        self.engine.counters.counts()
    }

    /// Claims the key for this caller: lets it work, or says why not.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when no store decided. Nothing may run, and asking again is safe.
    ///
    /// # Cancel safety
    ///
    /// A dropped call may have left a claim that nobody works on. It ends as one whose attempt ended without a word.
    pub async fn claim(
        &self,
        operation: &Operation,
        deadline: Deadline,
    ) -> Result<Answer<ClaimOutcome<Lease>>, StoreError> {
        let lease = lease_for(deadline.remaining(), &self.engine.config);
        self.claim_as(OwnerId::fresh(), lease, operation, deadline)
            .await
    }

    /// The same for a caller elsewhere, who brings its own owner, and whose work outlasts this invocation by a lease of its
    /// own, at most as long as the longest invocation. Who got no answer may ask again with the same owner, and is told
    /// that it has started, if it has.
    ///
    /// The owner must be fresh for every claim: whoever comes with the owner of an attempt that is at work *is* that
    /// attempt, and works. One that is made of an event, a request or a key is the same in every delivery of it, and
    /// runs twice.
    ///
    /// # Errors
    ///
    /// As [`claim`](Self::claim).
    ///
    /// # Cancel safety
    ///
    /// As [`claim`](Self::claim).
    pub async fn claim_as(
        &self,
        owner: OwnerId,
        lease: Duration,
        operation: &Operation,
        deadline: Deadline,
    ) -> Result<Answer<ClaimOutcome<Lease>>, StoreError> {
        self.check_time(operation, deadline)?;
        let claim = self
            .engine
            .claim_of(owner, lease.min(LONGEST_LEASE), operation);
        // Taken before the store begins to count the lease, so that the caller's own reckoning ends first.
        let began = Instant::now();
        let claimed = self
            .engine
            .store
            .claim(&operation.key, &claim, deadline)
            .await;
        let Answer { value, degraded_to } = self.engine.noting(&operation.key, claimed)?;
        let outcome = match value {
            ClaimOutcome::Claimed(grant) => {
                self.engine.counters.count(event_of(&grant), &operation.key);
                let ends = Deadline::after(grant.lease_left.saturating_sub(began.elapsed()));
                let fence = Fence {
                    claim,
                    attempt: grant.attempt,
                    rev: grant.rev,
                };
                let (engine, key) = (Arc::clone(&self.engine), operation.key.clone());
                let lease = Lease::granted(engine, key, fence, deadline, grant, ends);
                ClaimOutcome::Claimed(lease)
            }
            ClaimOutcome::Blocked(blocked) => {
                let checking = self.engine.check(&operation.key, &claim, blocked, deadline);
                let blocked = checking.await;
                self.engine.count_blocked(&blocked, &operation.key);
                ClaimOutcome::Blocked(blocked)
            }
        };
        Ok(Answer {
            value: outcome,
            degraded_to,
        })
    }

    /// Resumes an attempt that another process claimed, with the token of its lease. Asks no store: the first write finds out whether the key
    /// still belongs to that attempt.
    pub fn resume(&self, token: LeaseToken, deadline: Deadline) -> Lease {
        Lease::resumed(Arc::clone(&self.engine), token, deadline)
    }

    /// Waits, at most until `limit`, for the result of somebody who is at work. Never claims, so it never runs anything:
    /// what it returns is how the key stands then, or how it stood when a store last said.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when no store ever answered.
    ///
    /// # Cancel safety
    ///
    /// A dropped wait changes nothing.
    pub async fn wait_for(
        &self,
        operation: &Operation,
        limit: Deadline,
    ) -> Result<Option<Blocked>, StoreError> {
        let lease = lease_for(limit.remaining(), &self.engine.config);
        let claim = self.engine.claim_of(OwnerId::fresh(), lease, operation);
        let mut pause = FIRST_PAUSE;
        let mut last = None;
        loop {
            let looked = self.engine.store.look(&operation.key, &claim, limit).await;
            let blocked = match self.engine.noting(&operation.key, looked) {
                Ok(Answer {
                    value: Some(blocked),
                    ..
                }) => {
                    let checking = self.engine.check(&operation.key, &claim, blocked, limit);
                    checking.await
                }
                Ok(Answer { value: None, .. }) => return Ok(None),
                Err(error) => return last.map(Some).ok_or(error),
            };
            let Blocked::InProgress { retry_after } = blocked else {
                return Ok(Some(blocked));
            };
            let nap = limit
                .reserving(LOOK_TIME)
                .clip(pause.min(retry_after.max(FIRST_PAUSE)));
            if nap.is_zero() {
                return Ok(Some(blocked));
            }
            last = Some(blocked);
            sleep(nap).await;
            pause = pause.mul_f64(PAUSE_GROWTH).min(LONGEST_PAUSE);
        }
    }

    /// Sets up what no decision depends on: in MongoDB the indexes by which it deletes what is over and finds what is unfinished. For a deployment or a
    /// schedule, where nobody waits.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when the store did not acknowledge. Repeating it is safe.
    pub async fn prepare(&self, deadline: Deadline) -> Result<(), StoreError> {
        self.engine.store.prepare(deadline).await
    }

    /// The key to hand to a provider for the work under `key`: the one that its leases have.
    pub fn derived_key(&self, key: &RecordKey) -> DerivedKey {
        self.engine.derived_key(key)
    }

    fn check_time(&self, operation: &Operation, deadline: Deadline) -> Result<(), StoreError> {
        if deadline.clip(operation.least_time) < operation.least_time {
            self.engine.counters.count(Event::Degraded, &operation.key);
            return Err(StoreError::TooLate);
        }
        Ok(())
    }
}

impl fmt::Debug for Idempotency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Idempotency")
            .field("authority", &self.engine.authority)
            .finish_non_exhaustive()
    }
}

fn event_of(grant: &Grant) -> Event {
    if grant.took_over {
        Event::Takeover
    } else {
        Event::Fresh
    }
}

/// How long a lease lasts: until the invocation is certainly over. Too short costs waiting, never a second execution.
fn lease_for(time_left: Option<Duration>, config: &IdempotencyConfig) -> Duration {
    match time_left {
        Some(left) => (left + config.lease_grace).min(LONGEST_LEASE),
        None => config.lease,
    }
}

#[cfg(test)]
mod tests {
    use foundation::secret::Secrets;
    use mongo_client::{Mongo, MongoConfig};

    use super::*;
    use crate::Stores;

    #[test]
    fn a_lease_outlasts_its_invocation() {
        let config = IdempotencyConfig::default();
        let seconds = Duration::from_secs;
        let cases = [
            (Some(seconds(0)), seconds(2)),
            (Some(seconds(10)), seconds(12)),
            (Some(seconds(900)), seconds(900)),
            (None, seconds(30)),
        ];
        for (left, expected) in cases {
            assert_eq!(lease_for(left, &config), expected, "{left:?}");
        }
    }

    #[tokio::test]
    async fn nothing_is_prepared_that_the_store_does_not_acknowledge() {
        let nowhere = MongoConfig::at("mongodb://127.0.0.1:1/", "tests");
        let engine = Idempotency::new(Setup::of(Stores {
            mongodb: Some(Mongo::new(&nowhere, &Secrets::without_store())),
            ..Stores::default()
        }));
        let deadline = Deadline::after(Duration::from_millis(100));
        assert!(engine.prepare(deadline).await.is_err());
    }
}
