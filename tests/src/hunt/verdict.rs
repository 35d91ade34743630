//! What must not be, of what a client was told and what the provider has charged, and how it came about.

use std::fmt;
use std::time::Duration;

use super::Work;
use super::bank::Bank;
use super::client::Story;
use super::faults::Struck;
use super::round::Round;

/// Something that must not be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Finding {
    /// The payment was charged more than once.
    DoubleCharge,
    /// It was told to be charged, and is not.
    LostAnswer,
    /// It has two different final answers, or an answer that no honest repetition gets.
    Contradiction,
    /// It is charged, and its client was not told so in the end.
    UntoldCharge,
    /// Its client has no final answer in the end.
    Unanswered,
    /// A process that had its request failed by itself, or ran out of its time.
    Failure,
}

impl fmt::Display for Finding {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::DoubleCharge => "double charges",
            Self::LostAnswer => "lost answers",
            Self::Contradiction => "contradictions",
            Self::UntoldCharge => "untold charges",
            Self::Unanswered => "unanswered",
            Self::Failure => "failures",
        })
    }
}

/// What must not be of a payment that was charged so often.
pub(super) fn findings(work: Work, story: &Story, charges: usize) -> Vec<Finding> {
    let is_charged = charges > 0;
    let is_told = |status| story.finals.iter().any(|told| told.status == status);
    // Whoever runs again may charge, and then be declined.
    let is_told_otherwise = is_charged && is_told(402) && work.charges_once();
    let is_untold = work.always_knows() && is_charged && !is_told(201);
    let is_contradictory = story.finals.len() > 1 || !story.surprises.is_empty();
    let is_unanswered = work.always_knows() && story.finals.is_empty();
    let all = [
        (Finding::DoubleCharge, work.charges_once() && charges > 1),
        (Finding::LostAnswer, is_told(201) && !is_charged),
        (Finding::Contradiction, is_contradictory),
        (Finding::UntoldCharge, is_untold || is_told_otherwise),
        (Finding::Unanswered, is_unanswered),
        (Finding::Failure, !story.failures.is_empty()),
    ];
    let found = all.into_iter().filter(|(_, is_found)| *is_found);
    found.map(|(finding, _)| finding).collect()
}

/// All that happened to a payment, and around it, in the order in which it did.
pub(super) fn lines(
    round: &Round<'_>,
    order: usize,
    story: &Story,
    bank: &Bank,
    struck: &[Struck],
) -> Vec<String> {
    let mut lines = story.lines.clone();
    let charges = bank.charges(order).iter();
    lines.extend(charges.map(|at| (round.since(*at), "CHARGED".to_owned())));
    let asked = bank.history(order).iter();
    lines.extend(asked.map(|(at, line)| (round.since(*at), line.clone())));
    lines.extend(meanwhile(story, struck));
    lines.sort();
    let lines = lines.iter();
    lines
        .map(|(at, line)| format!("{:>7} ms {line}", at.as_millis()))
        .collect()
}

/// What went wrong from a client's first request to its final answer.
fn meanwhile(story: &Story, struck: &[Struck]) -> impl Iterator<Item = (Duration, String)> {
    let (began, ended) = (story.began.unwrap_or_default(), story.answered_at);
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
    use super::*;
    use crate::hunt::pool::Told;

    fn story(finals: &[u16], surprises: &[u16]) -> Story {
        let told = |statuses: &[u16]| {
            let told = statuses.iter().map(|status| Told {
                status: *status,
                body: String::new(),
            });
            told.collect()
        };
        Story {
            finals: told(finals),
            surprises: told(surprises),
            ..Story::default()
        }
    }

    #[test]
    fn what_was_told_is_held_against_what_was_charged() {
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
        for (work, finals, charges, expected) in cases {
            let found = findings(work, &story(finals, &[]), charges);
            assert_eq!(found, expected, "{work:?} {finals:?} {charges}");
        }
    }

    #[test]
    fn a_surprise_is_a_contradiction() {
        let found = findings(Work::Payments, &story(&[201], &[422]), 1);
        assert_eq!(found, [Finding::Contradiction]);
    }
}
