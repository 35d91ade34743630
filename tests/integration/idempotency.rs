//! What idempotency promises: one suite for every store, then what each of them does when something breaks.

mod claims;
mod conformance;
mod damage;
mod documents;
mod faults;
mod majority;
mod memory;
mod mongodb;
mod own_store;
mod ownership;
mod processes;
mod redis_alone;
mod results;
mod stage;
mod tiered;
mod time;
