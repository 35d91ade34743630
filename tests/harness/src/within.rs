//! Holding that something ends in time.
//!
//! It is measured rather than cut off at the limit, so that a failure says how long it really took: a little over
//! the limit is a busy machine, a multiple of it is another limit than the one that was meant. Only what does not
//! end at all is cut off, so that a test cannot hang.

use std::panic::Location;
use std::time::{Duration, Instant};

/// How many times the limit something may take before it counts as never ending.
const PATIENCE: u32 = 20;

/// Runs `future` to its end and returns its result.
///
/// # Panics
///
/// When it took `limit` or longer; the message names the caller's line and says how long it took.
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
        panic!("what {caller} allows {limit:?} did not end within {elapsed:?}")
    };
    assert!(
        elapsed < limit,
        "what {caller} allows {limit:?} took {elapsed:?}"
    );
    result
}

#[cfg(test)]
mod tests {
    use super::within;
    use std::time::Duration;

    #[tokio::test]
    async fn what_ends_in_time_gives_its_result() {
        assert_eq!(within(Duration::from_secs(5), async { 7 }).await, 7);
    }

    #[tokio::test]
    #[should_panic(expected = "within.rs")]
    async fn what_takes_longer_names_the_line_that_allowed_less() {
        let slow = tokio::time::sleep(Duration::from_millis(20));
        within(Duration::from_millis(10), slow).await;
    }

    #[tokio::test]
    #[should_panic(expected = "allows 10ms took")]
    async fn what_takes_longer_is_measured() {
        let slow = tokio::time::sleep(Duration::from_millis(20));
        within(Duration::from_millis(10), slow).await;
    }

    #[tokio::test]
    #[should_panic(expected = "did not end")]
    async fn what_never_ends_is_cut_off() {
        within(Duration::from_millis(1), std::future::pending::<()>()).await;
    }
}
