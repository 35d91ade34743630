//! What a hunt has found, in numbers.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};

use super::client::Story;
use super::faults::Struck;
use super::provider::Provider;

/// What a hunt has found. The fields of [`Broken`](Self::broken) have to be zero.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// How many payments clients wanted.
    pub payments: usize,
    /// How many requests they sent.
    pub attempts: u64,
    /// How many intents the provider has.
    pub intents: usize,
    /// How many charges there were.
    pub charges: usize,
    /// Payments that were charged more than once.
    pub double_charges: Vec<u32>,
    /// Payments that were told to be charged, and are not.
    pub lost_answers: Vec<u32>,
    /// Payments with two different final answers, or with an answer that no honest repetition gets.
    pub contradictions: Vec<u32>,
    /// Payments that are charged, and whose client was not told so in the end.
    pub untold_charges: Vec<u32>,
    /// Payments whose client has no final answer in the end.
    pub unanswered: Vec<u32>,
    /// How many payments are open in the ledger in the end; `None`: nobody could say.
    pub open: Option<u64>,
    /// How often what went wrong.
    pub faults: BTreeMap<String, usize>,
    /// From a client's first request to its final answer: half of them took less.
    pub p50: Duration,
    /// …and all but a hundredth.
    pub p99: Duration,
    /// How long the hunt was.
    pub took: Duration,
    /// What happened to the payments that are named above.
    pub stories: BTreeMap<u32, Vec<String>>,
    /// When faults were.
    pub struck: Vec<Struck>,
    /// When payments were answered for good, from the beginning of the hunt.
    pub answered_at: Vec<Duration>,
}

impl Report {
    pub(super) fn of(
        stories: &[(u32, Story)],
        provider: &Provider,
        open: Option<u64>,
        struck: Vec<Struck>,
        took: Duration,
    ) -> Self {
        let mut report = Self {
            payments: stories.len(),
            open,
            took,
            ..Self::default()
        };
        (report.intents, report.charges) = provider.books(super::bank::Bank::counts);
        for fault in &struck {
            *report
                .faults
                .entry(format!("{:?}", fault.fault))
                .or_default() += 1;
        }
        report.struck = struck;
        let mut durations: Vec<_> = stories.iter().filter_map(|(_, story)| story.took).collect();
        durations.sort_unstable();
        let at = |part: f64| {
            durations
                .get((durations.len() as f64 * part) as usize)
                .copied()
                .unwrap_or_default()
        };
        (report.p50, report.p99) = (at(0.5), at(0.99));
        for (order, story) in stories {
            report.attempts += u64::from(story.attempts);
            report.judge(*order, story, provider.books(|bank| bank.charges(*order)));
        }
        report
    }

    fn judge(&mut self, order: u32, story: &Story, charges: u32) {
        let is_told = |status| story.finals.iter().any(|told| told.status == status);
        let findings = [
            (charges > 1, &mut self.double_charges),
            (is_told(201) && charges == 0, &mut self.lost_answers),
            (
                story.finals.len() > 1 || !story.surprises.is_empty(),
                &mut self.contradictions,
            ),
            (charges > 0 && !is_told(201), &mut self.untold_charges),
            (story.finals.is_empty(), &mut self.unanswered),
        ];
        let mut is_named = false;
        for (is_found, list) in findings {
            if is_found {
                list.push(order);
                is_named = true;
            }
        }
        let last =
            story.lines.iter().rev().find(|(_, line)| {
                line.starts_with("is told 201") || line.starts_with("is told 402")
            });
        self.answered_at.extend(
            last.map(|(at, _)| Duration::from_millis(u64::try_from(*at).unwrap_or(u64::MAX))),
        );
        if is_named {
            let lines = story
                .lines
                .iter()
                .map(|(at, line)| format!("{at:>7} ms {line}"));
            let mut lines: Vec<_> = lines.collect();
            lines.push(format!("charged {charges} times"));
            self.stories.insert(order, lines);
        }
    }

    /// What must not be, in words; empty: nothing is.
    pub fn broken(&self) -> Vec<String> {
        let lists = [
            ("double charges", &self.double_charges),
            ("lost answers", &self.lost_answers),
            ("contradictions", &self.contradictions),
            ("untold charges", &self.untold_charges),
            ("unanswered", &self.unanswered),
        ];
        let mut broken: Vec<_> = lists
            .into_iter()
            .filter(|(_, orders)| !orders.is_empty())
            .map(|(name, orders)| format!("{} {name}: {orders:?}", orders.len()))
            .collect();
        if self.open != Some(0) {
            broken.push(format!("open at the end: {:?}", self.open));
        }
        broken
    }

    /// The numbers as JSON.
    pub fn to_json(&self) -> Value {
        json!({
            "payments": self.payments,
            "attempts": self.attempts,
            "intents": self.intents,
            "charges": self.charges,
            "double_charges": self.double_charges.len(),
            "lost_answers": self.lost_answers.len(),
            "contradictions": self.contradictions.len(),
            "untold_charges": self.untold_charges.len(),
            "unanswered": self.unanswered.len(),
            "open_at_the_end": self.open,
            "faults": self.faults,
            "p50_ms": self.p50.as_millis() as u64,
            "p99_ms": self.p99.as_millis() as u64,
            "seconds": self.took.as_secs(),
            "stories": self.stories,
        })
    }
}
