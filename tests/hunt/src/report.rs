//! The results of a hunt, in numbers.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde_json::{Value, json};

use super::Round;
use super::bank::{self, Bank};
use super::faults::{Fault, FaultPeriod};
use super::stage::Stage;
use super::story::Story;
use super::verdict::{self, Finding};

/// The results of a hunt. If all guarantees hold, [`broken`](Self::broken) is empty.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// The number of payments.
    pub payments: usize,
    /// For each round with a finding: its seed and its number of payments.
    pub to_repeat: Vec<(u64, u32)>,
    /// The number of the first payment with a finding, counted from one.
    pub first_found: Option<usize>,
    /// The number of requests that clients sent.
    pub attempts: u64,
    /// The number of payment intents at the provider.
    pub intents: usize,
    /// The number of charges.
    pub charges: usize,
    /// The number of times that the work of a key ran again after the retention of the key's result.
    pub renewals: usize,
    /// The number of expired records that were deleted from MongoDB.
    pub expired: u64,
    /// The violations. For each kind of violation, the map has the names of the payments with this violation.
    pub found: BTreeMap<Finding, Vec<PaymentName>>,
    /// The number of charges whose metadata contains no order number.
    pub strays: usize,
    /// The number of payments that the schedule and the webhook left open after all faults had ended.
    pub unsettled: usize,
    /// The number of payments that are open in the ledger at the end of the hunt.
    pub open: usize,
    /// The number of failed reads of the ledger at the end of rounds. Each round reads the ledger twice.
    pub uncounted: usize,
    /// The number of payments that the schedule settled.
    pub settled_by_schedule: u64,
    /// Two counts of Stripe's events: the events that the webhook accepted, and the events that it refused at every
    /// delivery.
    pub events: (u64, u64),
    /// For each client with a final response, the time from its first request to this response.
    pub payments_took: Vec<Duration>,
    /// For each answered request, the time from the request to the response.
    pub requests_took: Vec<Duration>,
    /// The duration of the hunt.
    pub took: Duration,
    /// For each payment with a finding, the lines of its history.
    pub stories: BTreeMap<PaymentName, Vec<String>>,
    /// The periods of faults.
    pub fault_periods: Vec<FaultPeriod>,
    /// The times of final responses, from the start of the hunt.
    pub answered_at: Vec<Duration>,
    /// The times of charges, from the start of the hunt.
    pub charged_at: Vec<Duration>,
}

/// The name of a payment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PaymentName {
    /// The seed of the round in which the payment was made.
    pub seed: u64,
    /// The number of the payment in its round.
    pub order: usize,
}

impl fmt::Display for PaymentName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.seed, self.order)
    }
}

impl Report {
    /// Collects the results of a round.
    pub(super) fn of(
        round: &Round<'_>,
        stories: &[Story],
        stage: &Stage,
        open: [Option<usize>; 2],
        fault_periods: Vec<FaultPeriod>,
    ) -> Self {
        let [unsettled, in_the_end] = open;
        let mut report = Self {
            payments: stories.len(),
            unsettled: unsettled.unwrap_or_default(),
            open: in_the_end.unwrap_or_default(),
            uncounted: open.iter().filter(|count| count.is_none()).count(),
            settled_by_schedule: stage.settled_by_schedule(),
            events: stage.events(),
            expired: stage.expired(),
            fault_periods,
            ..Self::default()
        };
        let provider = &stage.targets.provider;
        provider.books(|bank| {
            (report.intents, report.charges) = bank.counts();
            report.strays = bank.strays();
            for (order, story) in stories.iter().enumerate() {
                report.add_payment(round, order, story, bank);
            }
        });
        if !report.broken().is_empty() {
            report.to_repeat.push((round.seed, round.payments));
        }
        report
    }

    fn add_payment(&mut self, round: &Round<'_>, order: usize, story: &Story, bank: &Bank) {
        let runs = bank.runs(order);
        let retention = round.retention();
        self.renewals += retention.count_renewals(runs);
        self.attempts += u64::from(story.attempts);
        self.requests_took.extend(&story.requests);
        self.payments_took.extend(story.took());
        self.answered_at.extend(story.answered_at);
        let charged_at = bank::charges(runs).map(|charge| round.since(charge.done));
        self.charged_at.extend(charged_at);

        let findings = verdict::findings(round.hunt.work, retention, story, runs);
        if findings.is_empty() {
            return;
        }
        let name = PaymentName {
            seed: round.seed,
            order,
        };
        self.first_found.get_or_insert(order + 1);
        let lines = verdict::lines(round, order, story, bank, &self.fault_periods);
        self.stories.insert(name, lines);
        for finding in findings {
            self.found.entry(finding).or_default().push(name);
        }
    }

    /// Adds the results of another round.
    pub(super) fn add(&mut self, other: Self) {
        let found = other.first_found.map(|number| self.payments + number);
        self.first_found = self.first_found.or(found);
        self.payments += other.payments;
        self.to_repeat.extend(other.to_repeat);
        self.attempts += other.attempts;
        self.intents += other.intents;
        self.charges += other.charges;
        self.renewals += other.renewals;
        self.expired += other.expired;
        for (finding, names) in other.found {
            self.found.entry(finding).or_default().extend(names);
        }
        self.strays += other.strays;
        self.unsettled += other.unsettled;
        self.open += other.open;
        self.uncounted += other.uncounted;
        self.settled_by_schedule += other.settled_by_schedule;
        self.events.0 += other.events.0;
        self.events.1 += other.events.1;
        self.payments_took.extend(other.payments_took);
        self.requests_took.extend(other.requests_took);
        self.stories.extend(other.stories);
        self.fault_periods.extend(other.fault_periods);
        self.answered_at.extend(other.answered_at);
        self.charged_at.extend(other.charged_at);
    }

    /// The number of occurrences of each fault.
    pub fn faults(&self) -> BTreeMap<Fault, usize> {
        let mut faults = BTreeMap::new();
        for period in &self.fault_periods {
            *faults.entry(period.fault).or_default() += 1;
        }
        faults
    }

    /// The violations as sentences. The list is empty if there are no violations.
    pub fn broken(&self) -> Vec<String> {
        let found = self.found.iter().map(|(finding, names)| {
            let count = names.len();
            let names: Vec<_> = names.iter().map(PaymentName::to_string).collect();
            format!("{count} {finding}: {}", names.join(", "))
        });
        let mut broken: Vec<_> = found.collect();
        let counts = [
            (self.strays, "charges without a payment"),
            (self.unsettled, "left open by the schedule and the webhook"),
            (self.open, "open at the end"),
            (
                self.uncounted,
                "times the ledger could not be read at the end",
            ),
        ];
        let counts = counts.into_iter().filter(|(count, _)| *count > 0);
        broken.extend(counts.map(|(count, what)| format!("{count} {what}")));
        broken
    }

    /// The results as JSON.
    pub fn to_json(&self) -> Value {
        let count = |finding| self.found.get(&finding).map_or(0, Vec::len);
        let faults = self.faults().into_iter();
        let faults: Value = faults
            .map(|(fault, times)| (fault.to_string(), times))
            .collect();
        let stories = self.stories.iter();
        let stories: Value = stories
            .map(|(name, lines)| (name.to_string(), lines.clone()))
            .collect();
        json!({
            "payments": self.payments,
            "first_found": self.first_found,
            "attempts": self.attempts,
            "intents": self.intents,
            "charges": self.charges,
            "renewals": self.renewals,
            "expired": self.expired,
            "double_charges": count(Finding::DoubleCharge),
            "lost_answers": count(Finding::LostAnswer),
            "contradictions": count(Finding::Contradiction),
            "stale_answers": count(Finding::StaleAnswer),
            "unreported_charges": count(Finding::UnreportedCharge),
            "unanswered": count(Finding::Unanswered),
            "failures": count(Finding::Failure),
            "strays": self.strays,
            "unsettled": self.unsettled,
            "open_at_the_end": self.open,
            "uncounted": self.uncounted,
            "settled_by_schedule": self.settled_by_schedule,
            "events_taken": self.events.0,
            "events_given_up": self.events.1,
            "faults": faults,
            "request_ms": part_milliseconds(&self.requests_took),
            "payment_ms": part_milliseconds(&self.payments_took),
            "seconds": self.took.as_secs(),
            "stories": stories,
        })
    }
}

/// The median and the 99th percentile in milliseconds.
fn part_milliseconds(took: &[Duration]) -> Value {
    let mut took = took.to_vec();
    took.sort_unstable();
    let at = |part: usize| took.get(took.len() * part / 100).map(Duration::as_millis);
    json!({"p50": at(50), "p99": at(99)})
}
