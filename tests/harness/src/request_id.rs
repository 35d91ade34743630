//! Identifiers of requests: unique within a test run and shaped like the UUIDs that AWS sends.

use std::hash::{BuildHasher, RandomState};

/// A fresh identifier in the shape of a version 4 UUID.
pub(crate) fn fresh() -> String {
    // Every `RandomState` has keys of its own.
    let (high, low) = (
        RandomState::new().hash_one(0),
        RandomState::new().hash_one(1),
    );
    format!(
        "{:08x}-{:04x}-4{:03x}-8{:03x}-{:012x}",
        high >> 32,
        (high >> 16) & 0xffff,
        high & 0xfff,
        low >> 52,
        low & 0xffff_ffff_ffff,
    )
}
