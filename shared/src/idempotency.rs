//! May this payment run, or has it run already?
//!
//! Claim a key, work, store the result: the second caller gets the first one's answer, whatever fails between.

mod authority;
mod counters;
mod decision;
mod derived_key;
mod engine;
mod fingerprint;
mod key;
mod lease;
#[cfg(test)]
mod model;
mod owner;
mod policy;
mod record;
mod response;
mod run;
mod scope;
mod store;

pub use authority::{Authority, Fallback};
pub use counters::Counts;
pub use derived_key::DerivedKey;
pub use engine::{
    Answered, Entry, Idempotency, NoEffect, Operation, Outcome, Progress, Settlement,
};
pub use fingerprint::{AmbiguousPayload, Fingerprint, Request};
pub use key::{IdempotencyKey, InvalidKey};
pub use lease::{Completion, Lease, Noted, Renewal};
use owner::OwnerId;
pub use policy::Policy;
pub use response::{SavedBody, SavedResponse};
pub use run::{End, Failure, Ran};
pub use scope::{InvalidScope, KeyHash, RecordKey, Scope};
pub use store::{Backend, Doubt, Settled, Standing, Undecided};
