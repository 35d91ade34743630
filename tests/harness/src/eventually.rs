//! Waits for another process: checks a condition repeatedly until it holds or a deadline has passed. So a test takes only the
//! time that it needs, and never sleeps for a guessed time.

use std::panic::Location;
use std::time::{Duration, Instant};

/// The pause between two checks, much shorter than the times for which tests wait.
const PAUSE: Duration = Duration::from_millis(10);

/// Returns as soon as `condition` returns `true`.
///
/// The condition is an `async` closure, or a closure that returns a future.
///
/// # Panics
///
/// Panics if the condition does not become true within `limit`. The message has the caller's line.
#[track_caller]
pub fn eventually(
    limit: Duration,
    condition: impl AsyncFnMut() -> bool,
) -> impl Future<Output = ()> {
    let caller = Location::caller();
    poll(limit, caller, condition)
}

async fn poll(limit: Duration, caller: &Location<'_>, mut condition: impl AsyncFnMut() -> bool) {
    let start = Instant::now();
    while !condition().await {
        assert!(
            start.elapsed() < limit,
            "the condition at {caller} did not hold within {limit:?}"
        );
        tokio::time::sleep(PAUSE).await;
    }
}

#[cfg(test)]
mod tests {
    use super::eventually;
    use std::cell::Cell;
    use std::time::Duration;

    #[tokio::test]
    async fn a_condition_is_checked_until_it_holds() {
        let asked = Cell::new(0);
        eventually(Duration::from_secs(5), async || {
            asked.set(asked.get() + 1);
            asked.get() == 3
        })
        .await;
        assert_eq!(asked.get(), 3);
    }

    #[tokio::test]
    #[should_panic(expected = "eventually.rs")]
    async fn a_timeout_names_the_line_of_the_caller() {
        eventually(Duration::from_millis(20), || async { false }).await;
    }
}
