//! What does a call cost where Redis is further away than this machine? Counted in round trips of the same way, so that the delay
//! cancels out.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::{Map, json};

use super::progress;
use crate::contestant::Store;
use crate::crew::{Member, Situation, in_turn};
use crate::plot::{self, Line};
use crate::raw;
use crate::report::{Goal, Limit, Section};
use crate::sample::{Spread, differences, percentile, ratios};
use crate::slow_link::SlowLink;
use crate::stage::{Around, Stage};

const SITUATIONS: [Situation; 2] = [Situation::Fresh, Situation::Replay];
/// From this delay on a call is held to its number of round trips.
const DELAY_OF_THE_GOALS: Duration = Duration::from_millis(1);

/// By delay and by who: round by round, the median of the calls. Under [`TRIP`]: one round trip of redis-rs.
type Medians = BTreeMap<(Duration, &'static str, Situation), Vec<f64>>;

const TRIP: &str = "one round trip";

pub(super) async fn measure(stage: &Stage) -> Section {
    let link = SlowLink::to(stage.redis.address());
    let mut members = Vec::new();
    for contestant in &stage.present {
        // The way to MongoDB is not delayed, so what tiered adds is not only the delay's.
        if !matches!(contestant.store, Store::Nothing | Store::Redis) {
            continue;
        }
        let around = Around {
            redis: Some(link.address()),
            ..Around::default()
        };
        members.push(Member::start(stage, contestant, around).await);
    }
    let mut raw = raw::connect(&format!("redis://{}", link.address())).await;

    let (rounds, calls) = (stage.settings.rounds, (stage.settings.calls / 4).max(5));
    let mut medians = Medians::new();
    for &delay in &stage.settings.delays {
        link.set_delay(delay);
        // One round more than counted: connections that rested are looked after in it.
        for round in 0..=rounds {
            progress(&format!("{delay:?} later, round {round} of {rounds}"));
            stage.empty_stores().await;
            let mut add = |name, situation, took: &[Duration]| {
                if round > 0 {
                    let rounds = medians.entry((delay, name, situation)).or_default();
                    rounds.push(percentile(took, 0.5));
                }
            };
            let mut took = Vec::new();
            for _ in 0..calls {
                let ping = redis::cmd("PING");
                let began = Instant::now();
                let pong: redis::RedisResult<String> = ping.query_async(&mut raw).await;
                took.push(began.elapsed());
                pong.expect("Redis runs");
            }
            add(TRIP, Situation::Fresh, &took);
            for member in in_turn(&mut members, round) {
                for situation in SITUATIONS {
                    if situation.is_possible(member.contestant) {
                        let took = member.calls(stage, situation, calls).await;
                        add(member.contestant.name, situation, &took);
                    }
                }
            }
        }
    }
    section(stage, &members, &medians)
}

fn section(stage: &Stage, members: &[Member], medians: &Medians) -> Section {
    let delays = &stage.settings.delays;
    let mut section = Section::new("network", "Behind a slow network");
    section.notes.push(
        "What idempotency adds to a call (median call, less that of the same program without, in the same round), and in brackets how \
         many round trips of redis-rs's `PING` on the same way that is; replies of Redis are delayed, those of MongoDB are not, so \
         tiered is left out."
            .to_owned(),
    );
    let trip = |delay| &medians[&(delay, TRIP, Situation::Fresh)];
    section.columns = vec![String::new()];
    for delay in delays {
        let really = Spread::of(trip(*delay));
        let column = format!("delay {} ms: a round trip is {really} µs", millis(*delay));
        section.columns.push(column);
    }
    let (mut data, mut lines) = (Map::new(), Vec::new());
    let trips: Map<_, _> = delays
        .iter()
        .map(|delay| {
            (
                millis(*delay).to_string(),
                Spread::of(trip(*delay)).to_json(),
            )
        })
        .collect();
    data.insert("round_trip_us_by_delay_ms".to_owned(), trips.into());
    for member in members {
        let contestant = member.contestant;
        if contestant.store == Store::Nothing {
            continue;
        }
        for situation in SITUATIONS {
            let mut cells = vec![format!("{}, {}", contestant.title, situation.name())];
            let mut numbers = Map::new();
            let mut points = Vec::new();
            for delay in delays {
                let of = |name, situation| &medians[&(*delay, name, situation)];
                let without = of(contestant.baseline, Situation::Fresh);
                let added = differences(of(contestant.name, situation), without);
                let in_trips = Spread::of(&ratios(&added, trip(*delay)));
                let added = Spread::of(&added);
                cells.push(format!("{added} µs [{in_trips}]"));
                let of_it =
                    json!({ "added_us": added.to_json(), "round_trips": in_trips.to_json() });
                numbers.insert(millis(*delay).to_string(), of_it);
                points.push((millis(*delay), added.median / 1e3));
                if contestant.name == "ours-redis" && *delay >= DELAY_OF_THE_GOALS {
                    let limit = if situation == Situation::Fresh {
                        2.3
                    } else {
                        1.2
                    };
                    section.goals.push(Goal {
                        what: format!(
                            "round trips of latency that ours adds to a {} call, {} ms delay",
                            situation.name(),
                            millis(*delay)
                        ),
                        limit: Limit::AtMost(limit),
                        measured: in_trips,
                    });
                }
            }
            section.rows.push(cells);
            data.insert(
                format!("{}, {}", contestant.name, situation.name()),
                numbers.into(),
            );
            lines.push(Line {
                name: format!("{}, {}", plot::plain(contestant.title), situation.name()),
                points,
            });
        }
    }
    for delay in delays {
        let really = Spread::of(trip(*delay)).least / 1e3;
        let is_late = really >= millis(*delay);
        section.hold_that(
            is_late,
            &format!("a reply comes {delay:?} later ({really} ms)"),
        );
    }
    let below: Vec<_> = delays
        .iter()
        .map(|delay| (millis(*delay), format!("{} ms", millis(*delay))))
        .collect();
    let title = "What idempotency adds to a call, by how much later Redis's replies arrive";
    let picture = plot::lines(title, &below, plot::Scale::Linear, "ms", &lines);
    section.pictures.push(("network", picture));
    section.data = data.into();
    section
}

fn millis(delay: Duration) -> f64 {
    delay.as_secs_f64() * 1e3
}
