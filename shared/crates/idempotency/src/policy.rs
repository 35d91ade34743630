//! What happens when an attempt ends without a word: its process died, was frozen, or lost the network.

use std::time::Duration;

use super::store_time::whole_ms;

/// Whether work may run again that may have run already.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Policy {
    /// Never. The outcome is unknown until somebody settles it.
    #[default]
    AtMostOnce,
    /// As long as its provider recognises the derived key, and so takes both runs for one.
    Rerun {
        /// For how long after the key was first seen a run may still begin and end.
        within: Duration,
    },
    /// Always: for work that looks first and resumes where it was left.
    RerunAlways,
}

/// How early before the end of a provider's retention a request has to be on its way, for clocks that differ.
const MARGIN: Duration = Duration::from_secs(60);
/// What records hold for [`Policy::RerunAlways`], thirteen digits long.
const ALWAYS_MS: u64 = 9_999_999_999_999;

impl Policy {
    /// May run again while a provider that recognises a key for `retention` does so, with `send_timeout` left to send it.
    pub fn rerun_within(retention: Duration, send_timeout: Duration) -> Self {
        match retention.checked_sub(send_timeout.saturating_add(MARGIN)) {
            Some(within) if within >= Duration::from_millis(1) => Self::Rerun { within },
            _ => Self::AtMostOnce,
        }
    }

    /// The one of the two that lets less happen.
    #[must_use]
    pub fn stricter(self, other: Self) -> Self {
        if other.to_bound_ms() < self.to_bound_ms() {
            other
        } else {
            self
        }
    }

    /// The policy as records hold it: for how many milliseconds after the key was first seen it may run again.
    pub(super) fn to_bound_ms(self) -> u64 {
        match self {
            Self::AtMostOnce => 0,
            Self::Rerun { within } => whole_ms(within).min(ALWAYS_MS - 1),
            Self::RerunAlways => ALWAYS_MS,
        }
    }

    /// The policy that a record holds.
    pub(super) fn from_bound_ms(bound_ms: u64) -> Self {
        match bound_ms {
            0 => Self::AtMostOnce,
            ALWAYS_MS.. => Self::RerunAlways,
            _ => Self::Rerun {
                within: Duration::from_millis(bound_ms),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rerun_leaves_the_time_to_send() {
        let hours = |hours: u64| Duration::from_secs(hours * 3600);
        let day = Policy::rerun_within(hours(24), Duration::from_secs(30));
        assert_eq!(
            day,
            Policy::Rerun {
                within: hours(24) - Duration::from_secs(90)
            }
        );
        let none = Policy::rerun_within(Duration::from_secs(60), Duration::from_secs(1));
        assert_eq!(none, Policy::AtMostOnce);
        let (send, moment) = (Duration::from_secs(1), Duration::from_millis(1));
        let exact = Policy::rerun_within(MARGIN + send, send);
        assert_eq!(exact, Policy::AtMostOnce);
        let least = Policy::rerun_within(MARGIN + send + moment, send);
        assert_eq!(least, Policy::Rerun { within: moment });
    }

    #[test]
    fn the_stricter_policy_wins_and_records_hold_each() {
        let within = |ms| Policy::Rerun {
            within: Duration::from_millis(ms),
        };
        let by_strictness = [
            Policy::AtMostOnce,
            within(1),
            within(500),
            Policy::RerunAlways,
        ];
        for (at, policy) in by_strictness.into_iter().enumerate() {
            assert_eq!(Policy::from_bound_ms(policy.to_bound_ms()), policy);
            for stricter in &by_strictness[..at] {
                assert_eq!(policy.stricter(*stricter), *stricter);
                assert_eq!(stricter.stricter(policy), *stricter);
            }
        }
        let longest = within(u64::MAX);
        assert_eq!(longest.stricter(Policy::RerunAlways), longest);
        assert_eq!(Policy::RerunAlways.stricter(longest), longest);
    }
}
