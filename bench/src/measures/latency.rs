//! How long does a call take whose process is warm, and how much of it is idempotency's?

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};

use super::progress;
use crate::contestant::Contestant;
use crate::crew::{Member, Situation, in_turn};
use crate::order::{Order, USUAL_PAD_BYTES};
use crate::plot::{self, Line};
use crate::raw;
use crate::report::{Goal, Limit, Section};
use crate::runtime_api;
use crate::sample::{Spread, differences, number, percentile, ratios};
use crate::stage::Stage;

/// The rare ones: looked for among the calls of all rounds, as one round has too few.
const TAILS: [(&str, f64); 2] = [("p99", 0.99), ("p99.9", 0.999)];
/// Where the curves are drawn: the part of the calls that took longer.
const CURVE: [f64; 9] = [0.5, 0.25, 0.1, 0.05, 0.025, 0.01, 0.005, 0.0025, 0.001];
/// Those of them that are named.
const NAMED: [(f64, &str); 4] = [
    (0.5, "50 %"),
    (0.1, "90 %"),
    (0.01, "99 %"),
    (0.001, "99.9 %"),
];
/// Whom ours is to be faster than.
const PEERS: [&str; 2] = ["powertools-python", "powertools-typescript"];

/// All calls of a contestant in a situation, round by round.
type Taken = BTreeMap<(&'static str, Situation), Vec<Vec<Duration>>>;

pub(super) async fn measure(stage: &Stage) -> Section {
    let mut members = Member::start_all(stage, None).await;
    let (rounds, calls) = (stage.settings.rounds, stage.settings.calls);
    let mut taken = Taken::new();
    let mut floor = Vec::new();
    let mut raw = raw::Loaded::one_set(&raw::connect(&stage.redis.url()).await).await;
    // One round more than counted: what is compiled or allocated at first is done then.
    for round in 0..=rounds {
        stage.empty_stores().await;
        for member in in_turn(&mut members, round) {
            let contestant = member.contestant;
            progress(&format!(
                "calls, round {round} of {rounds}: {}",
                contestant.name
            ));
            for situation in Situation::ALL {
                if !situation.is_possible(contestant) {
                    continue;
                }
                let took = member.calls(stage, situation, calls).await;
                if round > 0 {
                    let of_it = taken.entry((contestant.name, situation)).or_default();
                    of_it.push(took);
                }
            }
        }
        let took = two_round_trips(&mut raw, round, calls).await;
        if round > 0 {
            floor.push(percentile(&took, 0.5));
        }
    }
    let event = Order::fresh(USUAL_PAD_BYTES).event();
    let overhead = runtime_api::overhead(&event, calls).await;
    section(stage, &taken, &floor, percentile(&overhead, 0.5))
}

fn section(stage: &Stage, taken: &Taken, floor: &[f64], overhead: f64) -> Section {
    let mut section = Section::new("latency", "Warm calls");
    let (rounds, calls) = (stage.settings.rounds, stage.settings.calls);
    section.notes.push(format!(
        "Microseconds from handing an event over to having the answer, one call at a time, in {rounds} rounds of {calls} calls. p50: median \
         of the rounds (least–most); p99 and p99.9: of all rounds together. *Added p50* is what stands beside the same program without \
         idempotency in the same round; *added p99* is the difference of the two p99s. The Runtime API of the benchmark takes {} µs of \
         each call. Two round trips of redis-rs alone (`EVALSHA` around one `SET`) took {} µs.",
        number(overhead),
        Spread::of(floor)
    ));
    section.columns([
        "",
        "fresh p50",
        "p99",
        "p99.9",
        "added p50",
        "added p99",
        "added p50 / two raw round trips",
        "replay p50",
        "p99",
        "conflict p50",
        "p99",
        "mismatch p50",
        "p99",
    ]);
    let mut data = Map::new();
    for contestant in &stage.present {
        section.rows.push(row(taken, contestant, floor));
        data.insert(contestant.name.to_owned(), numbers(taken, contestant));
    }
    section.data = json!({
        "contestants": data,
        "runtime_api_us": overhead,
        "two_raw_round_trips_us": Spread::of(floor).to_json(),
    });
    add_goals(&mut section, stage, taken);
    section.pictures.push(("latency", picture(stage, taken)));
    section
}

fn row(taken: &Taken, contestant: &Contestant, floor: &[f64]) -> Vec<String> {
    let middle = |situation| {
        let rounds = medians(taken, contestant.name, situation);
        rounds.map_or_else(String::new, |rounds| Spread::of(&rounds).in_words())
    };
    let tail = |situation, part| {
        let tail = tail(taken, contestant.name, situation, part);
        tail.map_or_else(String::new, number)
    };
    let mut cells = vec![contestant.title.to_owned(), middle(Situation::Fresh)];
    cells.extend(TAILS.map(|(_, part)| tail(Situation::Fresh, part)));
    cells.extend(match contestant.is_baseline() {
        true => ["", "", ""].map(str::to_owned),
        false => {
            let added = added(taken, contestant);
            [
                Spread::of(&added).in_words(),
                number(added_to_p99(taken, contestant)),
                number(Spread::of(&ratios(&added, floor)).median),
            ]
        }
    });
    for situation in [Situation::Replay, Situation::Conflict, Situation::Mismatch] {
        cells.extend([middle(situation), tail(situation, 0.99)]);
    }
    cells
}

/// The goals: by how much more the others add than ours does.
fn add_goals(section: &mut Section, stage: &Stage, taken: &Taken) {
    let of_name = |name: &str| stage.present.iter().find(|peer| peer.name == name);
    let Some(ours) = of_name("ours-redis") else {
        return;
    };
    for peer in PEERS.into_iter().filter_map(of_name) {
        let title = plot::plain(peer.title);
        let more = added_to_p99(taken, peer) / added_to_p99(taken, ours);
        section.goals.extend([
            Goal {
                what: format!("p50 that {title} adds to a fresh call / that ours adds"),
                limit: Limit::AtLeast(5.0),
                measured: Spread::of(&ratios(&added(taken, peer), &added(taken, ours))),
            },
            Goal {
                what: format!("by how much {title} moves the p99 of a fresh call / ours does"),
                limit: Limit::AtLeast(5.0),
                measured: Spread::of(&[more]),
            },
        ]);
    }
}

/// Round by round, the median call.
fn medians(taken: &Taken, name: &'static str, situation: Situation) -> Option<Vec<f64>> {
    let rounds = taken.get(&(name, situation))?;
    Some(rounds.iter().map(|took| percentile(took, 0.5)).collect())
}

/// What all but a part of the calls of all rounds stayed below.
fn tail(taken: &Taken, name: &'static str, situation: Situation, part: f64) -> Option<f64> {
    let rounds = taken.get(&(name, situation))?;
    Some(percentile(&rounds.concat(), part))
}

/// Round by round, by how much a fresh call exceeds one of the same program without idempotency.
fn added(taken: &Taken, contestant: &Contestant) -> Vec<f64> {
    let fresh = |name| medians(taken, name, Situation::Fresh).unwrap_or_default();
    differences(&fresh(contestant.name), &fresh(contestant.baseline))
}

fn added_to_p99(taken: &Taken, contestant: &Contestant) -> f64 {
    let p99 = |name| tail(taken, name, Situation::Fresh, 0.99).unwrap_or_default();
    p99(contestant.name) - p99(contestant.baseline)
}

fn numbers(taken: &Taken, contestant: &'static Contestant) -> Value {
    let mut data = Map::new();
    for situation in Situation::ALL {
        let Some(rounds) = medians(taken, contestant.name, situation) else {
            continue;
        };
        let mut numbers = Map::new();
        numbers.insert("p50_us".to_owned(), Spread::of(&rounds).to_json());
        numbers.extend(TAILS.map(|(name, part)| {
            let tail = tail(taken, contestant.name, situation, part);
            (format!("{name}_us"), tail.into())
        }));
        data.insert(situation.name().to_owned(), numbers.into());
    }
    if !contestant.is_baseline() {
        let added = json!({
            "p50_us": Spread::of(&added(taken, contestant)).to_json(),
            "p99_us": added_to_p99(taken, contestant),
        });
        data.insert("added_to_fresh".to_owned(), added);
    }
    data.into()
}

fn picture(stage: &Stage, taken: &Taken) -> String {
    let place = |part: f64| -part.log10();
    let lines = stage.present.iter().map(|contestant| {
        let calls = taken[&(contestant.name, Situation::Fresh)].concat();
        let points = CURVE.map(|part| (place(part), percentile(&calls, 1.0 - part) / 1e3));
        Line {
            name: plot::plain(contestant.title),
            points: points.into(),
        }
    });
    let lines: Vec<_> = lines.collect();
    let below = NAMED.map(|(part, name)| (place(part), name.to_owned()));
    let title = "Fresh calls: how many of them (below) took how long at most, all rounds together";
    plot::lines(title, &below, plot::Scale::Logarithmic, "ms", &lines)
}

/// What a fresh call cannot do without: one round trip before the work and one behind it.
async fn two_round_trips(floor: &mut raw::Loaded, round: usize, calls: usize) -> Vec<Duration> {
    let mut took = Vec::with_capacity(calls);
    for number in 0..calls {
        let began = Instant::now();
        for _ in 0..2 {
            floor.set(&format!("raw:{round}:{number}")).await;
        }
        took.push(began.elapsed());
    }
    took
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_added_is_counted_from_the_baseline_of_the_same_round() {
        let micros = |micros: u64| vec![Duration::from_micros(micros)];
        let contestant = &crate::contestant::ALL[3];
        let taken = Taken::from([
            (
                (contestant.name, Situation::Fresh),
                vec![micros(300), micros(500)],
            ),
            (
                (contestant.baseline, Situation::Fresh),
                vec![micros(100), micros(200)],
            ),
        ]);
        assert_eq!(added(&taken, contestant), [200.0, 300.0]);
        assert_eq!(medians(&taken, contestant.name, Situation::Replay), None);
    }

    #[test]
    fn the_rare_calls_are_those_of_all_rounds() {
        let name = crate::contestant::ALL[0].name;
        let round = |slowest: u64| {
            let mut took = vec![Duration::from_micros(1); 99];
            took.push(Duration::from_micros(slowest));
            took
        };
        let taken = Taken::from([((name, Situation::Fresh), vec![round(7), round(900)])]);
        assert_eq!(tail(&taken, name, Situation::Fresh, 0.99), Some(1.0));
        assert_eq!(tail(&taken, name, Situation::Fresh, 0.995), Some(7.0));
        assert_eq!(tail(&taken, name, Situation::Fresh, 0.999), Some(900.0));
    }
}
