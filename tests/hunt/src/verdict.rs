//! Checks a payment: compares the responses to clients with the provider's charges, and explains each violation.

use std::fmt;
use std::time::Duration;

use super::bank::{self, Bank};
use super::faults::FaultPeriod;
use super::retention::{self, Retention};
use super::run::Run;
use super::story::{FinalAnswer, Story};
use super::{Round, Work};

/// A violation of a guarantee.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Finding {
    /// The payment was charged a second time within the retention of the first charge.
    DoubleCharge,
    /// A client got the response "charged", but the provider has no charge.
    LostAnswer,
    /// The payment has two different final responses, or a response that is never allowed.
    Contradiction,
    /// A request got an old result. Before the request was sent, the result had expired, or a client had a newer result.
    StaleAnswer,
    /// The payment is charged, but its client got the response "declined" or never got the response "charged".
    UnreportedCharge,
    /// The client has no final response at the end.
    Unanswered,
    /// A process crashed or timed out during a request of the client, although the hunt had not killed or frozen that
    /// process.
    Failure,
}

impl fmt::Display for Finding {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::DoubleCharge => "double charges",
            Self::LostAnswer => "lost answers",
            Self::Contradiction => "contradictions",
            Self::StaleAnswer => "stale answers",
            Self::UnreportedCharge => "unreported charges",
            Self::Unanswered => "unanswered",
            Self::Failure => "failures",
        })
    }
}

/// The violations of a payment that has these responses and executions.
pub(super) fn findings(
    work: Work,
    retention: Retention,
    story: &Story,
    runs: &[Run],
) -> Vec<Finding> {
    let is_charged = bank::charges(runs).next().is_some();
    let has_response = |status| of_status(story, status).next().is_some();
    let separates = |run: Option<&Run>, other: Option<&Run>| match (run, other) {
        (Some(run), Some(other)) => retention.separates(run, other),
        _ => false,
    };
    // With `Rerun`, one run can charge and another run can be declined. So a charge contradicts a decline only for other work.
    let mut declines = of_status(story, 402).map(|answer| run_of(answer, runs));
    let is_contradicted = work.charges_once()
        && declines.any(|run| bank::charges(runs).any(|charge| !separates(run, Some(charge))));
    let is_unreported = work.always_settles() && is_charged && !has_response(201);
    let is_contradictory = !story.invalid_responses.is_empty()
        || pairs(&story.finals)
            .any(|(one, other)| !separates(run_of(one, runs), run_of(other, runs)));
    let is_unanswered = work.always_settles() && story.finals.is_empty();
    let is_charged_twice = bank::is_charged_twice(runs, retention);
    let is_stale = work != Work::Payments && has_stale_answer(retention, story, runs);
    let all = [
        (
            Finding::DoubleCharge,
            work.charges_once() && is_charged_twice,
        ),
        (Finding::LostAnswer, has_response(201) && !is_charged),
        (Finding::Contradiction, is_contradictory),
        (Finding::StaleAnswer, is_stale),
        (Finding::UnreportedCharge, is_unreported || is_contradicted),
        (Finding::Unanswered, is_unanswered),
        (Finding::Failure, !story.failures.is_empty()),
    ];
    let found = all.into_iter().filter(|(_, is_found)| *is_found);
    found.map(|(finding, _)| finding).collect()
}

/// Whether the finding is permanent: no later response can remove it.
pub(super) fn is_permanent(finding: Finding) -> bool {
    use Finding::{Contradiction, DoubleCharge, StaleAnswer};
    [DoubleCharge, Contradiction, StaleAnswer].contains(&finding)
}

fn of_status(story: &Story, status: u16) -> impl Iterator<Item = &FinalAnswer> {
    let answers = story.finals.iter();
    answers.filter(move |answer| answer.response.status == status)
}

/// The run that produced a response.
fn run_of<'a>(answer: &FinalAnswer, runs: &'a [Run]) -> Option<&'a Run> {
    let result = answer.result()?;
    runs.iter().find(|run| run.result == result)
}

/// All pairs of two different elements, each pair in the order of the slice.
fn pairs<T>(all: &[T]) -> impl Iterator<Item = (&T, &T)> {
    let numbered = all.iter().enumerate();
    numbered.flat_map(|(number, one)| all[number + 1..].iter().map(move |other| (one, other)))
}

/// Whether a request got an old result. Before the request was sent, the result had expired, or a client had a newer result.
fn has_stale_answer(retention: Retention, story: &Story, runs: &[Run]) -> bool {
    let is_over = |answer: &FinalAnswer| {
        run_of(answer, runs).is_some_and(|run| retention.is_outlived_by(answer, run))
    };
    let comes_after_later = |(one, other): (&FinalAnswer, &FinalAnswer)| {
        let (Some(run), Some(other_run)) = (run_of(one, runs), run_of(other, runs)) else {
            return false;
        };
        let (first, _) = retention::in_order(run, other_run);
        let (earlier, later) = if first.result == run.result {
            (one, other)
        } else {
            (other, one)
        };
        earlier.last_sent() > later.first_received()
    };
    story.finals.iter().any(is_over) || pairs(&story.finals).any(comes_after_later)
}

/// The history of a payment and of the faults around it, in chronological order.
pub(super) fn lines(
    round: &Round<'_>,
    order: usize,
    story: &Story,
    bank: &Bank,
    fault_periods: &[FaultPeriod],
) -> Vec<String> {
    let mut lines = story.lines.clone();
    let charges = bank::charges(bank.runs(order));
    lines.extend(charges.map(|charge| (round.since(charge.done), "CHARGED".to_owned())));
    let asked = bank.history(order).iter();
    lines.extend(asked.map(|(at, line)| (round.since(*at), line.clone())));
    lines.extend(meanwhile(story, fault_periods));
    lines.sort();
    let lines = lines.iter();
    lines
        .map(|(at, line)| format!("{:>7} ms {line}", at.as_millis()))
        .collect()
}

/// The faults during a payment: from the client's first request to its first final response. If the client got several
/// different final responses, the period ends at the first arrival of the latest of these responses.
fn meanwhile(
    story: &Story,
    fault_periods: &[FaultPeriod],
) -> impl Iterator<Item = (Duration, String)> {
    let began = story.began.unwrap_or_default();
    let answers = story.finals.iter();
    let ended = answers.map(FinalAnswer::first_received).max();
    let meanwhile = fault_periods
        .iter()
        .filter(move |period| period.to >= began && ended.is_none_or(|ended| period.from <= ended));
    meanwhile.map(|period| {
        let until = period.to.as_millis();
        (
            period.from,
            format!("fault {} until {until} ms", period.fault),
        )
    })
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::pool::ClientResponse;
    use crate::story::Receipt;

    fn kept_for(lasts: Option<Duration>) -> Retention {
        Retention {
            lasts,
            forgets_abandoned: false,
            began: Instant::now(),
        }
    }

    /// A response with the result `ch_<number>`, which two requests got. The first request got it at `first_received_ms`. The
    /// second request was sent at `last_sent_ms`.
    fn answer(status: u16, number: u64, last_sent_ms: u64, first_received_ms: u64) -> FinalAnswer {
        let [last_sent, first_received] =
            [last_sent_ms, first_received_ms].map(Duration::from_millis);
        FinalAnswer {
            response: ClientResponse {
                status,
                body: format!(r#"{{"id":"ch_{number}"}}"#),
            },
            receipts: vec![
                Receipt {
                    sent: Duration::ZERO,
                    received: first_received,
                },
                Receipt {
                    sent: last_sent,
                    received: last_sent.max(first_received),
                },
            ],
        }
    }

    fn story(finals: Vec<FinalAnswer>) -> Story {
        Story {
            finals,
            ..Story::default()
        }
    }

    /// Charges with the results `ch_0`, `ch_1`, …, executed at these times.
    fn charges(done_ms: &[u64]) -> Vec<Run> {
        let origin = Instant::now();
        let numbered = done_ms.iter().enumerate();
        let charges = numbered.map(|(number, ms)| {
            let done = origin + Duration::from_millis(*ms);
            Run {
                result: format!("ch_{number}"),
                is_charge: true,
                sent: Some(done),
                arrived: done,
                done,
            }
        });
        charges.collect()
    }

    #[test]
    fn responses_are_compared_with_charges() {
        use Finding::{Contradiction, DoubleCharge, LostAnswer, Unanswered, UnreportedCharge};
        let cases: [(Work, &[u16], usize, &[Finding]); 12] = [
            (Work::Payments, &[201], 1, &[]),
            (Work::Payments, &[402], 0, &[]),
            (Work::Payments, &[201], 2, &[DoubleCharge]),
            (Work::Payments, &[201], 0, &[LostAnswer]),
            (
                Work::Payments,
                &[201, 402],
                1,
                &[Contradiction, UnreportedCharge],
            ),
            (Work::Payments, &[402], 1, &[UnreportedCharge]),
            (Work::Payments, &[], 1, &[UnreportedCharge, Unanswered]),
            (Work::Payments, &[], 0, &[Unanswered]),
            (Work::Once, &[], 1, &[]),
            (Work::Once, &[402], 2, &[DoubleCharge, UnreportedCharge]),
            (Work::Rerun, &[402], 2, &[]),
            (Work::Rerun, &[201, 402], 1, &[Contradiction]),
        ];
        for (work, finals, count, expected) in cases {
            let finals = finals.iter().map(|status| answer(*status, 9, 0, 0));
            let charges = charges(&vec![0; count]);
            let found = findings(work, kept_for(None), &story(finals.collect()), &charges);
            assert_eq!(found, expected, "{work:?} {count}");
        }
    }

    #[test]
    fn an_invalid_response_is_a_contradiction() {
        let mut story = story(vec![answer(201, 0, 0, 0)]);
        story.invalid_responses.push(ClientResponse {
            status: 422,
            body: String::new(),
        });
        let found = findings(Work::Payments, kept_for(None), &story, &charges(&[0]));
        assert_eq!(found, [Finding::Contradiction]);
    }

    #[test]
    fn a_newer_result_replaces_an_expired_one() {
        use Finding::{Contradiction, DoubleCharge, StaleAnswer};
        let first = |last_sent| answer(201, 0, last_sent, 10);
        let second = answer(201, 1, 6_000, 6_010);
        let check = |case: &str, finals: &[&FinalAnswer], charged_at, expected: &[Finding]| {
            let finals = finals.iter().map(|answer| (*answer).clone()).collect();
            let charges = charges(&[5, charged_at]);
            let found = findings(
                Work::Once,
                kept_for(Some(Duration::from_secs(5))),
                &story(finals),
                &charges,
            );
            assert_eq!(found, expected, "{case}");
        };
        check("in turn", &[&first(4_990), &second], 6_005, &[]);
        check("sent before the end", &[&first(5_005), &second], 5_100, &[]);
        check("of one charge alone", &[&first(100)], 6_005, &[]);
        let early = [DoubleCharge, Contradiction];
        check("too early", &[&first(100), &second], 4_990, &early);
        check("kept for too long", &[&first(5_020)], 6_005, &[StaleAnswer]);
        let after_second = answer(201, 0, 6_020, 6_000);
        check(
            "the first one after the second",
            &[&after_second, &second],
            6_005,
            &[StaleAnswer],
        );
    }

    #[test]
    fn a_payment_has_the_same_final_response_for_ever() {
        let finals = vec![answer(201, 0, 9_000, 10), answer(201, 7, 9_000, 9_010)];
        let found = findings(
            Work::Payments,
            kept_for(None),
            &story(finals),
            &charges(&[5]),
        );
        assert_eq!(found, [Finding::Contradiction]);
    }
}
