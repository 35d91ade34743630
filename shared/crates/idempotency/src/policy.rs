//! Whether another attempt is allowed after an abandoned attempt (crash, freeze, partition).

use std::time::Duration;

use super::store_time::whole_ms;

/// Whether an operation can be attempted again after an attempt that may have taken effect.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Policy {
    /// The operation is never attempted again. The outcome is unknown until the key is resolved.
    #[default]
    AtMostOnce,
    /// The operation may be attempted again while the provider recognises the derived key. The provider then treats
    /// both requests as one.
    Rerun {
        /// The time after the first claim within which another attempt has to start and end.
        within: Duration,
    },
    /// The operation may always be attempted again. This policy is for operations that check their state first and
    /// then resume.
    RerunAlways,
}

/// The least time between the last request and the end of the provider's retention. It is a safety margin, because
/// clocks differ.
const MARGIN: Duration = Duration::from_secs(60);
/// The bound that records store for [`Policy::RerunAlways`]. It is the largest number of thirteen digits.
const ALWAYS_MS: u64 = 9_999_999_999_999;

impl Policy {
    /// Allows reruns while a provider with this `retention` recognises a key. The time `send_timeout` is reserved for
    /// sending the request. If no time remains for a rerun, returns [`Policy::AtMostOnce`].
    pub fn rerun_within(retention: Duration, send_timeout: Duration) -> Self {
        match retention.checked_sub(send_timeout.saturating_add(MARGIN)) {
            Some(within) if within >= Duration::from_millis(1) => Self::Rerun { within },
            _ => Self::AtMostOnce,
        }
    }

    /// Returns the stricter of the two policies.
    #[must_use]
    pub fn stricter(self, other: Self) -> Self {
        if other.to_bound_ms() < self.to_bound_ms() {
            other
        } else {
            self
        }
    }

    /// The bound that records store: the milliseconds after the first claim within which a rerun has to start and end.
    pub(super) fn to_bound_ms(self) -> u64 {
        match self {
            Self::AtMostOnce => 0,
            Self::Rerun { within } => whole_ms(within).min(ALWAYS_MS - 1),
            Self::RerunAlways => ALWAYS_MS,
        }
    }

    /// Returns the policy for a stored bound.
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
    fn a_rerun_leaves_time_to_send() {
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
    fn the_stricter_policy_wins_and_each_policy_survives_storage() {
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
