//! How long ago was that, a freeze included?
//!
//! A frozen process need not see the monotonic clock advance, so what may have grown old meanwhile is timed by the wall
//! clock. That one can be set, so nothing that has to be right depends on it.

use std::time::{Duration, SystemTime};

/// Whether the wall clock says that `then_ms` is at least `limit` ago. A clock that was set back proves nothing, so
/// everything counts as old.
pub fn older_than(then_ms: u64, limit: Duration) -> bool {
    now_ms()
        .checked_sub(then_ms)
        .is_none_or(|age_ms| u128::from(age_ms) >= limit.as_millis())
}

/// The wall clock, in milliseconds since 1970.
#[expect(
    clippy::disallowed_methods,
    reason = "how long a process was frozen shows only on the wall clock; nothing but an early ping, connect or read depends on it"
)]
pub fn now_ms() -> u64 {
    let since_epoch = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX)
}
