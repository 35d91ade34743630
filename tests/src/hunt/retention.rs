//! When a key may run again: the rule that the hunt holds the engine to.
//!
//! A result is stored after the work, and counts for the retention. So a second run begins at least that long after the first one was
//! done; a closer one is a second execution of the same request. MongoDB keeps what has not finished for ever. Redis keeps it for the
//! retention after its lease, so an abandoned attempt is forgotten then, however late its request reached the provider.

use std::time::{Duration, Instant};

use super::bank::Run;
use super::stage::LEASE;

/// How long the stage keeps results.
#[derive(Clone, Copy, Debug)]
pub(super) struct Retention {
    /// How long a result counts; `None`: for longer than any hunt.
    pub(super) lasts: Option<Duration>,
    /// Whether abandoned attempts are forgotten too.
    pub(super) forgets_abandoned: bool,
}

/// Stores count in milliseconds, and cut them off at both ends.
const CLOCK_GRANULARITY: Duration = Duration::from_millis(2);

impl Retention {
    /// Whether the second of two runs was allowed to begin, in whichever order they come.
    pub(super) fn separates(self, one: &Run, other: &Run) -> bool {
        let Some(lasts) = self.lasts else {
            return false;
        };
        let (first, second) = if one.done <= other.done {
            (one, other)
        } else {
            (other, one)
        };
        let is_over = |since: Instant| second.arrived + CLOCK_GRANULARITY >= since + lasts;
        let lease_end = first.sent.map(|sent| sent + LEASE);
        is_over(first.done) || self.forgets_abandoned && lease_end.is_some_and(is_over)
    }

    /// Whether a result that a client has heard at `heard` may still be given to a request that is sent at `sent`.
    pub(super) fn covers(self, heard: Duration, sent: Duration) -> bool {
        self.lasts
            .is_none_or(|lasts| sent <= heard + lasts + CLOCK_GRANULARITY)
    }

    /// How often the key ran as new.
    pub(super) fn count_renewals(self, runs: &[Run]) -> usize {
        let pairs = runs.windows(2);
        pairs
            .filter(|pair| self.separates(&pair[0], &pair[1]))
            .count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LASTS: Duration = Duration::from_secs(5);

    fn run(origin: Instant, [sent, arrived, done]: [u64; 3]) -> Run {
        let at = |ms| origin + Duration::from_millis(ms);
        Run {
            result: String::new(),
            is_charge: true,
            sent: Some(at(sent)),
            arrived: at(arrived),
            done: at(done),
        }
    }

    /// The first run is sent at 0, and reaches the provider at once or late.
    #[test]
    fn a_second_run_begins_a_retention_after_the_first_one_was_done() {
        let origin = Instant::now();
        let cases = [
            ("at once", [0, 10, 10], 5_010, [true, true]),
            ("too early", [0, 10, 10], 5_000, [false, false]),
            (
                "late, after its lease",
                [0, 10, 4_000],
                6_000,
                [false, true],
            ),
            (
                "before the lease is forgotten",
                [0, 10, 4_000],
                5_990,
                [false, false],
            ),
        ];
        for (case, first, second, expected) in cases {
            let [first, second] = [first, [second; 3]].map(|times| run(origin, times));
            let separates = [false, true].map(|forgets_abandoned| {
                let retention = Retention {
                    lasts: Some(LASTS),
                    forgets_abandoned,
                };
                assert_eq!(
                    retention.separates(&first, &second),
                    retention.separates(&second, &first)
                );
                retention.separates(&first, &second)
            });
            assert_eq!(separates, expected, "{case}");
        }
    }

    #[test]
    fn without_a_retention_nothing_runs_again() {
        let origin = Instant::now();
        let [first, second] = [[0; 3], [3_600_000; 3]].map(|times| run(origin, times));
        let retention = Retention {
            lasts: None,
            forgets_abandoned: true,
        };
        assert!(!retention.separates(&first, &second));
        assert!(retention.covers(Duration::ZERO, Duration::from_secs(3_600)));
    }
}
