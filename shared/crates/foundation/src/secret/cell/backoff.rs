//! Limits how often a secret is read from its store.

use std::time::Duration;

/// The outcome of the last reads of a secret. It determines the pause before the next read.
#[derive(Default)]
pub(super) struct ReadBackoff {
    /// The time of the last read, in wall-clock milliseconds.
    read_ms: Option<u64>,
    /// The number of consecutive reads that failed, or that returned a value which a server had rejected.
    useless_reads: u32,
    /// The longest pause, which depends on the last outcome.
    longest: Duration,
}

/// The outcome of a read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ReadOutcome {
    /// The store has a new value.
    NewValue,
    /// The store has the same value, and no server had rejected the value. The secret was read again only because its
    /// time to live was over.
    StillValid,
    /// The store still has a value that a server had rejected.
    StillRejected,
    /// The store returned no value.
    Failure,
}

const SHORTEST_PAUSE: Duration = Duration::from_secs(1);
/// The longest pause while the value stays the same. A value may be rejected for another reason than its age. Without a
/// pause, it would be read again and again.
const LONGEST_PAUSE: Duration = Duration::from_secs(64);
/// The longest pause after a failure. This pause is shorter, because a function without a value cannot work.
const LONGEST_PAUSE_AFTER_FAILURE: Duration = Duration::from_secs(8);

impl ReadBackoff {
    /// Whether the secret may be read at `now_ms`. If the clock was set back, the secret may be read.
    pub(super) fn allows(&self, now_ms: u64) -> bool {
        let since = self.read_ms.and_then(|read_ms| now_ms.checked_sub(read_ms));
        since.is_none_or(|since_ms| u128::from(since_ms) >= self.pause().as_millis())
    }

    /// Records a read at `now_ms`.
    pub(super) fn record(&mut self, outcome: ReadOutcome, now_ms: u64) {
        self.read_ms = Some(now_ms);
        match outcome {
            ReadOutcome::NewValue | ReadOutcome::StillValid => self.useless_reads = 0,
            ReadOutcome::StillRejected | ReadOutcome::Failure => {
                self.useless_reads = self.useless_reads.saturating_add(1)
            }
        }
        self.longest = match outcome {
            ReadOutcome::Failure => LONGEST_PAUSE_AFTER_FAILURE,
            _ => LONGEST_PAUSE,
        };
    }

    /// Returns the pause before the next read. After a new value, there is no pause: if a server rejects that value,
    /// the secret may have been rotated again.
    fn pause(&self) -> Duration {
        let Some(doublings) = self.useless_reads.checked_sub(1) else {
            return Duration::ZERO;
        };
        let factor = 2_u32.saturating_pow(doublings);
        SHORTEST_PAUSE.saturating_mul(factor).min(self.longest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A caller tries to read a secret in every second of an hour. Returns the seconds in which the secret is read.
    fn reads(outcome: impl Fn(u64) -> ReadOutcome) -> Vec<u64> {
        let mut backoff = ReadBackoff::default();
        let mut reads = Vec::new();
        for second in 0..3_600 {
            if backoff.allows(second * 1_000) {
                backoff.record(outcome(second), second * 1_000);
                reads.push(second);
            }
        }
        reads
    }

    #[test]
    fn useless_reads_become_rare() {
        let reads = reads(|_| ReadOutcome::StillRejected);
        assert_eq!(reads[..8], [0, 1, 3, 7, 15, 31, 63, 127]);
        assert!(reads.len() < 65, "{}", reads.len());
    }

    #[test]
    fn a_store_in_an_outage_is_read_every_eight_seconds() {
        assert_eq!(reads(|_| ReadOutcome::Failure)[..6], [0, 1, 3, 7, 15, 23]);
    }

    #[test]
    fn a_new_value_resets_the_pause() {
        let outcome = |second| match second {
            31 => ReadOutcome::NewValue,
            _ => ReadOutcome::StillRejected,
        };
        assert_eq!(reads(outcome)[..8], [0, 1, 3, 7, 15, 31, 32, 33]);
    }

    #[test]
    fn a_clock_that_was_set_back_does_not_block_reads() {
        let mut backoff = ReadBackoff::default();
        for _ in 0..40 {
            backoff.record(ReadOutcome::StillRejected, 1_000_000);
        }
        assert!(!backoff.allows(1_063_999));
        assert!(backoff.allows(1_064_000));
        assert!(backoff.allows(999_999));
    }
}
