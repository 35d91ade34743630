//! What time it is: since when a payment is what it is, whether it is time to close it, and whether an event is recent.
//!
//! A clock that is wrong can cancel a payment early, or refuse an event; it can never charge one twice. It is written with a
//! fixed width, so that a store which compares texts compares instants.

use std::fmt;
use std::time::Duration;

use jiff::Timestamp as Instant;
use serde::{Deserialize, Serialize};

/// An instant, to the millisecond.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Timestamp(Instant);

impl Timestamp {
    /// 1970.
    pub const EPOCH: Self = Self(Instant::UNIX_EPOCH);

    /// Later than any that is met: the end of the year 9999.
    pub const FAR: Self = Self(Instant::constant(253_402_207_199, 0));

    /// By this machine's clock.
    #[expect(
        clippy::disallowed_methods,
        reason = "the one clock of payments; who may run, and who is charged, does not depend on it"
    )]
    pub fn now() -> Self {
        let now = Instant::now().as_millisecond();
        Self(Instant::from_millisecond(now).unwrap_or(Instant::UNIX_EPOCH))
    }

    /// So long before.
    #[must_use]
    pub fn before(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(duration).unwrap_or(self.0))
    }

    /// So long after.
    #[must_use]
    pub fn after(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(duration).unwrap_or(self.0))
    }

    /// How long ago that was at `now`; zero for what is to come.
    pub fn age(self, now: Self) -> Duration {
        Duration::try_from(now.0.duration_since(self.0)).unwrap_or_default()
    }

    /// Seconds since 1970.
    pub fn as_unix_seconds(self) -> i64 {
        self.0.as_second()
    }
}

/// RFC 3339, in UTC.
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
    fn from(moment: Timestamp) -> Self {
        moment.to_string()
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
    fn texts_compare_as_instants_do() {
        let moments = [
            0,
            1,
            999_999,
            1_000_000,
            59_999_999_999,
            1_800_000_000_000_000,
        ]
        .map(|micros| Timestamp(Instant::from_microsecond(micros).expect("a time")));
        for pair in moments.windows(2) {
            let [earlier, later] = [pair[0], pair[1]].map(|moment| moment.to_string());
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
