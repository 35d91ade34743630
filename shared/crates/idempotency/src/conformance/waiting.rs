//! Waiting for another process.

use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

/// The pause between two checks.
const PAUSE: Duration = Duration::from_millis(10);

/// Returns as soon as `condition` is true.
///
/// # Panics
///
/// Panics if the condition is still false after `limit`.
pub(super) async fn eventually(limit: Duration, mut condition: impl AsyncFnMut() -> bool) {
    let start = Instant::now();
    while !condition().await {
        assert!(
            start.elapsed() < limit,
            "the condition did not hold within {limit:?}"
        );
        sleep(PAUSE).await;
    }
}

/// Waits for `future`, and returns its result.
///
/// # Panics
///
/// Panics if the future has not ended after `limit`.
pub(super) async fn within<T>(limit: Duration, future: impl Future<Output = T>) -> T {
    match timeout(limit, future).await {
        Ok(result) => result,
        Err(_) => panic!("not finished after {limit:?}"),
    }
}
