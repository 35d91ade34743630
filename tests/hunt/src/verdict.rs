//! The checks of a payment: compares the responses to clients with the provider's charges, and explains a violation.

use std::fmt;
use std::time::Duration;

use super::Round;
use super::Work;
use super::bank::{self, Bank};
use super::faults::Struck;
use super::retention::{self, Retention};
use super::run::Run;
use super::story::{FinalAnswer, Story};

/// A violation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Finding {
    /// The payment was charged a second time within the retention of the first charge.
    DoubleCharge,
    /// A client got the response "charged", and there is no charge.
    LostAnswer,
    /// The payment has two different final responses, or a response that is never allowed.
    Contradiction,
    /// A request got a result that had expired when it was sent, or an older result than a client had received before.
    StaleAnswer,
    /// The payment is charged, and its client did not get that response at the end.
    UntoldCharge,
    /// The client has no final response at the end.
    Unanswered,
    /// A process with its request failed by itself or timed out.
    Failure,
}

impl fmt::Display for Finding {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::DoubleCharge => "double charges",
            Self::LostAnswer => "lost answers",
            Self::Contradiction => "contradictions",
            Self::StaleAnswer => "stale answers",
            Self::UntoldCharge => "untold charges",
            Self::Unanswered => "unanswered",
            Self::Failure => "failures",
        })
    }
}

/// The violations of a payment with these responses and executions.
pub(super) fn findings(
    work: Work,
    retention: Retention,
    story: &Story,
    runs: &[Run],
) -> Vec<Finding> {
    let is_charged = bank::charges(runs).next().is_some();
    let is_told = |status| of_status(story, status).next().is_some();
    let separates = |run: Option<&Run>, other: Option<&Run>| match (run, other) {
        (Some(run), Some(other)) => retention.separates(run, other),
        _ => false,
    };
    // Work that runs again may charge and then be declined.
    let mut declines = of_status(story, 402).map(|answer| run_of(answer, runs));
    let is_told_otherwise = work.charges_once()
        && declines.any(|run| bank::charges(runs).any(|charge| !separates(run, Some(charge))));
    let is_untold = work.always_knows() && is_charged && !is_told(201);
    let is_contradictory = !story.surprises.is_empty()
        || pairs(&story.finals)
            .any(|(one, other)| !separates(run_of(one, runs), run_of(other, runs)));
    let is_unanswered = work.always_knows() && story.finals.is_empty();
    let is_charged_twice = bank::is_charged_twice(runs, retention);
    let is_stale = work != Work::Payments && has_stale_answer(retention, story, runs);
    let all = [
        (
            Finding::DoubleCharge,
            work.charges_once() && is_charged_twice,
        ),
        (Finding::LostAnswer, is_told(201) && !is_charged),
        (Finding::Contradiction, is_contradictory),
        (Finding::StaleAnswer, is_stale),
        (Finding::UntoldCharge, is_untold || is_told_otherwise),
        (Finding::Unanswered, is_unanswered),
        (Finding::Failure, !story.failures.is_empty()),
    ];
    let found = all.into_iter().filter(|(_, is_found)| *is_found);
    found.map(|(finding, _)| finding).collect()
}

/// Whether no later response can resolve the finding.
pub(super) fn is_beyond_repair(finding: Finding) -> bool {
    use Finding::{Contradiction, DoubleCharge, StaleAnswer};
    [DoubleCharge, Contradiction, StaleAnswer].contains(&finding)
}

fn of_status(story: &Story, status: u16) -> impl Iterator<Item = &FinalAnswer> {
    let answers = story.finals.iter();
    answers.filter(move |answer| answer.told.status == status)
}

/// The run that produced a response.
fn run_of<'a>(answer: &FinalAnswer, runs: &'a [Run]) -> Option<&'a Run> {
    let result = answer.result()?;
    runs.iter().find(|run| run.result == result)
}

/// All pairs of elements, in order.
fn pairs<T>(all: &[T]) -> impl Iterator<Item = (&T, &T)> {
    let numbered = all.iter().enumerate();
    numbered.flat_map(|(number, one)| all[number + 1..].iter().map(move |other| (one, other)))
}

/// Whether a request got a result after its retention, or after a client had received a newer result.
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
        earlier.sent_last() > later.heard_first()
    };
    story.finals.iter().any(is_over) || pairs(&story.finals).any(comes_after_later)
}

/// The history of a payment and of the faults around it, in chronological order.
pub(super) fn lines(
    round: &Round<'_>,
    order: usize,
    story: &Story,
    bank: &Bank,
    struck: &[Struck],
) -> Vec<String> {
    let mut lines = story.lines.clone();
    let charges = bank::charges(bank.runs(order));
    lines.extend(charges.map(|charge| (round.since(charge.done), "CHARGED".to_owned())));
    let asked = bank.history(order).iter();
    lines.extend(asked.map(|(at, line)| (round.since(*at), line.clone())));
    lines.extend(meanwhile(story, struck));
    lines.sort();
    let lines = lines.iter();
    lines
        .map(|(at, line)| format!("{:>7} ms {line}", at.as_millis()))
        .collect()
}

/// The faults between a client's first request and its last final response.
fn meanwhile(story: &Story, struck: &[Struck]) -> impl Iterator<Item = (Duration, String)> {
    let began = story.began.unwrap_or_default();
    let answers = story.finals.iter();
    let ended = answers.map(FinalAnswer::heard_first).max();
    let meanwhile = struck
        .iter()
        .filter(move |struck| struck.to >= began && ended.is_none_or(|ended| struck.from <= ended));
    meanwhile.map(|struck| {
        let until = struck.to.as_millis();
        (
            struck.from,
            format!("fault {} until {until} ms", struck.fault),
        )
    })
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::pool::Told;
    use crate::story::Hearing;

    fn kept_for(lasts: Option<Duration>) -> Retention {
        Retention {
            lasts,
            forgets_abandoned: false,
            began: Instant::now(),
        }
    }

    /// A response with the result `ch_<number>`, received by one request and given to a later one.
    fn answer(status: u16, number: u64, sent_last_ms: u64, heard_first_ms: u64) -> FinalAnswer {
        let [sent_last, heard_first] = [sent_last_ms, heard_first_ms].map(Duration::from_millis);
        FinalAnswer {
            told: Told {
                status,
                body: format!(r#"{{"id":"ch_{number}"}}"#),
            },
            hearings: vec![
                Hearing {
                    sent: Duration::ZERO,
                    heard: heard_first,
                },
                Hearing {
                    sent: sent_last,
                    heard: sent_last.max(heard_first),
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
        use Finding::{Contradiction, DoubleCharge, LostAnswer, Unanswered, UntoldCharge};
        let cases: [(Work, &[u16], usize, &[Finding]); 12] = [
            (Work::Payments, &[201], 1, &[]),
            (Work::Payments, &[402], 0, &[]),
            (Work::Payments, &[201], 2, &[DoubleCharge]),
            (Work::Payments, &[201], 0, &[LostAnswer]),
            (
                Work::Payments,
                &[201, 402],
                1,
                &[Contradiction, UntoldCharge],
            ),
            (Work::Payments, &[402], 1, &[UntoldCharge]),
            (Work::Payments, &[], 1, &[UntoldCharge, Unanswered]),
            (Work::Payments, &[], 0, &[Unanswered]),
            (Work::Once, &[], 1, &[]),
            (Work::Once, &[402], 2, &[DoubleCharge, UntoldCharge]),
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
        story.surprises.push(Told {
            status: 422,
            body: String::new(),
        });
        let found = findings(Work::Payments, kept_for(None), &story, &charges(&[0]));
        assert_eq!(found, [Finding::Contradiction]);
    }

    #[test]
    fn a_newer_result_replaces_an_expired_one() {
        use Finding::{Contradiction, DoubleCharge, StaleAnswer};
        let first = |sent_last| answer(201, 0, sent_last, 10);
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
