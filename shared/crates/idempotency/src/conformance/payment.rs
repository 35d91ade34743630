//! The payment that the laws are about, and its provider, who counts the charges.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use foundation::Deadline;
use http::StatusCode;

use crate::{
    ClaimOutcome, Fingerprint, Idempotency, IdempotencyKey, Lease, Operation, OwnerId, Policy,
    RecordKey, Request, RunOutcome, SavedResponse, Scope,
};

/// Plenty of time.
pub fn patience() -> Deadline {
    Deadline::after(Duration::from_secs(20))
}

/// A key that no other test uses, nor an earlier run of this one.
pub fn fresh_key() -> RecordKey {
    key_of("alice", &OwnerId::fresh().to_string())
}

/// This key of a tenant.
pub fn key_of(tenant: &str, key: &str) -> RecordKey {
    let scope = Scope::http("charge", tenant).expect("a scope");
    RecordKey::new(&scope, &IdempotencyKey::parse(key).expect("a key"))
}

/// A payment of so many euros.
pub fn paying(amount: u64) -> Fingerprint {
    asking(&format!("{{\"amount\":{amount}}}"))
}

/// A request with this body.
pub fn asking(payload: &str) -> Fingerprint {
    let request = Request {
        method: "POST",
        route: "/charge",
        tenant: "alice",
        payload: payload.as_bytes(),
    };
    Fingerprint::of(&request).expect("unambiguous")
}

/// Ten euros, under a fresh key, at most once.
pub fn a_payment() -> Operation {
    Operation::new(fresh_key(), paying(10))
}

/// The same, which a later attempt may take over.
pub fn a_resumable_payment() -> Operation {
    a_payment().with_policy(Policy::RerunAlways)
}

/// The answer of the payment that ran.
pub fn charged() -> SavedResponse {
    answer("charged")
}

/// An answer with this body.
pub fn answer(body: impl Into<Bytes>) -> SavedResponse {
    SavedResponse::new(StatusCode::CREATED, body)
}

/// The lease of a claim that has to start.
///
/// # Panics
///
/// When it does not.
pub async fn started(engine: &Idempotency, operation: &Operation) -> Lease {
    match claim(engine, operation).await {
        ClaimOutcome::Claimed(lease) => lease,
        other => panic!("did not start: {other:?}"),
    }
}

/// The outcome of a claim that has to be decided. Its lease lasts as the configuration says.
///
/// # Panics
///
/// When no store decides.
pub async fn claim(engine: &Idempotency, operation: &Operation) -> ClaimOutcome<Lease> {
    let claimed = engine.claim(operation, Deadline::UNKNOWN).await;
    claimed.expect("decided").value
}

/// The provider that is charged.
#[derive(Default)]
pub struct Provider {
    charges: AtomicUsize,
}

impl Provider {
    /// How often it was charged.
    pub fn charges(&self) -> usize {
        self.charges.load(Ordering::SeqCst)
    }

    /// Charges once more.
    pub fn charge(&self) {
        self.charges.fetch_add(1, Ordering::SeqCst);
    }

    /// Runs a payment that charges once and answers with `response`.
    ///
    /// # Panics
    ///
    /// When no store decides.
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
