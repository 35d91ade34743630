//! Checks that a future ends in time.
//!
//! A future that exceeds its limit continues, so that the message can show its duration. If only the machine is busy, the
//! duration is a little over the limit. If a timeout is wrong, the duration is many times the limit. Only a future that exceeds
//! the limit many times is cancelled, so that a test cannot hang.

use std::panic::Location;
use std::time::{Duration, Instant};

/// A future that runs for this many times its limit is cancelled.
const PATIENCE: u32 = 20;

/// Runs `future` to its end and returns its result.
///
/// # Panics
///
/// Panics if the future takes `limit` or longer. The message has the caller's line and the duration.
#[track_caller]
pub fn within<T>(limit: Duration, future: impl Future<Output = T>) -> impl Future<Output = T> {
    let caller = Location::caller();
    measure(limit, caller, future)
}

async fn measure<T>(limit: Duration, caller: &Location<'_>, future: impl Future<Output = T>) -> T {
    let start = Instant::now();
    let result = tokio::time::timeout(limit * PATIENCE, future).await;
    let elapsed = start.elapsed();
    let Ok(result) = result else {
        panic!("the future at {caller} with the limit {limit:?} did not end within {elapsed:?}")
    };
    assert!(
        elapsed < limit,
        "the future at {caller} with the limit {limit:?} took {elapsed:?}"
    );
    result
}

#[cfg(test)]
mod tests {
    use super::within;
    use std::time::Duration;

    #[tokio::test]
    async fn a_future_that_ends_in_time_returns_its_result() {
        assert_eq!(within(Duration::from_secs(5), async { 7 }).await, 7);
    }

    #[tokio::test]
    #[should_panic(expected = "within.rs")]
    async fn a_late_end_names_the_line_of_the_caller() {
        let slow = tokio::time::sleep(Duration::from_millis(20));
        within(Duration::from_millis(10), slow).await;
    }

    #[tokio::test]
    #[should_panic(expected = "with the limit 10ms took")]
    async fn a_late_end_is_measured() {
        let slow = tokio::time::sleep(Duration::from_millis(20));
        within(Duration::from_millis(10), slow).await;
    }

    #[tokio::test]
    #[should_panic(expected = "did not end")]
    async fn a_future_that_never_ends_is_cut_off() {
        within(Duration::from_millis(1), std::future::pending::<()>()).await;
    }
}
