//! Claiming a key, and waiting for its result.

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

/// Claims keys. With it, an operation runs only as often as the policy of the operation allows. A process needs only
/// one value of this type. Cloning it is cheap.
#[derive(Clone)]
pub struct Idempotency {
    pub(super) engine: Arc<Engine>,
}

/// The first pause of [`wait_for`](Idempotency::wait_for) between two looks. A look reads the key and claims nothing.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
/// The longest pause between two looks.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// Each pause is longer than the previous one by this factor.
const PAUSE_GROWTH: f64 = 1.5;
/// The time that a wait reserves for its last look.
const LOOK_TIME: Duration = Duration::from_millis(100);

impl Idempotency {
    /// Returns an engine that uses the stores of `setup`. This call opens no connection and cannot fail.
    pub fn new(setup: Setup) -> Self {
        Self {
            engine: Arc::new(Engine::new(setup)),
        }
    }

    /// Returns an engine whose only store is the memory of this process. It is for development and tests, because other
    /// processes cannot read its keys.
    #[cfg(feature = "memory")]
    pub fn in_memory() -> Self {
        Self::new(Setup::of(super::Stores::memory()))
    }

    /// The stores that take part.
    pub fn authority(&self) -> Authority {
        self.engine.authority
    }

    /// How many events of each kind have happened in this process.
    pub fn counts(&self) -> Counts {
        self.engine.counters.counts()
    }

    /// Claims the key, or returns what blocks it.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: the claim has no outcome, because the authoritative store is unavailable or too little time is
    /// left. The key may or may not be claimed. The caller must not run the operation. A retry is safe.
    ///
    /// # Cancel safety
    ///
    /// A dropped call may leave a claim without a holder. Such a claim ends like an abandoned attempt.
    pub async fn claim(
        &self,
        operation: &Operation,
        deadline: Deadline,
    ) -> Result<Answer<ClaimOutcome<Lease>>, StoreError> {
        let lease = lease_for(deadline.remaining(), &self.engine.config);
        self.claim_as(OwnerId::fresh(), lease, operation, deadline)
            .await
    }

    /// Claims the key for a remote caller. The caller sends its own owner and the length of the lease. The lease may
    /// last longer than this invocation, up to the longest lease. If the reply is lost, the caller may retry with the
    /// same owner. If the claim was stored, the retry succeeds.
    ///
    /// The owner must be fresh for every claim. A claim with the owner of a running attempt counts as that attempt, and
    /// succeeds. The operation would then run twice. So an owner must not be derived from an event, a request or a key:
    /// these are the same in every delivery.
    ///
    /// # Errors
    ///
    /// See [`claim`](Self::claim).
    ///
    /// # Cancel safety
    ///
    /// See [`claim`](Self::claim).
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
        // This time is taken before the store starts the lease. So the lease ends for the caller before it ends in the
        // store.
        let began = Instant::now();
        let claimed = self
            .engine
            .store
            .claim(&operation.key, &claim, deadline)
            .await;
        let Answer { value, degraded_to } = self.engine.count_degraded(&operation.key, claimed)?;
        let outcome = match value {
            ClaimOutcome::Claimed(grant) => {
                self.engine.counters.count(event_of(&grant), &operation.key);
                let ends = Deadline::after(grant.lease_left.saturating_sub(began.elapsed()));
                let fence = Fence {
                    claim,
                    attempt: grant.attempt,
                    rev: grant.rev,
                    checkpoint: Some(grant.checkpoint.clone()),
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

    /// Returns the lease of an attempt that another process claimed. `token` is the token of that lease. This call
    /// sends nothing to a store. The first write checks that the key still belongs to that attempt.
    pub fn resume(&self, token: LeaseToken, deadline: Deadline) -> Lease {
        Lease::resumed(Arc::clone(&self.engine), token, deadline)
    }

    /// Waits for the result of a running attempt, at most until `limit`. The wait never claims the key, so nothing
    /// runs. Returns what blocks the key at the end of the wait. `None`: the key is free. If the store does not answer
    /// a look, the wait ends. Then the result of the previous look is returned.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: the store did not answer the first look.
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
            let blocked = match self.engine.count_degraded(&operation.key, looked) {
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

    /// Creates the MongoDB indexes that delete expired records and find unfinished ones. Claims and writes work without
    /// these indexes. So call this function from a deployment or a schedule, not from a request.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: the store did not acknowledge the indexes. A retry is safe.
    pub async fn prepare(&self, deadline: Deadline) -> Result<(), StoreError> {
        self.engine.store.prepare(deadline).await
    }

    /// The key to send to a provider for the operation under `key`. [`Lease::derived_key`] returns the same key.
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

/// Returns the length of a lease. The lease ends after the invocation, but is never longer than `LONGEST_LEASE`. If a
/// lease ends too early or too late, callers wait longer, but the operation never runs twice.
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
    async fn preparing_fails_if_the_store_does_not_acknowledge() {
        let nowhere = MongoConfig::at("mongodb://127.0.0.1:1/", "tests");
        let engine = Idempotency::new(Setup::of(Stores {
            mongodb: Some(Mongo::new(&nowhere, &Secrets::without_store())),
            ..Stores::default()
        }));
        let deadline = Deadline::after(Duration::from_millis(100));
        assert!(engine.prepare(deadline).await.is_err());
    }
}
