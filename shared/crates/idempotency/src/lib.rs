#![doc = include_str!("../README.md")]

mod authority;
mod blocked;
mod config;
#[cfg(feature = "conformance")]
pub mod conformance;
mod counters;
mod decision;
mod derived_key;
mod engine;
mod entry;
mod fingerprint;
mod idempotency;
#[cfg(feature = "invoke")]
pub mod invoke;
mod key;
mod lease;
mod lease_token;
#[cfg(test)]
mod model;
mod operation;
mod outcome;
mod owner;
mod patient;
mod policy;
mod purpose;
mod record;
mod resolve;
mod response;
mod response_keys;
mod response_mac;
mod revision;
mod run;
mod scope;
mod setup;
pub mod store;
mod store_time;
#[cfg(feature = "http")]
pub mod web;
mod write_result;

#[doc = include_str!("protocol.md")]
pub mod protocol {}

// Re-exports for programs that use this crate. With them, a program needs no other crate of this workspace.
pub use foundation::{Deadline, secret};
pub use http::StatusCode;
#[cfg(feature = "mongodb")]
pub use mongo_client;
#[cfg(feature = "redis")]
pub use redis_client;
pub use telemetry::metrics;

pub use authority::{Authority, Available, Fallback, Stores};
pub use blocked::{Blocked, UnknownCause};
pub use config::IdempotencyConfig;
pub use counters::Counts;
pub use derived_key::DerivedKey;
pub use entry::{Entry, NoEffect, Progress, Resolution};
pub use fingerprint::{AmbiguousPayload, Fingerprint, Request};
pub use idempotency::Idempotency;
pub use key::{IdempotencyKey, InvalidKey};
pub use lease::Lease;
pub use lease_token::LeaseToken;
pub use operation::Operation;
pub use outcome::ClaimOutcome;
pub use owner::OwnerId;
pub use patient::PatientClaim;
pub use policy::Policy;
pub use resolve::{Lookup, ResolveOutcome};
pub use response::{SavedBody, SavedResponse};
pub use response_keys::ResponseKeys;
pub use revision::Revision;
pub use run::{Failure, RunOutcome};
pub use scope::{InvalidScope, KeyHash, RecordKey, Scope};
pub use setup::Setup;
pub use store::{Answer, Backend, ResolveResult, StoreError};
pub use write_result::WriteResult;
