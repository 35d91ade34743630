//! Measures the latency of a warm call, and the share of idempotency in it.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use redis::aio::MultiplexedConnection;
use serde_json::{Map, Value, json};

use super::{floor, progress};
use crate::calls::{Member, Situation, turns};
use crate::contestant::{Contestant, ONE_PING, TWO_PINGS};
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
/// The other libraries. For each, the maximum of the p50 that ours adds to a fresh call, divided by the p50 that the library
/// adds.
const PEERS: [(&str, f64); 3] = [
    ("crate", 0.5),
    ("powertools-python", 0.2),
    ("powertools-typescript", 0.33),
];
/// The maximum of the p50 that ours adds, divided by the p50 that two `PING`s add for a fresh call, and one for a replay.
const MOST_TIMES_PINGS: f64 = 1.5;
/// The maximum of the p99 that ours adds to a fresh call, divided by the least p99 that another library adds.
const MOST_TIMES_LEAST_P99: f64 = 1.0;
/// The least p99 with which ours is compared, in microseconds. The added p99 of a noisy round can be negative.
const LEAST_P99: f64 = 1.0;

/// The durations of all calls to a contestant in a situation, by round.
#[derive(Default)]
struct Taken(BTreeMap<(&'static str, Situation), Vec<Vec<Duration>>>);

/// The median latency of redis-rs's `PING` in this process, in each round, in microseconds.
#[derive(Default)]
struct Pings {
    /// The first of two consecutive `PING`s.
    one: Vec<f64>,
    /// Two consecutive `PING`s.
    two: Vec<f64>,
}

pub(super) async fn measure(stage: &Stage) -> Section {
    let mut members = Member::start_all(stage, Around::default(), |_| true).await;
    for pings in [&ONE_PING, &TWO_PINGS] {
        members.push(Member::start(stage, pings, Around::default()).await);
    }
    let (rounds, calls) = (stage.settings.latency_rounds, stage.settings.calls);
    let (mut taken, mut pings) = (Taken::default(), Pings::default());
    let mut connection = raw::connect(&stage.redis.url()).await;
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
        let [one, two] = ping_pairs(&mut connection, calls).await;
        if round > 0 {
            pings.one.push(one);
            pings.two.push(two);
        }
    }
    section(stage, &taken, &pings, runtime_api(calls).await)
}

/// The medians of one `PING` and of two consecutive `PING`s in this process, in microseconds. Here, nothing runs between two
/// `PING`s, so that their code and data stay in the caches of the processor.
async fn ping_pairs(connection: &mut MultiplexedConnection, pairs: usize) -> [f64; 2] {
    let (mut one, mut two) = (Vec::with_capacity(pairs), Vec::with_capacity(pairs));
    for _ in 0..pairs {
        let began = Instant::now();
        raw::ping(connection).await;
        one.push(began.elapsed());
        raw::ping(connection).await;
        two.push(began.elapsed());
    }
    [one, two].map(|took| percentile(&took, 0.5))
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

fn section(stage: &Stage, taken: &Taken, pings: &Pings, runtime_api: f64) -> Section {
    let mut section = Section::new("latency", "Warm calls");
    let (rounds, calls) = (stage.settings.latency_rounds, stage.settings.calls);
    let [one, two] = [&pings.one, &pings.two].map(|rounds| Spread::of(rounds));
    section.notes.push(format!(
        "Microseconds from the delivery of an event to the answer, one call at a time, in {rounds} rounds of {calls} calls. \
         p50: median of the rounds (least–most); p99 and p99.9: of all rounds together. *Added p50* is the difference to a \
         fresh call of the same program without idempotency in the same round; *added p99* is the difference of the two p99s. \
         The goals compare the added p99s of each round. *Bare with `PING`s* is bare with the round trips that idempotency \
         needs at least: one for a replay, two for a fresh call. A process that answers at once takes {} µs. In a loop in the \
         benchmark's process, one `PING` took {one} µs, and two took {two} µs.",
        number(runtime_api),
    ));
    section.columns(
        " | fresh p50 | p99 | p99.9 | added p50 | added p99 | added p50 / two `PING`s | replay p50 | p99 | added p50 \
         | conflict p50 | p99 | mismatch p50 | p99",
    );
    let two_pings = taken.added(&TWO_PINGS, Situation::Fresh, 0.5);
    let pings_in_function = [&ONE_PING, &TWO_PINGS];
    for contestant in stage.present.iter().copied().chain(pings_in_function) {
        let (title, name) = (contestant.title, contestant.name);
        let cells = taken.cells(contestant, &two_pings);
        section.row((title, name), &cells.join(" | "), taken.numbers(contestant));
    }
    section.nest("contestants");
    let beside = [
        ("runtime_api_us", runtime_api.into()),
        ("one_ping_us", json!(one)),
        ("two_pings_us", json!(two)),
    ];
    let beside = beside.map(|(name, value)| (name.to_owned(), value));
    section.data.extend(beside);
    add_goals(&mut section, stage, taken);
    section.pictures.push(("latency", picture(stage, taken)));
    section
}

/// Adds the goals: the added cost of ours, compared with other libraries and with `PING`s.
fn add_goals(section: &mut Section, stage: &Stage, taken: &Taken) {
    let of_name = |name: &str| stage.present.iter().find(|peer| peer.name == name);
    let Some(ours) = of_name("ours-redis") else {
        return;
    };
    let fresh = taken.added(ours, Situation::Fresh, 0.5);
    let mut peers = Vec::new();
    for (name, most) in PEERS {
        let Some(&peer) = of_name(name) else {
            continue;
        };
        let title = peer.plain_title();
        let what = format!("p50 that ours adds to a fresh call / that {title} adds");
        let times = ratios(&fresh, &taken.added(peer, Situation::Fresh, 0.5));
        section.goal(what, Limit::AtMost(most), Spread::of(&times));
        peers.push(peer);
    }
    for (situation, pings, name) in [
        (Situation::Fresh, &TWO_PINGS, "two `PING`s add"),
        (Situation::Replay, &ONE_PING, "one `PING` adds"),
    ] {
        let what = format!(
            "p50 that ours adds to a {} call / that {name}",
            situation.name()
        );
        let added = taken.added(ours, situation, 0.5);
        let times = ratios(&added, &taken.added(pings, Situation::Fresh, 0.5));
        section.goal(what, Limit::AtMost(MOST_TIMES_PINGS), Spread::of(&times));
    }
    if let Some(least) = taken.least_added_p99(&peers) {
        let what = "p99 that ours adds to a fresh call / the least that another library adds";
        let times = ratios(&taken.added(ours, Situation::Fresh, 0.99), &least);
        let limit = Limit::AtMost(MOST_TIMES_LEAST_P99);
        section.goal(what.to_owned(), limit, Spread::of(&times));
    }
}

impl Taken {
    /// The quantile of the calls of each round. Empty if the contestant cannot get into the situation.
    fn quantiles(&self, name: &'static str, situation: Situation, part: f64) -> Vec<f64> {
        let rounds = self.0.get(&(name, situation)).into_iter().flatten();
        rounds.map(|took| percentile(took, part)).collect()
    }

    /// The median call of each round. Empty if the contestant cannot get into the situation.
    fn medians(&self, name: &'static str, situation: Situation) -> Vec<f64> {
        self.quantiles(name, situation, 0.5)
    }

    /// The quantile of the latencies of all rounds. The given share of the calls takes at most this time.
    fn tail(&self, name: &'static str, situation: Situation, part: f64) -> Option<f64> {
        let rounds = self.0.get(&(name, situation))?;
        Some(percentile(&rounds.concat(), part))
    }

    /// The added cost in each round: the quantile of the calls in this situation, minus the same quantile of fresh calls to the
    /// same program without idempotency.
    fn added(&self, contestant: &Contestant, situation: Situation, part: f64) -> Vec<f64> {
        let with = self.quantiles(contestant.name, situation, part);
        let without = self.quantiles(contestant.baseline(), Situation::Fresh, part);
        differences(&with, &without)
    }

    /// The least p99 that one of the peers adds to a fresh call, for each round. `None` without peers.
    fn least_added_p99(&self, peers: &[&Contestant]) -> Option<Vec<f64>> {
        let added = peers
            .iter()
            .map(|peer| self.added(peer, Situation::Fresh, 0.99));
        let lesser = |a: Vec<f64>, b: Vec<f64>| a.iter().zip(&b).map(|(a, b)| a.min(*b)).collect();
        let least = added.reduce(lesser)?;
        Some(least.iter().map(|least| least.max(LEAST_P99)).collect())
    }

    fn added_to_p99(&self, contestant: &Contestant) -> f64 {
        let p99 = |name| self.tail(name, Situation::Fresh, 0.99).unwrap_or_default();
        p99(contestant.name) - p99(contestant.baseline())
    }

    fn cells(&self, contestant: &Contestant, two_pings: &[f64]) -> Vec<String> {
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
                let added = self.added(contestant, Situation::Fresh, 0.5);
                [
                    Spread::of(&added).to_string(),
                    number(self.added_to_p99(contestant)),
                    number(Spread::of(&ratios(&added, two_pings)).median),
                ]
            }
        });
        cells.extend([p50(Situation::Replay), tail(Situation::Replay, 0.99)]);
        cells.push(match contestant.store.has_records() {
            true => Spread::of(&self.added(contestant, Situation::Replay, 0.5)).to_string(),
            false => String::new(),
        });
        for situation in [Situation::Conflict, Situation::Mismatch] {
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
            let added =
                |situation, part| json!(Spread::of(&self.added(contestant, situation, part)));
            let to_fresh = json!({
                "p50_us": added(Situation::Fresh, 0.5),
                "p99_us": self.added_to_p99(contestant),
                "p99_us_by_round": added(Situation::Fresh, 0.99),
            });
            data.insert("added_to_fresh".to_owned(), to_fresh);
            if contestant.store.has_records() {
                let to_replay = json!({ "p50_us": added(Situation::Replay, 0.5) });
                data.insert("added_to_replay".to_owned(), to_replay);
            }
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
        assert_eq!(taken.added(ours, Situation::Fresh, 0.5), [200.0, 300.0]);
        assert!(taken.medians(ours.name, Situation::Replay).is_empty());
    }

    #[test]
    fn the_least_p99_is_found_in_each_round() {
        let [with, peer] = [&crate::contestant::ALL[6], &crate::contestant::ALL[8]];
        let rounds = |all: [u64; 3]| all.map(|took| vec![Duration::from_micros(took)]).into();
        let taken = Taken(BTreeMap::from([
            ((with.name, Situation::Fresh), rounds([300, 500, 90])),
            ((with.baseline(), Situation::Fresh), rounds([100, 100, 100])),
            ((peer.name, Situation::Fresh), rounds([400, 400, 400])),
            ((peer.baseline(), Situation::Fresh), rounds([100, 100, 100])),
        ]));
        let least = taken.least_added_p99(&[with, peer]);
        assert_eq!(least, Some(vec![200.0, 300.0, LEAST_P99]));
        assert_eq!(taken.least_added_p99(&[]), None);
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
