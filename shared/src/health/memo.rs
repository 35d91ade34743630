//! The last result of a probe, reused while it is fresh.
//!
//! One probe runs at a time. A request that arrives meanwhile waits for it and takes its result, so a storm of requests
//! costs one probe. No task refreshes anything: a result grows old, and the next request replaces it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use foundation::deadline::{Deadline, Elapsed};
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use telemetry::logging;
use tokio::sync::Mutex;

/// Keeps one result for a while.
pub(super) struct Memo<T> {
    keep: Duration,
    last: Mutex<Option<(T, Timestamp)>>,
    /// How many probes have left a result. A request that saw fewer when it came takes the one it waited for.
    finished: AtomicU64,
}

/// Whether a probe has all the time it should have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Haste {
    /// It has: what it finds is worth keeping.
    None,
    /// Its request is nearly out of time: what it finds is for that one alone.
    Hurried,
}

/// A result and its age, as answers show it.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Dated<T> {
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

    /// The last result if it is fresh, else that of `probe`.
    ///
    /// # Errors
    ///
    /// [`Elapsed`] when another request's probe still ran at `deadline`.
    ///
    /// # Cancel safety
    ///
    /// A dropped probe leaves the last result as it was; whoever waits probes next.
    pub(super) async fn fresh(
        &self,
        deadline: Deadline,
        haste: Haste,
        probe: impl Future<Output = T>,
    ) -> Result<Dated<T>, Elapsed> {
        let finished_before = self.finished.load(Ordering::Acquire);
        let mut last = deadline.bound(self.last.lock()).await?;
        if let Some((result, checked)) = &*last {
            let now = now();
            let is_new = self.finished.load(Ordering::Acquire) != finished_before;
            if is_new || is_fresh(now.duration_since(*checked), self.keep) {
                return Ok(Dated::new(result.clone(), *checked, now));
            }
        }
        let result = probe.await;
        let now = now();
        if haste == Haste::None {
            *last = Some((result.clone(), now));
            self.finished.fetch_add(1, Ordering::Release);
        }
        Ok(Dated::new(result, now, now))
    }
}

impl Haste {
    /// Judged by the time that is left and the time a probe should have.
    pub(super) fn of(deadline: Deadline, full: Duration) -> Self {
        if deadline.clip(full) < full {
            Self::Hurried
        } else {
            Self::None
        }
    }
}

impl<T> Dated<T> {
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
    reason = "only the wall clock runs on while the process is frozen; nothing but a probe depends on it"
)]
fn now() -> Timestamp {
    Timestamp::now()
}

/// Judged by the wall clock, which runs on while the process is frozen. A result from the future is not fresh.
fn is_fresh(age: SignedDuration, keep: Duration) -> bool {
    Duration::try_from(age).is_ok_and(|age| age < keep)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;

    #[test]
    fn a_result_is_fresh_for_as_long_as_it_is_kept() {
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
    async fn who_comes_while_a_probe_runs_takes_its_result_even_if_none_is_kept() {
        let memo = Memo::new(Duration::ZERO);
        let probes = AtomicUsize::new(0);
        let ask = || {
            memo.fresh(Deadline::UNKNOWN, Haste::None, async {
                tokio::time::sleep(Duration::from_millis(20)).await;
                probes.fetch_add(1, Ordering::Relaxed)
            })
        };
        let (first, second, third) = tokio::join!(ask(), ask(), ask());
        assert_eq!(
            [first, second, third].map(|dated| dated.expect("a result").result),
            [0, 0, 0]
        );
    }

    #[tokio::test]
    async fn who_cannot_wait_for_the_probe_of_another_is_told() {
        let memo = Memo::<()>::new(Duration::ZERO);
        let deadline = Deadline::after(Duration::from_millis(10));
        let (_, waiting) = tokio::join!(
            tokio::time::timeout(
                Duration::from_millis(30),
                memo.fresh(Deadline::UNKNOWN, Haste::None, std::future::pending())
            ),
            memo.fresh(deadline, Haste::None, async {}),
        );
        assert!(waiting.is_err());
    }

    #[tokio::test]
    async fn what_a_hurried_probe_finds_is_for_its_own_request() {
        let memo = Memo::new(Duration::from_secs(60));
        let ask = |haste, found| memo.fresh(Deadline::UNKNOWN, haste, async move { found });
        assert_eq!(ask(Haste::Hurried, 1).await.expect("a result").result, 1);
        assert_eq!(ask(Haste::None, 2).await.expect("a result").result, 2);
        assert_eq!(ask(Haste::Hurried, 3).await.expect("a result").result, 2);
    }

    #[tokio::test]
    async fn a_clock_that_was_set_back_makes_no_result_last() {
        let memo = Memo::new(Duration::from_secs(1));
        let ahead = now()
            .checked_add(SignedDuration::from_hours(1))
            .expect("an instant");
        *memo.last.lock().await = Some(("old", ahead));
        let found = memo
            .fresh(Deadline::UNKNOWN, Haste::None, async { "new" })
            .await;
        assert_eq!(found.expect("a result").result, "new");
    }
}
