//! Keeps the last result of a probe and reuses it while it is fresh.
//!
//! One probe runs at a time. A request that arrives meanwhile waits for that probe and gets its result, so many
//! parallel requests cost one probe. No background task refreshes a result. After a result has expired, the next
//! request replaces it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use foundation::deadline::{Deadline, Elapsed};
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use telemetry::logging;
use tokio::sync::Mutex;

/// The last result, reused for the time `keep`.
pub(super) struct Memo<T> {
    keep: Duration,
    last: Mutex<Option<(T, Timestamp)>>,
    /// The number of results kept so far. A request that saw a lower number on arrival uses the result that it
    /// waited for.
    finished: AtomicU64,
}

/// Whether a probe has its full time limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ProbeTime {
    /// The probe has its full time limit. The result is kept.
    Full,
    /// The probe has less time, because the request is nearly out of time. Only that request uses the result.
    Shortened,
}

/// A result and its age, as in responses.
#[derive(Clone, Debug, Serialize)]
pub(super) struct AgedResult<T> {
    #[serde(flatten)]
    pub(super) result: T,
    checked_at: String,
    age_ms: i64,
}

impl<T: Clone> Memo<T> {
    pub(super) fn new(keep: Duration) -> Self {
        Self {
            keep,
            last: Mutex::new(None),
            finished: AtomicU64::new(0),
        }
    }

    /// Returns the last result if it is fresh, else the result of `probe`.
    ///
    /// # Errors
    ///
    /// [`Elapsed`] if another request's probe was still running at `deadline`.
    ///
    /// # Cancel safety
    ///
    /// A dropped probe leaves the last result unchanged, and the next waiting request runs its own probe.
    pub(super) async fn fresh(
        &self,
        deadline: Deadline,
        probe_time: ProbeTime,
        probe: impl Future<Output = T>,
    ) -> Result<AgedResult<T>, Elapsed> {
        let finished_before = self.finished.load(Ordering::Acquire);
        let mut last = deadline.bound(self.last.lock()).await?;
        if let Some((result, checked)) = &*last {
            let now = now();
            let is_new = self.finished.load(Ordering::Acquire) != finished_before;
            if is_new || is_fresh(now.duration_since(*checked), self.keep) {
                return Ok(AgedResult::new(result.clone(), *checked, now));
            }
        }
        let result = probe.await;
        let now = now();
        if probe_time == ProbeTime::Full {
            *last = Some((result.clone(), now));
            self.finished.fetch_add(1, Ordering::Release);
        }
        Ok(AgedResult::new(result, now, now))
    }
}

impl ProbeTime {
    /// Compares the time left with the full time limit.
    pub(super) fn of(deadline: Deadline, full: Duration) -> Self {
        if deadline.clip(full) < full {
            Self::Shortened
        } else {
            Self::Full
        }
    }
}

impl<T> AgedResult<T> {
    pub(super) fn new(result: T, checked: Timestamp, now: Timestamp) -> Self {
        let age = now.duration_since(checked).as_millis();
        Self {
            result,
            checked_at: logging::rfc3339(checked),
            age_ms: i64::try_from(age).unwrap_or(i64::MAX).max(0),
        }
    }

    pub(super) fn now(result: T) -> Self {
        let now = now();
        Self::new(result, now, now)
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "only the wall clock continues while the process is frozen; an error costs at most one probe"
)]
fn now() -> Timestamp {
    Timestamp::now()
}

/// Whether a result of this age is fresh. The age is by the wall clock, which continues during a freeze. A result with
/// a time in the future is not fresh.
fn is_fresh(age: SignedDuration, keep: Duration) -> bool {
    Duration::try_from(age).is_ok_and(|age| age < keep)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;

    #[test]
    fn a_result_is_fresh_for_its_time_to_live() {
        let keep = Duration::from_secs(1);
        let cases = [(0, true), (999, true), (1_000, false), (-1, false)];
        for (age_ms, expected) in cases {
            assert_eq!(
                is_fresh(SignedDuration::from_millis(age_ms), keep),
                expected,
                "{age_ms} ms"
            );
        }
        assert!(!is_fresh(SignedDuration::ZERO, Duration::ZERO));
    }

    #[tokio::test]
    async fn parallel_requests_share_one_probe_even_if_no_result_is_kept() {
        let memo = Memo::new(Duration::ZERO);
        let probes = AtomicUsize::new(0);
        let ask = || {
            memo.fresh(Deadline::UNKNOWN, ProbeTime::Full, async {
                tokio::time::sleep(Duration::from_millis(20)).await;
                probes.fetch_add(1, Ordering::Relaxed)
            })
        };
        let (first, second, third) = tokio::join!(ask(), ask(), ask());
        assert_eq!(
            [first, second, third].map(|aged| aged.expect("a result").result),
            [0, 0, 0]
        );
    }

    #[tokio::test]
    async fn a_request_that_cannot_wait_for_another_probe_times_out() {
        let memo = Memo::<()>::new(Duration::ZERO);
        let deadline = Deadline::after(Duration::from_millis(10));
        let (_, waiting) = tokio::join!(
            tokio::time::timeout(
                Duration::from_millis(30),
                memo.fresh(Deadline::UNKNOWN, ProbeTime::Full, std::future::pending())
            ),
            memo.fresh(deadline, ProbeTime::Full, async {}),
        );
        assert!(waiting.is_err());
    }

    #[tokio::test]
    async fn the_result_of_a_shortened_probe_is_not_kept() {
        let memo = Memo::new(Duration::from_secs(60));
        let ask =
            |probe_time, found| memo.fresh(Deadline::UNKNOWN, probe_time, async move { found });
        assert_eq!(
            ask(ProbeTime::Shortened, 1).await.expect("a result").result,
            1
        );
        assert_eq!(ask(ProbeTime::Full, 2).await.expect("a result").result, 2);
        assert_eq!(
            ask(ProbeTime::Shortened, 3).await.expect("a result").result,
            2
        );
    }

    #[tokio::test]
    async fn a_clock_that_was_set_back_makes_a_result_stale() {
        let memo = Memo::new(Duration::from_secs(1));
        let ahead = now()
            .checked_add(SignedDuration::from_hours(1))
            .expect("an instant");
        *memo.last.lock().await = Some(("old", ahead));
        let found = memo
            .fresh(Deadline::UNKNOWN, ProbeTime::Full, async { "new" })
            .await;
        assert_eq!(found.expect("a result").result, "new");
    }
}
