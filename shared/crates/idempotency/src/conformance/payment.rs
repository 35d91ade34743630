//! The payment that the laws use, and a provider that counts its charges.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use foundation::Deadline;
use http::StatusCode;

use crate::{
    ClaimOutcome, Fingerprint, Idempotency, IdempotencyKey, Lease, Operation, OwnerId, Policy,
    RecordKey, Request, RunOutcome, SavedResponse, Scope,
};

/// A deadline that no law reaches.
pub fn patience() -> Deadline {
    Deadline::after(Duration::from_secs(20))
}

/// Returns a key that no other test and no earlier run of this test uses.
pub fn fresh_key() -> RecordKey {
    key_of("alice", &OwnerId::fresh().to_string())
}

/// The record key for the idempotency key `key` of `tenant`.
pub fn key_of(tenant: &str, key: &str) -> RecordKey {
    let scope = Scope::http("charge", tenant).expect("a scope");
    RecordKey::new(&scope, &IdempotencyKey::parse(key).expect("a key"))
}

/// The fingerprint of a payment of this many euros.
pub fn paying(amount: u64) -> Fingerprint {
    asking(&format!("{{\"amount\":{amount}}}"))
}

/// The fingerprint of a request with this body.
pub fn asking(payload: &str) -> Fingerprint {
    let request = Request {
        method: "POST",
        route: "/charge",
        tenant: "alice",
        payload: payload.as_bytes(),
    };
    Fingerprint::of(&request).expect("unambiguous")
}

/// A payment of ten euros under a fresh key, with [`Policy::AtMostOnce`].
pub fn a_payment() -> Operation {
    Operation::new(fresh_key(), paying(10))
}

/// A payment of ten euros under a fresh key, with a policy that allows takeovers.
pub fn a_resumable_payment() -> Operation {
    a_payment().with_policy(Policy::RerunAlways)
}

/// The response to a payment after the charge.
pub fn charged() -> SavedResponse {
    answer("charged")
}

/// A response with this body.
pub fn answer(body: impl Into<Bytes>) -> SavedResponse {
    SavedResponse::new(StatusCode::CREATED, body)
}

/// Claims the key, and returns the lease. The claim must succeed.
///
/// # Panics
///
/// Panics if the claim does not succeed.
pub async fn started(engine: &Idempotency, operation: &Operation) -> Lease {
    lease_of(claim(engine, operation).await)
}

/// Claims the key with a lease of the configured length, and returns the outcome.
///
/// # Panics
///
/// Panics if the store is unavailable.
pub async fn claim(engine: &Idempotency, operation: &Operation) -> ClaimOutcome<Lease> {
    let claimed = engine.claim(operation, Deadline::UNKNOWN).await;
    claimed.expect("decided").value
}

/// Claims the key with this owner and a lease of this length, and returns the outcome.
pub(super) async fn claim_as(
    engine: &Idempotency,
    owner: OwnerId,
    lease: Duration,
    operation: &Operation,
) -> ClaimOutcome<Lease> {
    let claimed = engine.claim_as(owner, lease, operation, patience()).await;
    claimed.expect("decided").value
}

/// Returns the lease in the outcome of a claim. The claim must have succeeded.
pub(super) fn lease_of(outcome: ClaimOutcome<Lease>) -> Lease {
    match outcome {
        ClaimOutcome::Claimed(lease) => lease,
        other => panic!("claim failed: {other:?}"),
    }
}

/// A provider that counts charges.
#[derive(Default)]
pub struct Provider {
    charges: AtomicUsize,
}

impl Provider {
    /// Number of charges.
    pub fn charges(&self) -> usize {
        self.charges.load(Ordering::SeqCst)
    }

    /// Charges once.
    pub fn charge(&self) {
        self.charges.fetch_add(1, Ordering::SeqCst);
    }

    /// Runs a payment that charges once and responds with `response`.
    ///
    /// # Panics
    ///
    /// Panics if the store is unavailable.
    pub async fn pay(
        &self,
        engine: &Idempotency,
        operation: &Operation,
        response: SavedResponse,
    ) -> RunOutcome<()> {
        let ran = engine
            .run(operation, patience(), async |_: &mut Lease| {
                self.charge();
                Ok(response)
            })
            .await;
        ran.expect("decided").value
    }
}
