//! May a secret be read again?

use std::time::Duration;

/// What reading a secret has come to lately.
#[derive(Default)]
pub(super) struct Pace {
    /// When it was read last, in wall-clock milliseconds.
    read_ms: Option<u64>,
    /// How many reads in a row were of no use.
    in_vain: u32,
    longest: Duration,
}

/// What a read has brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Brought {
    /// Another value than before.
    News,
    /// The same one, as was to be expected: its time was over.
    AsDue,
    /// The same one, although it had been refused.
    NothingNew,
    /// No answer.
    Failure,
}

const SHORTEST_PAUSE: Duration = Duration::from_secs(1);
/// What is refused for another reason than its age is refused again and again.
const LONGEST_PAUSE: Duration = Duration::from_secs(64);
/// Without a value nothing works, so an outage is not waited out for as long.
const LONGEST_PAUSE_AFTER_FAILURE: Duration = Duration::from_secs(8);

impl Pace {
    /// Whether it may be read at `now_ms`. A clock that was set back proves nothing, so it may.
    pub(super) fn allows(&self, now_ms: u64) -> bool {
        let since = self.read_ms.and_then(|read_ms| now_ms.checked_sub(read_ms));
        since.is_none_or(|since_ms| u128::from(since_ms) >= self.pause().as_millis())
    }

    /// Notes that it was read at `now_ms`.
    pub(super) fn note(&mut self, brought: Brought, now_ms: u64) {
        self.read_ms = Some(now_ms);
        match brought {
            Brought::News | Brought::AsDue => self.in_vain = 0,
            Brought::NothingNew | Brought::Failure => self.in_vain = self.in_vain.saturating_add(1),
        }
        self.longest = match brought {
            Brought::Failure => LONGEST_PAUSE_AFTER_FAILURE,
            _ => LONGEST_PAUSE,
        };
    }

    /// None after news: what is refused with a value that was just read may have been replaced since.
    fn pause(&self) -> Duration {
        let Some(doublings) = self.in_vain.checked_sub(1) else {
            return Duration::ZERO;
        };
        let factor = 2_u32.saturating_pow(doublings);
        SHORTEST_PAUSE.saturating_mul(factor).min(self.longest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The instants, in seconds of an hour, at which something that is tried every second reads.
    fn reads(brought: impl Fn(u64) -> Brought) -> Vec<u64> {
        let mut pace = Pace::default();
        let mut reads = Vec::new();
        for second in 0..3_600 {
            if pace.allows(second * 1_000) {
                pace.note(brought(second), second * 1_000);
                reads.push(second);
            }
        }
        reads
    }

    #[test]
    fn asking_in_vain_becomes_rare() {
        let reads = reads(|_| Brought::NothingNew);
        assert_eq!(reads[..8], [0, 1, 3, 7, 15, 31, 63, 127]);
        assert!(reads.len() < 65, "{}", reads.len());
    }

    #[test]
    fn an_outage_is_asked_about_every_eight_seconds() {
        assert_eq!(reads(|_| Brought::Failure)[..6], [0, 1, 3, 7, 15, 23]);
    }

    #[test]
    fn news_are_followed_up_at_once() {
        let brought = |second| match second {
            31 => Brought::News,
            _ => Brought::NothingNew,
        };
        assert_eq!(reads(brought)[..8], [0, 1, 3, 7, 15, 31, 32, 33]);
    }

    #[test]
    fn a_clock_that_was_set_back_stops_nothing() {
        let mut pace = Pace::default();
        for _ in 0..40 {
            pace.note(Brought::NothingNew, 1_000_000);
        }
        assert!(!pace.allows(1_063_999));
        assert!(pace.allows(1_064_000));
        assert!(pace.allows(999_999));
    }
}
