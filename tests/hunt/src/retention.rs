//! The rule that decides when the work of a key is allowed to run again. The hunt checks the engine against this rule.
//!
//! A result is stored after the work and kept for the retention. So a second run is allowed to begin only when one retention
//! has passed since the end of the first run. A second run before that time is a double execution. MongoDB keeps unfinished
//! records for ever. Redis keeps an unfinished record for one retention after its lease. Then Redis forgets the abandoned
//! attempt, even if the request of that attempt reaches the provider later.

use std::time::{Duration, Instant};

use super::LEASE;
use super::run::Run;
use super::story::FinalAnswer;

/// The retention of results in a hunt.
#[derive(Clone, Copy, Debug)]
pub(super) struct Retention {
    /// The length of the retention; `None` if it is longer than any hunt.
    pub(super) lasts: Option<Duration>,
    /// Whether the store also forgets abandoned attempts: true for Redis, false for MongoDB. Such a store can also lose a result
    /// before it acknowledges the result. Then the attempt stores the result again.
    pub(super) forgets_abandoned: bool,
    /// The start of the hunt.
    pub(super) began: Instant,
}

/// The maximum rounding error of a retention. Stores round the start and the end of a retention down to whole milliseconds.
const CLOCK_GRANULARITY: Duration = Duration::from_millis(2);

impl Retention {
    /// Whether the second of two runs was allowed to begin. The arguments can be in any order.
    pub(super) fn separates(self, one: &Run, other: &Run) -> bool {
        let Some(lasts) = self.lasts else {
            return false;
        };
        let (first, second) = in_order(one, other);
        let is_over = |since: Instant| second.arrived + CLOCK_GRANULARITY >= since + lasts;
        let lease_end = first.sent.map(|sent| sent + LEASE);
        is_over(first.done) || self.forgets_abandoned && lease_end.is_some_and(is_over)
    }

    /// Whether a request that was sent after the end of the result's retention still got this result.
    pub(super) fn is_outlived_by(self, answer: &FinalAnswer, run: &Run) -> bool {
        let Some(lasts) = self.lasts else {
            return false;
        };
        // If Redis loses the result, the request of the run stores the result again. So with Redis, the retention begins at the
        // last response to a request that was sent before the end of the run.
        let waiting = answer.receipts.iter().filter(|receipt| {
            let sent = self.began + receipt.sent;
            self.forgets_abandoned && sent <= run.done
        });
        let stored = waiting
            .map(|receipt| receipt.received)
            .fold(answer.first_received(), Duration::max);
        answer.last_sent() > stored + lasts + CLOCK_GRANULARITY
    }

    /// The number of times that the work ran again after a retention.
    pub(super) fn count_renewals(self, runs: &[Run]) -> usize {
        let pairs = runs.windows(2);
        pairs
            .filter(|pair| self.separates(&pair[0], &pair[1]))
            .count()
    }
}

/// Two runs in the order of their arrival at the provider.
pub(super) fn in_order<'a>(one: &'a Run, other: &'a Run) -> (&'a Run, &'a Run) {
    if one.arrived <= other.arrived {
        (one, other)
    } else {
        (other, one)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pool::ClientResponse;
    use crate::story::Receipt;

    const LASTS: Duration = Duration::from_secs(5);

    fn retention(began: Instant, forgets_abandoned: bool) -> Retention {
        Retention {
            lasts: Some(LASTS),
            forgets_abandoned,
            began,
        }
    }

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

    /// Each case has the times of the first run (sent, arrived, done) and the arrival of the second run. It also has whether
    /// MongoDB and Redis allow the second run.
    #[test]
    fn a_second_run_may_begin_one_retention_after_the_end_of_the_first() {
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
            (
                "done after the second one",
                [0, 10, 9_000],
                6_000,
                [false, true],
            ),
        ];
        for (case, first, second, expected) in cases {
            let [first, second] = [first, [second; 3]].map(|times| run(origin, times));
            let separates = [false, true].map(|forgets_abandoned| {
                let retention = retention(origin, forgets_abandoned);
                let separates = retention.separates(&first, &second);
                assert_eq!(separates, retention.separates(&second, &first));
                separates
            });
            assert_eq!(separates, expected, "{case}");
        }
    }

    /// Each case has the time of the response to the run's request, and the time of the last request. It also has whether the
    /// result had expired by then in MongoDB and in Redis.
    #[test]
    fn a_result_expires_one_retention_after_it_was_stored() {
        let origin = Instant::now();
        let run = run(origin, [0, 10, 10]);
        let cases = [
            ("at once", 30, 5_030, [false, false]),
            ("too late", 30, 5_040, [true, true]),
            ("stored again", 1_000, 6_000, [true, false]),
        ];
        for (case, own_heard, last_sent, expected) in cases {
            let receipts = [(0, own_heard), (20, 30), (last_sent, last_sent)];
            let receipts = receipts.map(|(sent, received)| Receipt {
                sent: Duration::from_millis(sent),
                received: Duration::from_millis(received),
            });
            let answer = FinalAnswer {
                response: ClientResponse {
                    status: 201,
                    body: String::new(),
                },
                receipts: receipts.to_vec(),
            };
            let is_outlived = [false, true].map(|forgets_abandoned| {
                retention(origin, forgets_abandoned).is_outlived_by(&answer, &run)
            });
            assert_eq!(is_outlived, expected, "{case}");
        }
    }

    #[test]
    fn without_a_retention_nothing_runs_again() {
        let origin = Instant::now();
        let [first, second] = [[0; 3], [3_600_000; 3]].map(|times| run(origin, times));
        let retention = Retention {
            lasts: None,
            ..retention(origin, true)
        };
        assert!(!retention.separates(&first, &second));
    }
}
