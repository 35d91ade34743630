//! Points in time. With them, the code records when a payment changed, and checks whether a payment is due for closing or an event
//! is recent.
//!
//! A wrong clock can cancel a payment early or refuse an event. It cannot charge a payment twice. The text of a timestamp has a fixed
//! width. So the order of the texts is the order of the times.

use std::fmt;
use std::time::Duration;

use jiff::Timestamp as Instant;
use serde::{Deserialize, Serialize};

/// A point in time with millisecond precision.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Timestamp(Instant);

impl Timestamp {
    /// The start of the year 1970 (UTC).
    pub const EPOCH: Self = Self(Instant::UNIX_EPOCH);

    /// The end of the year 9999, later than any timestamp in use.
    pub const FAR: Self = Self(Instant::constant(253_402_207_199, 0));

    /// The current time by this machine's clock.
    #[expect(
        clippy::disallowed_methods,
        reason = "the only clock of payments; no decision to run or to charge depends on it"
    )]
    pub fn now() -> Self {
        let now = Instant::now().as_millisecond();
        Self(Instant::from_millisecond(now).unwrap_or(Instant::UNIX_EPOCH))
    }

    /// The timestamp that is earlier by `duration`.
    #[must_use]
    pub fn before(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(duration).unwrap_or(self.0))
    }

    /// The timestamp that is later by `duration`.
    #[must_use]
    pub fn after(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(duration).unwrap_or(self.0))
    }

    /// The time from this timestamp to `now`; zero if `now` is earlier.
    pub fn age(self, now: Self) -> Duration {
        Duration::try_from(now.0.duration_since(self.0)).unwrap_or_default()
    }

    /// The number of seconds since the start of 1970.
    pub fn as_unix_seconds(self) -> i64 {
        self.0.as_second()
    }
}

/// Formats the time by RFC 3339, in UTC.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.strftime("%Y-%m-%dT%H:%M:%S.%3fZ").fmt(f)
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl From<Timestamp> for String {
    fn from(timestamp: Timestamp) -> Self {
        timestamp.to_string()
    }
}

impl TryFrom<String> for Timestamp {
    type Error = jiff::Error;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Ok(Self(text.parse()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn written_timestamps_sort_by_time() {
        let timestamps = [
            0,
            1,
            999_999,
            1_000_000,
            59_999_999_999,
            1_800_000_000_000_000,
        ]
        .map(|micros| Timestamp(Instant::from_microsecond(micros).expect("a time")));
        for pair in timestamps.windows(2) {
            let [earlier, later] = [pair[0], pair[1]].map(|timestamp| timestamp.to_string());
            assert!(
                earlier <= later && earlier.len() == later.len(),
                "{earlier} {later}"
            );
        }
        assert_eq!(Timestamp::EPOCH.to_string(), "1970-01-01T00:00:00.000Z");
    }

    #[test]
    fn an_age_is_never_negative() {
        let now = Timestamp::now();
        let earlier = now.before(Duration::from_secs(60));
        assert_eq!(earlier.age(now), Duration::from_secs(60));
        assert_eq!(now.age(earlier), Duration::ZERO);
    }
}
