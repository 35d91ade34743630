//! Request ids, unique within a test run and in the format of AWS's UUIDs.

use std::hash::{BuildHasher, RandomState};

/// A new id in the format of a version 4 UUID.
pub(crate) fn fresh() -> String {
    // Every `RandomState` has random keys.
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
