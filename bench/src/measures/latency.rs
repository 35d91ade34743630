//! How long does a call take whose process is warm, and how much of it is idempotency's?

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use redis::aio::MultiplexedConnection;
use serde_json::{Map, Value, json};

use super::progress;
use crate::contestant::Contestant;
use crate::crew::{Member, Situation};
use crate::order::{Order, USUAL_PAD_BYTES};
use crate::plot::{self, Line};
use crate::report::{Goal, Limit, Section};
use crate::runtime_api;
use crate::sample::{Spread, differences, number, percentile, ratios};
use crate::stage::Stage;

/// Which parts of the calls are looked at.
const PARTS: [(&str, f64); 3] = [("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999)];
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
    let members = Member::start_all(stage, None).await;
    let (rounds, calls) = (stage.settings.rounds, stage.settings.calls);
    let mut taken = Taken::new();
    let mut floor = Vec::new();
    let mut raw = Raw::connect(stage).await;
    // One round more than counted: what is compiled or allocated at first is done then.
    for round in 0..=rounds {
        for member in &members {
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
        let took = raw.two_round_trips(calls).await;
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
    section.notes.push(format!(
        "Microseconds from handing an event over to having the answer, one call at a time; {} rounds of {} calls, median of the rounds \
         (least–most). *Added* is what stands beside the same program without idempotency in the same round. The Runtime API of the \
         benchmark takes {} µs of each call. Two round trips of redis-rs alone (`EVALSHA` around one `SET`) took {} µs.",
        stage.settings.rounds,
        stage.settings.calls,
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
        "added / two raw round trips",
        "replay p50",
        "p99",
        "conflict p50",
        "p99",
        "mismatch p50",
        "p99",
    ]);
    let mut data = Map::new();
    for contestant in &stage.present {
        let at = |situation, part| at(taken, contestant.name, situation, part);
        let fresh = PARTS.map(|(_, part)| at(Situation::Fresh, part));
        let mut cells = vec![contestant.title.to_owned()];
        cells.extend(
            fresh
                .iter()
                .flatten()
                .map(|rounds| Spread::of(rounds).in_words()),
        );
        if contestant.name == contestant.baseline {
            cells.extend(["", "", ""].map(str::to_owned));
        } else {
            let added = [0.5, 0.99].map(|part| added(taken, contestant, part));
            cells.extend(added.iter().map(|rounds| Spread::of(rounds).in_words()));
            cells.push(number(Spread::of(&ratios(&added[0], floor)).median));
        }
        for situation in [Situation::Replay, Situation::Conflict, Situation::Mismatch] {
            for part in [0.5, 0.99] {
                let rounds = at(situation, part);
                cells
                    .push(rounds.map_or_else(String::new, |rounds| Spread::of(&rounds).in_words()));
            }
        }
        section.rows.push(cells);
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

/// The goals: by how much more the others add than ours does.
fn add_goals(section: &mut Section, stage: &Stage, taken: &Taken) {
    let of_name = |name: &str| stage.present.iter().find(|peer| peer.name == name);
    let Some(ours) = of_name("ours-redis") else {
        return;
    };
    for peer in PEERS.into_iter().filter_map(of_name) {
        for (name, part) in &PARTS[..2] {
            let more = ratios(&added(taken, peer, *part), &added(taken, ours, *part));
            section.goals.push(Goal {
                what: format!(
                    "{name} that {} adds to a fresh call / that ours adds",
                    plot::plain(peer.title)
                ),
                limit: Limit::AtLeast(5.0),
                measured: Spread::of(&more),
            });
        }
    }
}

/// Round by round, what all but a part of the calls stayed below.
fn at(taken: &Taken, name: &'static str, situation: Situation, part: f64) -> Option<Vec<f64>> {
    let rounds = taken.get(&(name, situation))?;
    Some(rounds.iter().map(|took| percentile(took, part)).collect())
}

/// Round by round, by how much a fresh call exceeds one of the same program without idempotency.
fn added(taken: &Taken, contestant: &Contestant, part: f64) -> Vec<f64> {
    let fresh = |name| at(taken, name, Situation::Fresh, part).unwrap_or_default();
    differences(&fresh(contestant.name), &fresh(contestant.baseline))
}

fn numbers(taken: &Taken, contestant: &'static Contestant) -> Value {
    let mut data = Map::new();
    for situation in Situation::ALL {
        let parts = PARTS.map(|(name, part)| {
            let rounds = at(taken, contestant.name, situation, part)?;
            Some((format!("{name}_us"), Spread::of(&rounds).to_json()))
        });
        let parts: Map<_, _> = parts.into_iter().flatten().collect();
        if !parts.is_empty() {
            data.insert(situation.name().to_owned(), parts.into());
        }
    }
    if contestant.name != contestant.baseline {
        let parts = PARTS.map(|(name, part)| {
            let spread = Spread::of(&added(taken, contestant, part));
            (format!("{name}_us"), spread.to_json())
        });
        let parts: Map<_, _> = parts.into_iter().collect();
        data.insert("added_to_fresh".to_owned(), parts.into());
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

/// redis-rs and nothing else.
struct Raw {
    connection: MultiplexedConnection,
    script: String,
}

impl Raw {
    async fn connect(stage: &Stage) -> Self {
        let client = redis::Client::open(stage.redis.url()).expect("a URL");
        let connection = client.get_multiplexed_async_connection().await;
        let mut connection = connection.expect("Redis runs");
        let mut load = redis::cmd("SCRIPT");
        load.arg("LOAD")
            .arg("return redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])");
        let script = load.query_async(&mut connection).await.expect("loaded");
        Self { connection, script }
    }

    /// What a fresh call cannot do without: one round trip before the work and one behind it.
    async fn two_round_trips(&mut self, calls: usize) -> Vec<Duration> {
        let mut took = Vec::with_capacity(calls);
        for number in 0..calls {
            let began = Instant::now();
            for _ in 0..2 {
                let mut call = redis::cmd("EVALSHA");
                call.arg(&self.script).arg(1).arg(format!("raw:{number}"));
                call.arg([b'x'; 300].as_slice()).arg(3_600_000);
                let _: redis::Value = call.query_async(&mut self.connection).await.expect("set");
            }
            took.push(began.elapsed());
        }
        took
    }
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
        assert_eq!(added(&taken, contestant, 0.5), [200.0, 300.0]);
        assert_eq!(at(&taken, contestant.name, Situation::Replay, 0.5), None);
    }
}
