//! What a hunt has found, in numbers.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::bank::Bank;
use super::client::Story;
use super::faults::Struck;
use super::provider::Provider;
use super::round::Round;
use super::timeline;

/// What a hunt has found. The fields of [`Broken`](Self::broken) have to be zero.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// How many payments clients wanted.
    pub payments: usize,
    /// The seed of each round, and how many payments it had.
    pub rounds: Vec<(u64, u32)>,
    /// How many requests they sent.
    pub attempts: u64,
    /// How many intents the provider has.
    pub intents: usize,
    /// How many charges there were.
    pub charges: usize,
    /// Payments that were charged more than once.
    pub double_charges: Vec<Name>,
    /// Payments that were told to be charged, and are not.
    pub lost_answers: Vec<Name>,
    /// Payments with two different final answers, or with an answer that no honest repetition gets.
    pub contradictions: Vec<Name>,
    /// Payments that are charged, and whose client was not told so in the end.
    pub untold_charges: Vec<Name>,
    /// Payments whose client has no final answer in the end.
    pub unanswered: Vec<Name>,
    /// How many payments are open in the ledger in the end.
    pub open: usize,
    /// In how many rounds nobody could say how many are open in the end.
    pub uncounted: u64,
    /// How often what went wrong.
    pub faults: BTreeMap<String, usize>,
    /// From each client's first request to its final answer.
    pub payments_took: Vec<Duration>,
    /// From each request to its answer.
    pub requests_took: Vec<Duration>,
    /// How long the hunt was.
    pub took: Duration,
    /// What happened to the payments that are named above.
    pub stories: BTreeMap<Name, Vec<String>>,
    /// When faults were.
    pub struck: Vec<Struck>,
    /// When payments were answered for good, from the beginning of the hunt.
    pub answered_at: Vec<Duration>,
    /// When payments were charged.
    pub charged_at: Vec<Duration>,
}

/// A payment: the seed of its round, and its number there.
type Name = String;

impl Report {
    pub(super) fn of(
        round: &Round<'_>,
        stories: &[Story],
        provider: &Provider,
        open: Option<usize>,
        struck: Vec<Struck>,
    ) -> Self {
        let mut report = Self {
            payments: stories.len(),
            rounds: vec![(round.seed, round.payments)],
            open: open.unwrap_or_default(),
            uncounted: open.is_none().into(),
            ..Self::default()
        };
        for fault in &struck {
            let name = format!("{:?}", fault.fault);
            *report.faults.entry(name).or_default() += 1;
        }
        report.struck = struck;
        provider.books(|bank| {
            (report.intents, report.charges) = bank.counts();
            for (order, story) in stories.iter().enumerate() {
                report.judge(round, order, story, bank);
            }
        });
        report
    }

    fn judge(&mut self, round: &Round<'_>, order: usize, story: &Story, bank: &Bank) {
        let charges = bank.charges(order).iter();
        let charges: Vec<_> = charges.map(|at| round.since(*at)).collect();
        self.attempts += u64::from(story.attempts);
        self.requests_took.extend(&story.requests);
        self.payments_took.extend(story.took);
        self.answered_at.extend(story.answered_at);
        self.charged_at.extend(&charges);

        let work = round.hunt.work;
        let is_charged = !charges.is_empty();
        let is_told = |status| story.finals.iter().any(|told| told.status == status);
        let is_contradictory = story.finals.len() > 1 || !story.surprises.is_empty();
        // Whoever runs again may charge, and then be declined.
        let is_told_otherwise = is_charged && is_told(402) && work.charges_once();
        let knows = work.always_knows();
        let is_untold = knows && is_charged && !is_told(201);
        let findings = [
            (
                work.charges_once() && charges.len() > 1,
                &mut self.double_charges,
            ),
            (is_told(201) && !is_charged, &mut self.lost_answers),
            (is_contradictory, &mut self.contradictions),
            (is_untold || is_told_otherwise, &mut self.untold_charges),
            (knows && story.finals.is_empty(), &mut self.unanswered),
        ];
        let name = format!("{}/{order}", round.seed);
        let mut is_named = false;
        for (_, list) in findings.into_iter().filter(|(is_found, _)| *is_found) {
            list.push(name.clone());
            is_named = true;
        }
        if is_named {
            let lines = all_lines(round, story, &charges, bank.history(order), &self.struck);
            self.stories.insert(name, lines);
        }
    }

    /// Adds what another round has found.
    pub(super) fn add(&mut self, other: Self) {
        self.payments += other.payments;
        self.rounds.extend(other.rounds);
        self.attempts += other.attempts;
        self.intents += other.intents;
        self.charges += other.charges;
        self.open += other.open;
        self.uncounted += other.uncounted;
        self.double_charges.extend(other.double_charges);
        self.lost_answers.extend(other.lost_answers);
        self.contradictions.extend(other.contradictions);
        self.untold_charges.extend(other.untold_charges);
        self.unanswered.extend(other.unanswered);
        for (fault, times) in other.faults {
            *self.faults.entry(fault).or_default() += times;
        }
        self.payments_took.extend(other.payments_took);
        self.requests_took.extend(other.requests_took);
        self.stories.extend(other.stories);
        self.struck.extend(other.struck);
        self.answered_at.extend(other.answered_at);
        self.charged_at.extend(other.charged_at);
    }

    /// Which rounds have found something: their seeds, and how many payments they had.
    pub fn rounds_to_repeat(&self) -> Vec<(u64, u32)> {
        let is_named = |seed: &u64| {
            let of_round = format!("{seed}/");
            self.stories.keys().any(|name| name.starts_with(&of_round))
        };
        let rounds = self.rounds.iter().filter(|(seed, _)| is_named(seed));
        rounds.copied().collect()
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
            .filter(|(_, names)| !names.is_empty())
            .map(|(what, names)| format!("{} {what}: {names:?}", names.len()))
            .collect();
        if self.open > 0 {
            broken.push(format!("{} open at the end", self.open));
        }
        if self.uncounted > 0 {
            broken.push("nobody could say how many are open at the end".to_owned());
        }
        broken
    }

    /// What happened when, as an SVG picture.
    pub fn to_svg(&self) -> String {
        timeline::svg(self)
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
            "rounds_without_a_count": self.uncounted,
            "faults": self.faults,
            "request_ms": part_milliseconds(&self.requests_took),
            "payment_ms": part_milliseconds(&self.payments_took),
            "seconds": self.took.as_secs(),
            "stories": self.stories,
        })
    }
}

/// All that happened to a payment, and around it, in the order in which it did.
fn all_lines(
    round: &Round<'_>,
    story: &Story,
    charges: &[Duration],
    history: &[(Instant, String)],
    struck: &[Struck],
) -> Vec<String> {
    let mut lines = story.lines.clone();
    lines.extend(charges.iter().map(|at| (*at, "CHARGED".to_owned())));
    let asked = history.iter();
    lines.extend(asked.map(|(at, line)| (round.since(*at), line.clone())));
    let (began, ended) = (story.began.unwrap_or_default(), story.answered_at);
    let meanwhile = struck
        .iter()
        .filter(|fault| fault.to >= began && ended.is_none_or(|ended| fault.from <= ended));
    lines.extend(meanwhile.map(|fault| {
        let until = fault.to.as_millis();
        (
            fault.from,
            format!("fault {:?} until {until} ms", fault.fault),
        )
    }));
    lines.sort();
    let lines = lines.iter();
    lines
        .map(|(at, line)| format!("{:>7} ms {line}", at.as_millis()))
        .collect()
}

/// What half of them, and all but a hundredth, took at most.
fn part_milliseconds(took: &[Duration]) -> Value {
    let mut took = took.to_vec();
    took.sort_unstable();
    let at = |part: usize| took.get(took.len() * part / 100).map(Duration::as_millis);
    json!({"p50": at(50), "p99": at(99)})
}
