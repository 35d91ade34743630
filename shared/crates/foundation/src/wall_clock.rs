//! Measures ages by the wall clock.
//!
//! The monotonic clock may stand still while Lambda freezes the process. A value may expire during such a freeze, so
//! its age is measured by the wall clock. The wall clock can be set, so a wrong age must do no harm.

use std::time::{Duration, SystemTime};

/// Whether at least `limit` has passed since `then_ms`. If `then_ms` is in the future, because the clock was set back,
/// the result is `true`.
pub fn older_than(then_ms: u64, limit: Duration) -> bool {
    now_ms()
        .checked_sub(then_ms)
        .is_none_or(|age_ms| u128::from(age_ms) >= limit.as_millis())
}

/// Returns the time of the wall clock, in milliseconds since the Unix epoch.
#[expect(
    clippy::disallowed_methods,
    reason = "only the wall clock continues during a freeze; an error costs at most an early ping, connect or read"
)]
pub fn now_ms() -> u64 {
    let since_epoch = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX)
}
