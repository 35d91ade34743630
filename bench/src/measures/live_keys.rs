//! Does a call take longer where Redis has many keys?

use std::collections::BTreeMap;

use serde_json::{Map, json};

use super::progress;
use crate::contestant::Store;
use crate::crew::{Member, Situation, in_turn};
use crate::raw;
use crate::report::Section;
use crate::sample::{Spread, percentile};
use crate::stage::Stage;

const SITUATIONS: [Situation; 2] = [Situation::Fresh, Situation::Replay];
/// How many keys are sent at a time.
const BATCH: usize = 1_000;
/// As many bytes as a record with a short result.
const RECORD: [u8; 400] = [b'x'; 400];

/// By who, what and how many keys: round by round, the median call.
type Medians = BTreeMap<(&'static str, Situation, usize), Vec<f64>>;

/// What Redis held at one step.
struct Held {
    /// The keys after the calls, whose own are among them.
    keys_in_the_end: i64,
    megabytes: f64,
}

pub(super) async fn measure(stage: &Stage) -> Section {
    let mut members = Member::start_all(stage, None).await;
    let (rounds, calls) = (stage.settings.rounds.min(5), stage.settings.calls / 2);
    let mut section = Section::new("live_keys", "Many keys in Redis");
    let (mut medians, mut held) = (Medians::new(), Vec::new());
    for &keys in &stage.settings.keys {
        // One round more than counted: whatever a process does only once is done in it.
        for round in 0..=rounds {
            stage.empty_stores().await;
            fill(stage, keys).await;
            let there = key_count(stage).await;
            section.hold("keys that were written", there as f64, keys as f64);
            for member in in_turn(&mut members, round) {
                let contestant = member.contestant;
                if contestant.store == Store::Memory {
                    continue;
                }
                progress(&format!(
                    "{keys} keys, round {round} of {rounds}: {}",
                    contestant.name
                ));
                for situation in SITUATIONS {
                    if !situation.is_possible(contestant) {
                        continue;
                    }
                    let took = member.calls(stage, situation, calls).await;
                    if round > 0 {
                        let key = (contestant.name, situation, keys);
                        let rounds = medians.entry(key).or_default();
                        rounds.push(percentile(&took, 0.5));
                    }
                }
            }
        }
        let used: f64 = stage
            .redis
            .info("used_memory")
            .await
            .trim()
            .parse()
            .expect("Redis says how much it uses");
        held.push(Held {
            keys_in_the_end: key_count(stage).await,
            megabytes: used / 1e6,
        });
    }
    stage.empty_stores().await;
    describe(&mut section, stage, &medians, &held);
    section
}

fn describe(section: &mut Section, stage: &Stage, medians: &Medians, held: &[Held]) {
    let keys = &stage.settings.keys;
    section.notes.push(format!(
        "Median call in microseconds, median of the rounds (least–most), and behind it × the one with the fewest keys, which was measured \
         minutes earlier. The keys are written beforehand, {} bytes each, with an hour to live; what the calls leave is added to them.",
        RECORD.len()
    ));
    section.columns = vec![String::new()];
    let names = keys.iter().zip(held);
    let names =
        names.map(|(keys, held)| format!("{keys} keys ({} in the end)", held.keys_in_the_end));
    section.columns.extend(names);
    let mut data = Map::new();
    for contestant in &stage.present {
        for situation in SITUATIONS {
            let of = |keys| medians.get(&(contestant.name, situation, keys));
            let mut cells = vec![format!("{}, {}", contestant.title, situation.name())];
            let mut numbers = Map::new();
            let fewest = keys.first().and_then(|keys| of(*keys));
            for keys in keys {
                let (Some(rounds), Some(fewest)) = (of(*keys), fewest) else {
                    continue;
                };
                let call = Spread::of(rounds);
                let times = call.median / Spread::of(fewest).median;
                cells.push(format!("{call} × {times:.2}"));
                let of_it = json!({ "us": call.to_json(), "times_fewest": times });
                numbers.insert(keys.to_string(), of_it);
            }
            if !numbers.is_empty() {
                section.rows.push(cells);
                let name = format!("{}, {}", contestant.name, situation.name());
                data.insert(name, numbers.into());
            }
        }
    }
    let memory = keys
        .iter()
        .zip(held)
        .map(|(keys, held)| (keys.to_string(), held.megabytes.into()));
    let memory: Map<_, _> = memory.collect();
    section.data = json!({ "contestants": data, "redis_mb_by_keys": memory });
}

async fn key_count(stage: &Stage) -> i64 {
    stage.redis.query(&["DBSIZE"]).await
}

/// Writes so many keys.
async fn fill(stage: &Stage, keys: usize) {
    let mut connection = raw::connect(&stage.redis.url()).await;
    let mut next = 0;
    while next < keys {
        progress(&format!("{next} of {keys} keys"));
        let end = (next + BATCH).min(keys);
        let mut pipeline = redis::pipe();
        for number in next..end {
            let key = format!("idempotency:http:bench:others:{number:012}");
            let set = pipeline.cmd("SET").arg(key).arg(RECORD.as_slice());
            set.arg("PX").arg(3_600_000).ignore();
        }
        let written: redis::RedisResult<()> = pipeline.query_async(&mut connection).await;
        written.expect("Redis has the memory");
        next = end;
    }
}
