//! The parts that all keys of a process share: the authoritative store, signed results, derived keys and counters.
//! [`Idempotency`](super::Idempotency) and each lease refer to one [`Engine`].

use std::time::Duration;

use foundation::Deadline;
use tracing::info;

use super::blocked::{Blocked, UnknownCause};
use super::config::LONGEST_LEASE;
use super::counters::{Counters, Event};
use super::decision::ClaimRequest;
use super::store::{Answer, Store, StoreError};
use super::{
    Authority, DerivedKey, Fingerprint, IdempotencyConfig, Operation, OwnerId, RecordKey,
    ResponseKeys, SavedResponse, Setup,
};

/// The authoritative store, and everything that applies to all keys in it. A process has one engine.
pub(super) struct Engine {
    pub(super) store: Box<dyn Store>,
    pub(super) config: IdempotencyConfig,
    pub(super) counters: Counters,
    pub(super) authority: Authority,
    environment: String,
    /// Keys that sign results; `None`: results are not signed, and every stored result is accepted.
    response_keys: Option<ResponseKeys>,
}

/// How far in the future a stored lease may end. It is twice the longest lease, because a server clock may have been
/// set back. A lease that ends later was written by another program.
const LATEST_END: Duration = LONGEST_LEASE.saturating_mul(2);

impl Engine {
    pub(super) fn new(setup: Setup) -> Self {
        let Setup {
            stores,
            config,
            environment,
            metrics,
            response_keys,
        } = setup;
        let authority = stores.authority();
        info!(
            idempotency.authority = authority.name(),
            "idempotency store selected"
        );
        Self {
            store: stores.open(&config, response_keys.as_ref()),
            config,
            counters: Counters::new(metrics),
            authority,
            environment,
            response_keys,
        }
    }

    /// The key to send to a provider for the operation under `key`.
    pub(super) fn derived_key(&self, key: &RecordKey) -> DerivedKey {
        DerivedKey::new(&self.environment, key)
    }

    pub(super) fn claim_of(
        &self,
        owner: OwnerId,
        lease: Duration,
        operation: &Operation,
    ) -> ClaimRequest {
        ClaimRequest {
            owner,
            fingerprint: operation.fingerprint,
            policy: operation.policy,
            lease,
            retention: self.config.retention,
        }
    }

    /// Returns the form in which the result is stored: limited in size, and signed if this engine signs results.
    pub(super) async fn storable(
        &self,
        key: &RecordKey,
        fingerprint: &Fingerprint,
        response: &SavedResponse,
        deadline: Deadline,
    ) -> SavedResponse {
        let kept = response.limited_to(self.config.max_response_bytes);
        match &self.response_keys {
            Some(keys) => keys.sign(key, fingerprint, kept, deadline).await,
            None => kept,
        }
    }

    /// Returns `blocked` if the stored value is accepted, otherwise `Unknown`. A result without a valid MAC is not
    /// accepted. A lease that ends more than `LATEST_END` in the future is not accepted either. Another program may
    /// have written such values.
    pub(super) async fn check(
        &self,
        key: &RecordKey,
        claim: &ClaimRequest,
        blocked: Blocked,
        deadline: Deadline,
    ) -> Blocked {
        match blocked {
            Blocked::Replay(response)
                if !self.is_authentic(key, claim, &response, deadline).await =>
            {
                Blocked::Unknown(UnknownCause::Unreadable)
            }
            Blocked::InProgress { retry_after } if retry_after > LATEST_END => {
                Blocked::Unknown(UnknownCause::Unreadable)
            }
            blocked => blocked,
        }
    }

    /// Whether this engine signed the stored result for this request. Always true if this engine does not sign results.
    pub(super) async fn is_authentic(
        &self,
        key: &RecordKey,
        claim: &ClaimRequest,
        response: &SavedResponse,
        deadline: Deadline,
    ) -> bool {
        let Some(keys) = &self.response_keys else {
            return true;
        };
        let verifying = keys.verify(key, &claim.fingerprint, response, deadline);
        verifying.await
    }

    /// Counts a call that failed, or in which a configured store did not take part. Returns `answered` unchanged.
    pub(super) fn count_degraded<T>(
        &self,
        key: &RecordKey,
        answered: Result<Answer<T>, StoreError>,
    ) -> Result<Answer<T>, StoreError> {
        if answered
            .as_ref()
            .map_or(true, |answer| answer.degraded_to.is_some())
        {
            self.counters.count(Event::Degraded, key);
        }
        answered
    }

    pub(super) fn count_blocked(&self, blocked: &Blocked, key: &RecordKey) {
        let event = match blocked {
            Blocked::Replay(_) => Event::Replay,
            Blocked::Mismatch => Event::Mismatch,
            Blocked::InProgress { .. } => Event::Conflict,
            Blocked::Unknown(_) => Event::Unknown,
        };
        self.counters.count(event, key);
    }
}
