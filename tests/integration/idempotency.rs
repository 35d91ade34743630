//! What idempotency promises: the conformance suite on every store, then what each of them does when something breaks.

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
