//! Measures the cost of a call with a delay between function and Redis. The cost is given in round trips on the same path, so
//! that it does not depend on the delay.

use std::time::{Duration, Instant};

use harness::FaultProxy;
use serde_json::{Map, json};

use super::progress;
use crate::calls::{Member, Situation, turns};
use crate::contestant::Store;
use crate::plot::{self, Named};
use crate::raw;
use crate::samples::{Samples, Spread, differences, millis, percentile, ratios};
use crate::section::{Limit, Section};
use crate::stage::{Around, Stage};

/// The least delay for which the goals apply.
const DELAY_OF_THE_GOALS: Duration = Duration::from_millis(1);
/// The maximum number of round trips that ours may add.
const GOALS: [(Situation, f64); 2] = [(Situation::Fresh, 2.15), (Situation::Replay, 1.2)];
/// The name of one round trip of redis-rs, used in place of a contestant's name.
const TRIP: &str = "one round trip";

pub(super) async fn measure(stage: &Stage) -> Section {
    let proxy = FaultProxy::in_front_of(stage.redis.address());
    let around = Around {
        redis: Some(proxy.address()),
        ..Around::default()
    };
    // Contestants with MongoDB are left out. The proxy does not delay MongoDB, so their cost cannot be given in round trips.
    let is_asked = |store| matches!(store, Store::Nothing | Store::Redis);
    let members = Member::start_all(stage, around, |contestant| is_asked(contestant.store)).await;
    let mut connection = raw::connect(&format!("redis://{}", proxy.address())).await;

    let (rounds, calls) = (stage.settings.rounds, (stage.settings.calls / 4).max(5));
    let mut medians = Samples::default();
    for &delay in &stage.settings.delays {
        proxy.delay(delay);
        // The first round is not counted, because in it the Redis clients of contestants check their idle connections.
        for round in 0..=rounds {
            progress(&format!("{delay:?} later, round {round} of {rounds}"));
            stage.empty_stores().await;
            let mut add = |name, situation, took: &[Duration]| {
                if round > 0 {
                    medians.add((delay, name, situation), percentile(took, 0.5));
                }
            };
            let mut took = Vec::new();
            for _ in 0..calls {
                let began = Instant::now();
                raw::ping(&mut connection).await;
                took.push(began.elapsed());
            }
            add(TRIP, Situation::Fresh, &took);
            for (member, situation) in turns(&members, &Situation::ANSWERED, round) {
                let took = member.calls(situation, calls).await;
                add(member.contestant.name, situation, &took);
            }
        }
    }
    section(&stage.settings.delays, &members, &medians)
}

fn section(
    delays: &[Duration],
    members: &[Member<'_>],
    medians: &Samples<(Duration, &'static str, Situation)>,
) -> Section {
    let mut section = Section::new("network", "Behind a slow network");
    section.notes.push(
        "The added cost of idempotency (the median call minus that of the same program without idempotency in the same round), \
         and in brackets the same in round trips of redis-rs's `PING` on the same path. Only replies of Redis are delayed, so \
         tiered is left out."
            .to_owned(),
    );
    let trip = |delay| medians.of((delay, TRIP, Situation::Fresh));
    let trips = delays
        .iter()
        .map(|delay| (millis(*delay), Spread::of(trip(*delay))));
    let trips: Vec<_> = trips.collect();
    let column = |(delay, really): &(f64, Spread)| {
        format!(" | delay {delay} ms: a round trip is {really} µs")
    };
    section.columns(&trips.iter().map(column).collect::<String>());
    let by_delay = trips
        .iter()
        .map(|(delay, really)| (delay.to_string(), json!(really)));
    let by_delay: Map<_, _> = by_delay.collect();
    section
        .data
        .insert("round_trip_us_by_delay_ms".to_owned(), by_delay.into());
    let mut lines = Vec::new();
    for (member, situation) in turns(members, &Situation::ANSWERED, 0) {
        let contestant = member.contestant;
        if contestant.is_baseline() {
            continue;
        }
        let (mut cells, mut numbers, mut points) = (Vec::new(), Map::new(), Vec::new());
        for &delay in delays {
            let of = |name, situation| medians.of((delay, name, situation));
            let without = of(contestant.baseline(), Situation::Fresh);
            let added = differences(of(contestant.name, situation), without);
            let in_trips = Spread::of(&ratios(&added, trip(delay)));
            let added = Spread::of(&added);
            cells.push(format!("{added} µs [{in_trips}]"));
            let found = json!({ "added_us": added, "round_trips": in_trips });
            numbers.insert(millis(delay).to_string(), found);
            points.push((millis(delay), added.median / 1e3));
            let is_goal = contestant.name == "ours-redis" && delay >= DELAY_OF_THE_GOALS;
            for (_, most) in GOALS
                .into_iter()
                .filter(|goal| is_goal && goal.0 == situation)
            {
                let what = format!(
                    "round trips of latency that ours adds to a {} call, {} ms delay",
                    situation.name(),
                    millis(delay)
                );
                section.goal(what, Limit::AtMost(most), in_trips);
            }
        }
        let [title, name] = situation.titles(contestant);
        section.row((&title, &name), &cells.join(" | "), numbers.into());
        lines.push(Named {
            name: format!("{}, {}", contestant.plain_title(), situation.name()),
            values: points,
        });
    }
    for (delay, really) in &trips {
        let really = really.least / 1e3;
        let what = format!("a reply comes {delay} ms later ({really} ms)");
        section.hold_that(really >= *delay, &what);
    }
    let marks = trips
        .iter()
        .map(|(delay, _)| (*delay, format!("{delay} ms")));
    let marks: Vec<_> = marks.collect();
    let title = "What idempotency adds to a call, by how much later Redis's replies arrive";
    let picture = plot::lines(title, &marks, plot::linear(&lines), &lines);
    section.pictures.push(("network", picture));
    section
}
