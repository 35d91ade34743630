//! Waiting for what another process does in its own time.

use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

/// The pause between two questions.
const PAUSE: Duration = Duration::from_millis(10);

/// Returns as soon as `condition` answers `true`.
///
/// # Panics
///
/// When it still does not hold after `limit`.
pub(super) async fn eventually(limit: Duration, mut condition: impl AsyncFnMut() -> bool) {
    let start = Instant::now();
    while !condition().await {
        assert!(
            start.elapsed() < limit,
            "what is waited for did not hold within {limit:?}"
        );
        sleep(PAUSE).await;
    }
}

/// The result of `future`.
///
/// # Panics
///
/// When it has not ended after `limit`.
pub(super) async fn within<T>(limit: Duration, future: impl Future<Output = T>) -> T {
    match timeout(limit, future).await {
        Ok(result) => result,
        Err(_) => panic!("it has not ended after {limit:?}"),
    }
}
