//! What does a call cost beyond its own process: round trips, bytes, and Redis's time?

use std::collections::BTreeMap;

use serde_json::{Map, json};

use super::progress;
use crate::contestant::Store;
use crate::crew::{CALLS_OF_A_HOLD, Member, Situation};
use crate::plot::{self, Bars};
use crate::report::Section;
use crate::sample::{Spread, number};
use crate::stage::{Around, Stage};

/// What one call cost, round by round.
#[derive(Default)]
struct Cost {
    round_trips: Vec<f64>,
    bytes_to_redis: Vec<f64>,
    bytes_from_redis: Vec<f64>,
    server_us: Vec<f64>,
    mongo_round_trips: Vec<f64>,
}

/// What each call has to cost, wherever it runs.
const EXPECTED: [(&str, [f64; 4]); 2] = [
    ("ours-redis", [2.0, 1.0, 1.0, 1.0]),
    ("ours-tiered", [2.0, 1.0, 1.0, 1.0]),
];

pub(super) async fn measure(stage: &Stage) -> Section {
    let shared = stage.present.iter();
    let shared = shared.filter(|contestant| contestant.store.is_shared());
    let mut members = Vec::new();
    for contestant in shared {
        let around = Around {
            redis: Some(stage.counter.address()),
            mongo: Some(&stage.mongo_counter),
            ..Around::default()
        };
        members.push(Member::start(stage, contestant, around).await);
    }
    let mut costs = BTreeMap::<_, Cost>::new();
    let rounds = stage.settings.rounds;
    for round in 1..=rounds {
        for member in &members {
            progress(&format!(
                "counting, round {round} of {rounds}: {}",
                member.contestant.name
            ));
            for situation in Situation::ALL {
                let cost = costs
                    .entry((member.contestant.name, situation))
                    .or_default();
                cost.add(stage, member, situation).await;
            }
        }
    }

    let mut section = Section::new("traffic", "Round trips, bytes, and the time of Redis");
    section.notes.push(format!(
        "Per call, counted on the way to Redis, which a bare function does not use at all; median of {rounds} rounds of {} calls. The \
         time is Redis's own account (`INFO commandstats`) of the commands that were sent. Between two of them the function, the proxy and \
         the benchmark run on the same core; sent back to back, a claim takes far less (\"A claim beside a bare round trip\").",
        stage.settings.counted_calls
    ));
    let [fresh, replay, conflict, mismatch] = Situation::ALL.map(Situation::name);
    section.columns = ["".to_owned(), format!("round trips {fresh}")].into();
    section
        .columns
        .extend([replay, conflict, mismatch].map(str::to_owned));
    section
        .columns
        .push(format!("bytes there and back {fresh}"));
    section
        .columns
        .extend([replay, conflict, mismatch].map(str::to_owned));
    section.columns.push(format!("Redis µs {fresh}"));
    section
        .columns
        .extend([replay, conflict, mismatch].map(str::to_owned));
    section
        .columns
        .push(format!("MongoDB round trips {fresh}, {replay}"));

    let (mut data, mut groups) = (Map::new(), Vec::new());
    for member in &members {
        let contestant = member.contestant;
        let of = |situation| &costs[&(contestant.name, situation)];
        let median = |rounds: &Vec<f64>| number(Spread::of(rounds).median);
        let mut cells = vec![contestant.title.to_owned()];
        let all = Situation::ALL.map(of);
        cells.extend(all.map(|cost| median(&cost.round_trips)));
        cells.extend(all.map(|cost| {
            format!(
                "{} + {}",
                median(&cost.bytes_to_redis),
                median(&cost.bytes_from_redis)
            )
        }));
        cells.extend(all.map(|cost| Spread::of(&cost.server_us).in_words()));
        cells.push(match contestant.store {
            Store::Tiered => format!(
                "{}, {}",
                median(&of(Situation::Fresh).mongo_round_trips),
                median(&of(Situation::Replay).mongo_round_trips)
            ),
            _ => String::new(),
        });
        section.rows.push(cells);
        let situations = Situation::ALL.map(|situation| {
            let cost = of(situation);
            let spread = |rounds: &Vec<f64>| Spread::of(rounds).to_json();
            let numbers = json!({
                "round_trips": spread(&cost.round_trips),
                "bytes_to_redis": spread(&cost.bytes_to_redis),
                "bytes_from_redis": spread(&cost.bytes_from_redis),
                "server_us": spread(&cost.server_us),
                "mongo_round_trips": spread(&cost.mongo_round_trips),
            });
            (situation.name().to_owned(), numbers)
        });
        let situations: Map<_, _> = situations.into_iter().collect();
        data.insert(contestant.name.to_owned(), situations.into());
        groups.push(Bars {
            name: plot::plain(contestant.title),
            values: all.map(|cost| Spread::of(&cost.round_trips)).into(),
        });
        for (situation, cost) in Situation::ALL.into_iter().zip(all) {
            let what = format!("{}, {}", contestant.name, situation.name());
            let goes_there = Spread::of(&cost.round_trips).median >= 1.0;
            section.hold_that(goes_there, &format!("{what}: each call goes to Redis"));
        }
    }
    for (name, expected) in EXPECTED {
        for (situation, expected) in Situation::ALL.into_iter().zip(expected) {
            if let Some(cost) = costs.get(&(name, situation)) {
                let what = format!("{name}, {}, round trips to Redis", situation.name());
                let counted = Spread::of(&cost.round_trips);
                section.hold(&what, counted.median, expected);
                // A connection that rested for a moment is tested, in one call of many.
                let is_so = counted.least >= expected && counted.most < expected + 0.1;
                section.hold_that(is_so, &format!("{what}: {expected} in each round"));
            }
        }
    }
    let title = "Round trips to Redis for one call";
    let picture = plot::bars(title, &[fresh, replay, conflict, mismatch], "", &groups);
    section.pictures.push(("round_trips", picture));
    section.data = data.into();
    section
}

impl Cost {
    /// Counts a block of calls.
    async fn add(&mut self, stage: &Stage, member: &Member, situation: Situation) {
        let calls = stage.settings.counted_calls;
        assert!(calls < CALLS_OF_A_HOLD, "a key is held for all of them");
        // What a block does before its calls (the first call of a replay, the claim of a holder) is counted apart and taken off.
        let (before, with_calls) = (
            counted(stage, member, situation, 1).await,
            counted(stage, member, situation, calls + 1).await,
        );
        let each = |of: fn(&Count) -> f64| (of(&with_calls) - of(&before)) / calls as f64;
        self.round_trips.push(each(|count| count.round_trips));
        self.bytes_to_redis.push(each(|count| count.to_redis));
        self.bytes_from_redis.push(each(|count| count.from_redis));
        self.server_us.push(each(|count| count.server_us));
        self.mongo_round_trips
            .push(each(|count| count.mongo_round_trips));
    }
}

struct Count {
    round_trips: f64,
    to_redis: f64,
    from_redis: f64,
    server_us: f64,
    mongo_round_trips: f64,
}

async fn counted(stage: &Stage, member: &Member, situation: Situation, calls: usize) -> Count {
    // A connection that has rested is looked after before its next use: these calls have that done.
    member.calls(stage, Situation::Fresh, 1).await;
    stage.count_anew().await;
    member.calls(stage, situation, calls).await;
    Count {
        round_trips: stage.counter.round_trips() as f64,
        to_redis: stage.counter.bytes_from_clients() as f64,
        from_redis: stage.counter.bytes_from_server() as f64,
        server_us: stage.server_micros().await,
        mongo_round_trips: stage.mongo_counter.round_trips() as f64,
    }
}
