//! May this payment run, or has it run already?
//!
//! A caller *claims* a key. If it *started*, it holds a [`Lease`], works, and stores the result; everybody who comes
//! with the same key and the same request is answered with that result, byte for byte, for a day. Two never work at the
//! same time, and nobody works again unless its [`Policy`] says that this is safe.
//!
//! ```no_run
//! # use http::StatusCode;
//! # use foundation::Deadline;
//! # use idempotency::*;
//! # struct Provider;
//! # enum Refusal { Busy, Other }
//! # impl Provider { async fn charge(&self, _: &str, _: &[u8]) -> Result<String, Refusal> { Err(Refusal::Busy) } }
//! async fn pay(
//!     idempotency: &Idempotency, provider: &Provider, tenant: &str, key: &[u8], body: &[u8], deadline: Deadline,
//! ) -> Result<End<Refusal>, Box<dyn std::error::Error>> {
//!     let scope = Scope::http("payments.create", tenant)?;
//!     let key = RecordKey::new(&scope, &IdempotencyKey::parse(key)?);
//!     let request = Request { method: "POST", route: "/api/payments", tenant, payload: body };
//!     let payment = Operation::new(key, Fingerprint::of(&request)?);
//!     let work = async |lease: &mut Lease| match provider.charge(lease.derived_key().as_str(), body).await {
//!         Ok(receipt) => Ok(SavedResponse::new(StatusCode::CREATED, receipt)),
//!         Err(refusal @ Refusal::Busy) => Err(Failure::NothingHappened(refusal)),
//!         Err(refusal) => Err(Failure::MayHaveHappened(refusal)),
//!     };
//!     Ok(idempotency.run(&payment, deadline, work).await?.end)
//! }
//! ```
//!
//! [`Idempotency::claim`] and the [`Lease`] are the same in steps, [`Idempotency::wait_for`] waits for the result of a running
//! attempt, [`Idempotency::resolve`] stores the outcome of an abandoned one once it has been found out.
//!
//! [`invoke`] is the same for callers in other languages, as JSON.
//!
//! # What is promised
//!
//! Which stores decide follows from what is configured ([`Authority`]).
//!
//! | | at most one execution under [`Policy::AtMostOnce`] | one answer for a key | a result is found again |
//! |---|---|---|---|
//! | MongoDB, with or without Redis | whatever fails | whatever fails | once MongoDB has acknowledged it; until then it is marked as not durable |
//! | Redis with an append-only file that is synced always | as long as its disk lasts; not over a failover to a replica that lags | the same | the same |
//! | Redis without one | until it restarts, fails over or evicts; if the claim is lost while the work runs, its result is stored all the same | the same | the same |
//! | Redis behind memory (development) | as Redis; in one process, also while Redis is away, but not where Redis falls back to an older state and another process uses the key | the same | the same |
//! | memory (development) | in this process, until it ends | the same | the same |
//!
//! "Whatever fails": processes that die or freeze anywhere, requests and replies that are lost, late or doubled, clocks that
//! differ, either store away, and Redis losing everything. It stands on MongoDB's majority writes. Redis has to be set to
//! `noeviction` where it decides alone, which health looks after; it forgets what is unknown a window after its lease, at the earliest.
//!
//! What is not promised: that work runs exactly once. A process can die between a charge and the word of it, and then only the
//! provider knows. Under [`Policy::AtMostOnce`] the key is *unknown* until it is settled; under the others the next caller
//! takes over, with the same derived key, which is safe as long as the provider recognises it ([`Policy::Rerun`], then unknown) or if the
//! work looks before it acts ([`Policy::RerunAlways`]). The
//! second execution of a caller who uses another key is a new payment.
//!
//! After the window (`IDEMPOTENCY_TTL_SECONDS` from the result) the key runs as new. A lease that ends too early or too late
//! costs waiting, never a second execution. Above `IDEMPOTENCY_MAX_RESPONSE_BYTES` a repetition is told length and digest of
//! the response ([`SavedBody::Summary`]), and nothing runs again.
//!
//! The owner of a claim is made afresh by every call, and never of an event's or a request's id: an event that is delivered
//! twice would recognise itself, and run twice. So it has to be where a caller elsewhere brings its own
//! ([`Idempotency::claim_as`]) and goes on with the attempt in another process ([`Idempotency::resume`]).
//!
//! How it works, and what becomes of each failure: [`protocol`]. Who else does this, and how: the IETF draft
//! <https://datatracker.ietf.org/doc/draft-ietf-httpapi-idempotency-key-header/>, Stripe
//! <https://docs.stripe.com/api/idempotent_requests>, and on fencing
//! <https://martin.kleppmann.com/2016/02/08/how-to-do-distributed-locking.html>.

#![cfg_attr(
    not(all(
        feature = "http",
        feature = "invoke",
        feature = "memory",
        feature = "mongodb",
        feature = "redis"
    )),
    allow(
        dead_code,
        unused_imports,
        unused_mut,
        unused_variables,
        reason = "what only the features need that are off"
    )
)]

mod authority;
mod config;
mod counters;
mod decision;
mod derived_key;
mod engine;
mod entry;
mod fingerprint;
mod hold;
mod idempotency;
#[cfg(feature = "invoke")]
pub mod invoke;
mod key;
mod lease;
#[cfg(test)]
mod model;
mod operation;
mod owner;
mod patient;
mod policy;
mod record;
mod resolve;
mod response;
mod response_keys;
mod response_mac;
mod revision;
mod run;
mod scope;
pub mod store;
mod store_time;
#[cfg(feature = "http")]
pub mod web;

#[doc = include_str!("protocol.md")]
pub mod protocol {}

// What a program needs to use this crate, so that it depends on nothing else.
pub use foundation::{Deadline, secret};
pub use http::StatusCode;
#[cfg(feature = "mongodb")]
pub use mongo_client;
#[cfg(feature = "redis")]
pub use redis_client;
pub use telemetry::metrics;

pub use authority::{Authority, Available, Fallback, Stores};
pub use config::IdempotencyConfig;
pub use counters::Counts;
pub use derived_key::DerivedKey;
pub use entry::{Entry, NoEffect, Progress, Settlement};
pub use fingerprint::{AmbiguousPayload, Fingerprint, Request};
pub use hold::{Completion, Hold, Noted, Renewal, Token};
pub use idempotency::{Idempotency, Setup};
pub use key::{IdempotencyKey, InvalidKey};
pub use lease::Lease;
pub use operation::{Answered, Operation, Outcome};
pub use owner::OwnerId;
pub use patient::PatientClaim;
pub use policy::Policy;
pub use resolve::{Lookup, Resolved};
pub use response::{SavedBody, SavedResponse};
pub use response_keys::ResponseKeys;
pub use revision::Revision;
pub use run::{End, Failure, Ran};
pub use scope::{InvalidScope, KeyHash, RecordKey, Scope};
pub use store::{Backend, Doubt, Settled, Standing, Undecided};
