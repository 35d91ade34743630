//! The function `idempotency`, as a payment function in another language sees it: JSON in, JSON out.

mod caller;
mod examples;
mod outcomes;
mod refusals;
mod stores;
