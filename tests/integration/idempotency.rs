//! What idempotency promises: one suite for every store, then what each of them does when something breaks.

mod claims;
mod conformance;
mod faults;
mod ownership;
mod results;
mod stage;
mod tiered;
mod time;
