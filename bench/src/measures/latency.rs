//! Measures the latency of a warm call, and the share of idempotency in it.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};

use super::{floor, progress};
use crate::calls::{Member, Situation, turns};
use crate::contestant::Contestant;
use crate::order::{Order, USUAL_PAD_BYTES, answer};
use crate::plot::{self, Named};
use crate::raw;
use crate::samples::{Spread, differences, number, percentile, ratios};
use crate::section::{Limit, Section};
use crate::stage::{Around, Stage};

/// The percentiles of slow calls. They are computed over the calls of all rounds, because one round has too few calls.
const TAILS: [(&str, f64); 2] = [("p99_us", 0.99), ("p99.9_us", 0.999)];
/// The points of the curves, as shares of all calls. For example, the curve shows at 0.01 the time that 1 % of the calls
/// exceeded.
const CURVE: [f64; 9] = [0.5, 0.25, 0.1, 0.05, 0.025, 0.01, 0.005, 0.0025, 0.001];
/// The marks on the axis: the point of the curves, and the name of the mark.
const NAMED: [(f64, &str); 4] = [
    (0.5, "50 %"),
    (0.1, "90 %"),
    (0.01, "99 %"),
    (0.001, "99.9 %"),
];
/// The libraries whose added cost must be greater than the added cost of ours by the factor `TIMES_FASTER`.
const PEERS: [&str; 2] = ["powertools-python", "powertools-typescript"];
const TIMES_FASTER: f64 = 5.0;

/// The durations of all calls to a contestant in a situation, by round.
#[derive(Default)]
struct Taken(BTreeMap<(&'static str, Situation), Vec<Vec<Duration>>>);

pub(super) async fn measure(stage: &Stage) -> Section {
    let members = Member::start_all(stage, Around::default(), |_| true).await;
    let (rounds, calls) = (stage.settings.rounds, stage.settings.calls);
    let (mut taken, mut raw_trips) = (Taken::default(), Vec::new());
    let (mut connection, script) = (raw::connect(&stage.redis.url()).await, raw::one_set());
    // The first round is not counted, because in it runtimes compile code and allocate memory.
    for round in 0..=rounds {
        stage.empty_stores().await;
        progress(&format!("calls, round {round} of {rounds}"));
        for (member, situation) in turns(&members, &Situation::ALL, round) {
            let took = member.calls(situation, calls).await;
            if round > 0 {
                let case = (member.contestant.name, situation);
                taken.0.entry(case).or_default().push(took);
            }
        }
        // The minimum of a fresh call: one round trip before the work and one after it.
        let mut took = Vec::with_capacity(calls);
        for number in 0..calls {
            let began = Instant::now();
            for _ in 0..2 {
                raw::set(&script, &mut connection, &format!("raw:{round}:{number}")).await;
            }
            took.push(began.elapsed());
        }
        if round > 0 {
            raw_trips.push(percentile(&took, 0.5));
        }
    }
    section(stage, &taken, &raw_trips, runtime_api(calls).await)
}

/// The median duration of a call to a process that answers at once, in microseconds.
async fn runtime_api(calls: usize) -> f64 {
    let process = floor().await;
    let event = Order::fresh(USUAL_PAD_BYTES).event();
    let mut took = Vec::with_capacity(calls);
    for _ in 0..calls {
        let answer = answer(&process, event.clone()).await;
        took.push(answer.expect("it answers every call").took);
    }
    percentile(&took, 0.5)
}

fn section(stage: &Stage, taken: &Taken, raw_trips: &[f64], runtime_api: f64) -> Section {
    let mut section = Section::new("latency", "Warm calls");
    let (rounds, calls) = (stage.settings.rounds, stage.settings.calls);
    let raw = Spread::of(raw_trips);
    section.notes.push(format!(
        "Microseconds from the delivery of an event to the answer, one call at a time, in {rounds} rounds of {calls} calls. \
         p50: median of the rounds (least–most); p99 and p99.9: of all rounds together. *Added p50* is the difference to the \
         same program without idempotency in the same round; *added p99* is the difference of the two p99s. A process that \
         answers at once takes {} µs. Two round trips of redis-rs alone (`EVALSHA` around one `SET`) took {raw} µs.",
        number(runtime_api),
    ));
    section.columns(
        " | fresh p50 | p99 | p99.9 | added p50 | added p99 | added p50 / two raw round trips | replay p50 | p99 | conflict p50 | p99 \
         | mismatch p50 | p99",
    );
    for &contestant in &stage.present {
        let (title, name) = (contestant.title, contestant.name);
        let cells = taken.cells(contestant, raw_trips);
        section.row((title, name), &cells.join(" | "), taken.numbers(contestant));
    }
    section.nest("contestants");
    let beside = [
        ("runtime_api_us", runtime_api.into()),
        ("two_raw_round_trips_us", json!(raw)),
    ];
    let beside = beside.map(|(name, value)| (name.to_owned(), value));
    section.data.extend(beside);
    add_goals(&mut section, stage, taken);
    section.pictures.push(("latency", picture(stage, taken)));
    section
}

/// Adds the goals: by which factor the added cost of other libraries exceeds the added cost of ours.
fn add_goals(section: &mut Section, stage: &Stage, taken: &Taken) {
    let of_name = |name: &str| stage.present.iter().find(|peer| peer.name == name);
    let Some(ours) = of_name("ours-redis") else {
        return;
    };
    for peer in PEERS.into_iter().filter_map(of_name) {
        let title = peer.plain_title();
        let p50 = ratios(&taken.added(peer), &taken.added(ours));
        let p99 = taken.added_to_p99(peer) / taken.added_to_p99(ours);
        let what = format!("p50 that {title} adds to a fresh call / that ours adds");
        section.goal(what, Limit::AtLeast(TIMES_FASTER), Spread::of(&p50));
        let what = format!("by how much {title} moves the p99 of a fresh call / ours does");
        section.goal(what, Limit::AtLeast(TIMES_FASTER), Spread::of(&[p99]));
    }
}

impl Taken {
    /// The median call of each round. Empty if the contestant cannot get into the situation.
    fn medians(&self, name: &'static str, situation: Situation) -> Vec<f64> {
        let rounds = self.0.get(&(name, situation)).into_iter().flatten();
        rounds.map(|took| percentile(took, 0.5)).collect()
    }

    /// The quantile of the latencies of all rounds. The given share of the calls takes at most this time.
    fn tail(&self, name: &'static str, situation: Situation, part: f64) -> Option<f64> {
        let rounds = self.0.get(&(name, situation))?;
        Some(percentile(&rounds.concat(), part))
    }

    /// The added cost in each round: the median of fresh calls, minus the median of fresh calls to the same program without
    /// idempotency.
    fn added(&self, contestant: &Contestant) -> Vec<f64> {
        let fresh = |name| self.medians(name, Situation::Fresh);
        differences(&fresh(contestant.name), &fresh(contestant.baseline()))
    }

    fn added_to_p99(&self, contestant: &Contestant) -> f64 {
        let p99 = |name| self.tail(name, Situation::Fresh, 0.99).unwrap_or_default();
        p99(contestant.name) - p99(contestant.baseline())
    }

    fn cells(&self, contestant: &Contestant, raw_trips: &[f64]) -> Vec<String> {
        let name = contestant.name;
        let p50 = |situation| match self.medians(name, situation).as_slice() {
            [] => String::new(),
            rounds => Spread::of(rounds).to_string(),
        };
        let tail = |situation, part| self.tail(name, situation, part);
        let tail = |situation, part| tail(situation, part).map_or_else(String::new, number);
        let mut cells = vec![p50(Situation::Fresh)];
        cells.extend(TAILS.map(|(_, part)| tail(Situation::Fresh, part)));
        cells.extend(match contestant.is_baseline() {
            true => ["", "", ""].map(str::to_owned),
            false => {
                let added = self.added(contestant);
                [
                    Spread::of(&added).to_string(),
                    number(self.added_to_p99(contestant)),
                    number(Spread::of(&ratios(&added, raw_trips)).median),
                ]
            }
        });
        for situation in [Situation::Replay, Situation::Conflict, Situation::Mismatch] {
            cells.extend([p50(situation), tail(situation, 0.99)]);
        }
        cells
    }

    fn numbers(&self, contestant: &Contestant) -> Value {
        let name = contestant.name;
        let mut data = Map::new();
        for situation in Situation::ALL {
            let medians = self.medians(name, situation);
            if medians.is_empty() {
                continue;
            }
            let mut numbers = Map::new();
            numbers.insert("p50_us".to_owned(), json!(Spread::of(&medians)));
            for (tail, part) in TAILS {
                let took = self.tail(name, situation, part);
                numbers.insert(tail.to_owned(), took.into());
            }
            data.insert(situation.name().to_owned(), numbers.into());
        }
        if !contestant.is_baseline() {
            let added = json!({
                "p50_us": Spread::of(&self.added(contestant)),
                "p99_us": self.added_to_p99(contestant),
            });
            data.insert("added_to_fresh".to_owned(), added);
        }
        data.into()
    }
}

fn picture(stage: &Stage, taken: &Taken) -> String {
    let place = |part: f64| -part.log10();
    let lines = stage.present.iter().map(|contestant| {
        let took = |part| taken.tail(contestant.name, Situation::Fresh, 1.0 - part);
        let points = CURVE.map(|part| (place(part), took(part).unwrap_or_default() / 1e3));
        Named {
            name: contestant.plain_title(),
            values: points.into(),
        }
    });
    let lines: Vec<_> = lines.collect();
    let marks = NAMED.map(|(part, name)| (place(part), name.to_owned()));
    let title = "Fresh calls: how many of them (below) took how long at most, all rounds together";
    plot::lines(title, &marks, plot::logarithmic(&lines), &lines)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_added_cost_is_counted_from_the_baseline_of_the_same_round() {
        let ours = &crate::contestant::ALL[3];
        let rounds = |all: [u64; 2]| all.map(|took| vec![Duration::from_micros(took)]).into();
        let taken = Taken(BTreeMap::from([
            ((ours.name, Situation::Fresh), rounds([300, 500])),
            ((ours.baseline(), Situation::Fresh), rounds([100, 200])),
        ]));
        assert_eq!(taken.added(ours), [200.0, 300.0]);
        assert!(taken.medians(ours.name, Situation::Replay).is_empty());
    }

    #[test]
    fn tails_are_computed_over_all_rounds() {
        let round = |slowest: u64| {
            let mut took = vec![Duration::from_micros(1); 99];
            took.push(Duration::from_micros(slowest));
            took
        };
        let rounds = vec![round(7), round(900)];
        let taken = Taken(BTreeMap::from([(("bare", Situation::Fresh), rounds)]));
        let tail = |part| taken.tail("bare", Situation::Fresh, part);
        assert_eq!([0.99, 0.995, 0.999].map(tail), [1.0, 7.0, 900.0].map(Some));
    }
}
