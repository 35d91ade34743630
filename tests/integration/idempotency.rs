//! The guarantees of idempotency: the conformance suite on every store, and the behaviour of each store under faults.

mod conformance;
mod damage;
mod documents;
mod faults;
mod majority;
mod memory;
mod mongodb;
mod own_store;
mod processes;
mod redis_alone;
mod retention;
mod stage;
mod tiered;
