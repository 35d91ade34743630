//! The conformance suite, run on every store.

use shared::idempotency::conformance_tests;

use super::stage::Stage;

/// Runs all tests of the suite on each of these stores.
macro_rules! on_every_store {
    ($($store:ident)*) => { $(
        mod $store {
            use super::Stage;
            super::conformance_tests!(Stage::$store().await.into_subject());
        }
    )* };
}

on_every_store! { memory redis redis_behind_memory redis_cluster mongodb tiered }
