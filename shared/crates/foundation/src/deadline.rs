//! The deadline of an invocation.
//!
//! Lambda sends the instant at which an invocation ends. Every wait of a function must end before that instant. A
//! [`Deadline`] is that instant. The code reads it once, when the invocation arrives, and passes it to every wait. The
//! monotonic clock then measures the time to the deadline, so the deadline never moves later.
//!
//! Lambda sends the instant as wall-clock milliseconds. `cargo lambda watch` sends an instant that is ten minutes after
//! the Unix epoch. So an instant before the start of this process counts as unknown. Any other instant in the past is a
//! deadline that is over.

use std::future::Future;
use std::time::{Duration, SystemTime};

use tokio::time::Instant;

/// The instant by which a response is due, or an unknown instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deadline(Option<Instant>);

/// The deadline passed before the awaited future was ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("deadline exceeded")]
pub struct Elapsed;

impl Deadline {
    /// An unknown deadline: each wait has only its own time limit.
    pub const UNKNOWN: Self = Self(None);

    /// Creates a deadline that passes `limit` after this call.
    pub fn after(limit: Duration) -> Self {
        Self(Instant::now().checked_add(limit))
    }

    /// Creates the deadline of an invocation from the epoch milliseconds that Lambda sent with it.
    pub fn of_invocation(epoch_ms: u64, process_started: SystemTime) -> Self {
        #[expect(
            clippy::disallowed_methods,
            reason = "Lambda sends the deadline in wall-clock time, and only this function converts it"
        )]
        let now = SystemTime::now();
        time_left(epoch_ms, process_started, now).map_or(Self::UNKNOWN, Self::after)
    }

    /// Returns a deadline that passes `limit` after this call, or this deadline if it passes sooner.
    #[must_use]
    pub fn within(self, limit: Duration) -> Self {
        match (self, Self::after(limit)) {
            (Self(Some(own)), Self(Some(other))) => Self(Some(own.min(other))),
            (Self(None), other) => other,
            (own, Self(None)) => own,
        }
    }

    /// Returns a deadline that is sooner by `reserve`. The reserved time is for work after this deadline, for example
    /// for sending the response.
    #[must_use]
    pub fn reserving(self, reserve: Duration) -> Self {
        Self(
            self.0
                .map(|instant| instant.checked_sub(reserve).unwrap_or_else(Instant::now)),
        )
    }

    /// Returns the time left, which is zero after the deadline; `None`: the deadline is unknown.
    pub fn remaining(self) -> Option<Duration> {
        self.0
            .map(|instant| instant.saturating_duration_since(Instant::now()))
    }

    /// Whether the deadline has passed.
    pub fn is_over(self) -> bool {
        self.remaining().is_some_and(|left| left.is_zero())
    }

    /// Returns `limit`, or the time left if that is less.
    pub fn clip(self, limit: Duration) -> Duration {
        self.remaining()
            .map_or(limit, |remaining| remaining.min(limit))
    }

    /// Waits for `future` until the deadline.
    ///
    /// # Errors
    ///
    /// [`Elapsed`] if the deadline passes first.
    ///
    /// # Cancel safety
    ///
    /// `future` is dropped at its current await, both at the deadline and when this future is dropped.
    pub async fn bound<F: Future>(self, future: F) -> Result<F::Output, Elapsed> {
        match self.0 {
            Some(instant) => tokio::time::timeout_at(instant, future)
                .await
                .map_err(|_| Elapsed),
            None => Ok(future.await),
        }
    }
}

fn time_left(epoch_ms: u64, process_started: SystemTime, now: SystemTime) -> Option<Duration> {
    let deadline = SystemTime::UNIX_EPOCH.checked_add(Duration::from_millis(epoch_ms))?;
    if deadline < process_started {
        return None;
    }
    Some(deadline.duration_since(now).unwrap_or(Duration::ZERO))
}

#[cfg(test)]
mod tests {
    use super::*;

    const STARTED_MS: u64 = 1_800_000_000_000;

    fn at(epoch_ms: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_millis(epoch_ms)
    }

    #[test]
    fn a_deadline_before_the_start_of_the_process_is_unknown() {
        let cases = [
            (
                "ahead",
                STARTED_MS + 5_000,
                Some(Duration::from_millis(4_000)),
            ),
            ("now", STARTED_MS + 1_000, Some(Duration::ZERO)),
            ("over", STARTED_MS + 500, Some(Duration::ZERO)),
            ("as cargo lambda watch sends it", 600_000, None),
            ("just before the process started", STARTED_MS - 1, None),
            (
                "beyond what a clock can hold",
                u64::MAX,
                Some(Duration::from_millis(u64::MAX - STARTED_MS - 1_000)),
            ),
        ];
        for (case, epoch_ms, expected) in cases {
            assert_eq!(
                time_left(epoch_ms, at(STARTED_MS), at(STARTED_MS + 1_000)),
                expected,
                "{case}"
            );
        }
    }

    #[tokio::test]
    async fn a_deadline_never_moves_later() {
        let deadline = Deadline::after(Duration::from_secs(60));
        let sooner = deadline.within(Duration::from_secs(30));
        assert_eq!(deadline.within(Duration::from_secs(90)), deadline);
        assert_eq!(sooner.within(Duration::from_secs(60)), sooner);
        assert!(sooner.remaining() < deadline.remaining());
        assert_eq!(
            deadline.reserving(Duration::from_secs(60)).remaining(),
            Some(Duration::ZERO)
        );
    }

    #[tokio::test]
    async fn an_unknown_deadline_does_not_change_a_limit() {
        let limit = Duration::from_secs(5);
        assert_eq!(Deadline::UNKNOWN.remaining(), None);
        assert_eq!(Deadline::UNKNOWN.clip(limit), limit);
        assert!(Deadline::UNKNOWN.within(limit).remaining() <= Some(limit));
        assert!(Deadline::after(Duration::from_secs(1)).clip(limit) <= Duration::from_secs(1));
    }

    #[tokio::test]
    async fn a_wait_ends_at_the_deadline() {
        let never = std::future::pending::<()>();
        let soon = Deadline::after(Duration::from_millis(10));
        assert_eq!(soon.bound(never).await, Err(Elapsed));
        assert_eq!(Deadline::UNKNOWN.bound(async { 7 }).await, Ok(7));
    }
}
