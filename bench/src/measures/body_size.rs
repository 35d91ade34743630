//! What does a longer body cost: the call, and Redis?

use std::collections::BTreeMap;

use serde_json::{Map, json};

use super::progress;
use crate::crew::{Member, Situation};
use crate::report::{Goal, Limit, Section};
use crate::sample::{Spread, number, percentile, ratios};
use crate::stage::{Around, Stage};

/// In one block, of the shortest bodies and of the longest ones.
const CALLS: (usize, usize) = (60, 4);
const LONG: usize = 1_000_000;

/// By who, what and how long: round by round.
type Rounds = BTreeMap<(&'static str, Situation, usize), Vec<f64>>;

pub(super) async fn measure(stage: &Stage) -> Section {
    let (mut took, mut server) = (Rounds::new(), Rounds::new());
    let mut failed = BTreeMap::new();
    let mut members = Vec::new();
    for contestant in &stage.present {
        let direct = Member::start(stage, contestant, Around::default()).await;
        // Counted on its way, and not timed: the way takes longer.
        let counted = Around {
            redis: Some(stage.counter.address()),
            ..Around::default()
        };
        let counted = Member::start(stage, contestant, counted).await;
        members.push([direct, counted]);
    }
    let rounds = stage.settings.rounds.min(5);
    for &size in &stage.settings.sizes {
        let calls = if size >= LONG { CALLS.1 } else { CALLS.0 };
        let calls = calls.min(stage.settings.calls);
        for round in 1..=rounds {
            progress(&format!("{size} bytes, round {round} of {rounds}"));
            for [direct, counted] in &mut members {
                let name = direct.contestant.name;
                direct.set_pad(size);
                counted.set_pad(size);
                for situation in Situation::ALL {
                    if !situation.is_possible(direct.contestant) {
                        continue;
                    }
                    let key = (name, situation, size);
                    if failed.contains_key(&key) {
                        continue;
                    }
                    match direct.try_calls(stage, situation, calls).await {
                        Ok(calls) => {
                            let rounds = took.entry(key).or_default();
                            rounds.push(percentile(&calls, 0.5));
                        }
                        Err(why) => {
                            failed.insert(key, why);
                            continue;
                        }
                    }
                    if direct.contestant.store.is_shared() {
                        let micros = server_micros(stage, counted, situation, calls).await;
                        server.entry(key).or_default().push(micros);
                    }
                }
            }
            // Long bodies would fill the memory of Redis.
            stage.flush().await;
        }
    }

    let sizes = &stage.settings.sizes;
    let (Some(shortest), Some(longest)) = (sizes.first(), sizes.last()) else {
        return Section::new("body_size", "Longer bodies");
    };
    let mut section = Section::new("body_size", "Longer bodies");
    section.notes.push(format!(
        "Median call in microseconds, and in brackets Redis's own time, by the length of the request and of its result; median of {rounds} \
         rounds; \"fails\": an answer that is not what it has to be, in the JSON. A mismatch is asked with a short request. A call with a long body takes longer in every program: the first row of each \
         is the one to compare with."
    ));
    section.columns = vec![String::new()];
    section
        .columns
        .extend(sizes.iter().map(|size| format!("{size} bytes")));
    let mut data = Map::new();
    for [member, _] in &members {
        let contestant = member.contestant;
        for situation in Situation::ALL {
            if !situation.is_possible(contestant) {
                continue;
            }
            let mut cells = vec![format!("{}, {}", contestant.title, situation.name())];
            let mut numbers = Map::new();
            for size in sizes {
                let key = (contestant.name, situation, *size);
                if let Some(why) = failed.get(&key) {
                    cells.push("fails".to_owned());
                    numbers.insert(size.to_string(), json!({ "fails": why }));
                    continue;
                }
                let call = Spread::of(&took[&key]);
                let redis = server.get(&key).map(|rounds| Spread::of(rounds));
                let redis_words = redis.map(|redis| format!(" [{}]", number(redis.median)));
                cells.push(number(call.median) + &redis_words.unwrap_or_default());
                let of_it = json!({ "us": call.to_json(), "redis_us": redis.map(Spread::to_json) });
                numbers.insert(size.to_string(), of_it);
            }
            section.rows.push(cells);
            let name = format!("{}, {}", contestant.name, situation.name());
            data.insert(name, numbers.into());
        }
    }
    for situation in [Situation::Conflict, Situation::Mismatch] {
        let of = |size| server.get(&("ours-redis", situation, size));
        let (Some(longest_took), Some(shortest_took)) = (of(*longest), of(*shortest)) else {
            continue;
        };
        let ratio = Spread::of(&ratios(longest_took, shortest_took));
        section.goals.push(Goal {
            what: format!(
                "Redis's time for a {} of ours, {longest} bytes / {shortest}",
                situation.name()
            ),
            limit: Limit::AtMost(1.25),
            measured: ratio,
        });
    }
    section.data = data.into();
    section
}

/// Redis's time for one call, without what comes before the calls.
async fn server_micros(stage: &Stage, member: &Member, situation: Situation, calls: usize) -> f64 {
    let mut spent = [0.0; 2];
    for (spent, calls) in spent.iter_mut().zip([1, calls + 1]) {
        stage.count_anew().await;
        member.calls(stage, situation, calls).await;
        *spent = stage.server_micros().await;
    }
    (spent[1] - spent[0]) / calls as f64
}
