//! Does a call take longer where Redis has many keys?

use std::collections::BTreeMap;

use serde_json::{Map, json};

use super::progress;
use crate::contestant::Store;
use crate::crew::{Member, Situation};
use crate::report::Section;
use crate::sample::{Spread, percentile, ratios};
use crate::stage::Stage;

const SITUATIONS: [Situation; 2] = [Situation::Fresh, Situation::Replay];
/// How many keys are sent at a time.
const BATCH: usize = 1_000;
/// As many bytes as a record with a short result.
const RECORD: [u8; 400] = [b'x'; 400];

pub(super) async fn measure(stage: &Stage) -> Section {
    let members = Member::start_all(stage, None).await;
    let (rounds, calls) = (stage.settings.rounds.min(5), stage.settings.calls / 2);
    let mut took = BTreeMap::<_, Vec<f64>>::new();
    let mut memory_mb = Map::new();
    let mut written = 0;
    for &keys in &stage.settings.keys {
        written = fill(stage, written, keys).await;
        let used: f64 = stage
            .redis
            .info("used_memory")
            .await
            .trim()
            .parse()
            .unwrap_or(0.0);
        memory_mb.insert(keys.to_string(), (used / 1e6).into());
        for round in 1..=rounds {
            for member in &members {
                let contestant = member.contestant;
                if contestant.store == Store::Memory {
                    continue;
                }
                progress(&format!(
                    "{keys} keys, round {round} of {rounds}: {}",
                    contestant.name
                ));
                for situation in SITUATIONS {
                    if situation.is_possible(contestant) {
                        let calls = member.calls(stage, situation, calls).await;
                        let rounds = took.entry((contestant.name, situation, keys)).or_default();
                        rounds.push(percentile(&calls, 0.5));
                    }
                }
            }
        }
    }
    let there: i64 = stage.redis.query(&["DBSIZE"]).await;

    let mut section = Section::new("live_keys", "Many keys in Redis");
    section.notes.push(format!(
        "Median call in microseconds, median of {rounds} rounds (least–most), and behind it × the same row with the fewest keys. The keys \
         are written beforehand, {} bytes each, with an hour to live.",
        RECORD.len()
    ));
    section.columns = vec![String::new()];
    let names = stage
        .settings
        .keys
        .iter()
        .map(|keys| format!("{keys} keys"));
    section.columns.extend(names);
    let mut data = Map::new();
    for contestant in &stage.present {
        for situation in SITUATIONS {
            let of = |keys| took.get(&(contestant.name, situation, keys));
            let mut cells = vec![format!("{}, {}", contestant.title, situation.name())];
            let mut numbers = Map::new();
            let fewest = stage.settings.keys.first().and_then(|keys| of(*keys));
            for keys in &stage.settings.keys {
                let (Some(rounds), Some(fewest)) = (of(*keys), fewest) else {
                    continue;
                };
                let (call, times) = (Spread::of(rounds), Spread::of(&ratios(rounds, fewest)));
                cells.push(format!("{call} × {:.2}", times.median));
                let of_it = json!({ "us": call.to_json(), "times_fewest": times.to_json() });
                numbers.insert(keys.to_string(), of_it);
            }
            if !numbers.is_empty() {
                section.rows.push(cells);
                let name = format!("{}, {}", contestant.name, situation.name());
                data.insert(name, numbers.into());
            }
        }
    }
    let enough = usize::try_from(there).unwrap_or_default() >= written;
    section.hold_that(enough, &format!("{there} keys are there, of {written}"));
    section.data = json!({ "contestants": data, "redis_mb_by_keys": memory_mb });
    section
}

/// Writes keys until there are so many.
async fn fill(stage: &Stage, from: usize, to: usize) -> usize {
    let client = redis::Client::open(stage.redis.url()).expect("a URL");
    let connection = client.get_multiplexed_async_connection().await;
    let mut connection = connection.expect("Redis runs");
    let mut next = from;
    while next < to {
        progress(&format!("{next} of {to} keys"));
        let end = (next + BATCH).min(to);
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
    next
}
