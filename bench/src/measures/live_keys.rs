//! Measures whether a call takes longer if Redis has many keys.

use serde_json::{Map, json};

use super::progress;
use crate::calls::{Member, Situation, turns};
use crate::contestant::Store;
use crate::raw;
use crate::samples::{Samples, percentile};
use crate::section::Section;
use crate::stage::{Around, Stage};

/// The number of keys per batch.
const BATCH: usize = 1_000;
/// The size of a record with a short result.
const RECORD: [u8; 400] = [b'x'; 400];

pub(super) async fn measure(stage: &Stage) -> Section {
    let is_asked = |store| store != Store::Memory;
    let all = Member::start_all(stage, Around::default(), |contestant| {
        is_asked(contestant.store)
    });
    let members = all.await;
    let (rounds, calls) = (stage.settings.rounds.min(5), stage.settings.calls / 2);
    let mut section = Section::new("live_keys", "Many keys in Redis");
    let mut medians = Samples::default();
    let (mut columns, mut megabytes) = (Vec::new(), Map::new());
    for &keys in &stage.settings.keys {
        // The first round is not counted, because in it each process initializes itself.
        for round in 0..=rounds {
            stage.empty_stores().await;
            fill(stage, keys).await;
            let there: i64 = stage.redis.query(&["DBSIZE"]).await;
            section.hold("keys that were written", there as f64, keys as f64);
            progress(&format!("{keys} keys, round {round} of {rounds}"));
            for (member, situation) in turns(&members, &Situation::ANSWERED, round) {
                let took = member.calls(situation, calls).await;
                if round > 0 {
                    let case = (member.contestant.name, situation, keys);
                    medians.add(case, percentile(&took, 0.5));
                }
            }
        }
        // This number includes the keys of the calls.
        let in_the_end: i64 = stage.redis.query(&["DBSIZE"]).await;
        columns.push(format!("{keys} keys ({in_the_end} in the end)"));
        let used = stage.redis.info("used_memory").await;
        let used: f64 = used.trim().parse().expect("Redis says how much it uses");
        megabytes.insert(keys.to_string(), (used / 1e6).into());
    }
    stage.empty_stores().await;

    section.notes.push(format!(
        "Median call in microseconds, median of the rounds (least–most), followed by the ratio to the case with the fewest \
         keys, which was measured minutes earlier. The keys are written before, {} bytes each with a TTL of an hour; the keys \
         of the calls are added.",
        RECORD.len()
    ));
    section.columns(&format!(" | {}", columns.join(" | ")));
    for (member, situation) in turns(&members, &Situation::ANSWERED, 0) {
        let contestant = member.contestant;
        let of = |keys: &usize| medians.spread((contestant.name, situation, *keys));
        let calls = stage.settings.keys.iter().map(|keys| (keys, of(keys)));
        let (mut cells, mut numbers, mut fewest) = (Vec::new(), Map::new(), None);
        for (keys, call) in calls.filter_map(|(keys, call)| Some((keys, call?))) {
            let times = call.median / *fewest.get_or_insert(call.median);
            cells.push(format!("{call} × {times:.2}"));
            let found = json!({ "us": call, "times_fewest": times });
            numbers.insert(keys.to_string(), found);
        }
        let [title, name] = situation.titles(contestant);
        section.row((&title, &name), &cells.join(" | "), numbers.into());
    }
    section.nest("contestants");
    let megabytes = megabytes.into();
    section
        .data
        .insert("redis_mb_by_keys".to_owned(), megabytes);
    section
}

/// Writes `keys` keys to the empty Redis.
async fn fill(stage: &Stage, keys: usize) {
    let mut connection = raw::connect(&stage.redis.url()).await;
    for first in (0..keys).step_by(BATCH) {
        progress(&format!("{first} of {keys} keys"));
        let mut pipeline = redis::pipe();
        for number in first..(first + BATCH).min(keys) {
            let key = format!("idempotency:http:bench:others:{number:012}");
            let set = pipeline.cmd("SET").arg(key).arg(RECORD.as_slice());
            set.arg("PX").arg(3_600_000).ignore();
        }
        let written: redis::RedisResult<()> = pipeline.query_async(&mut connection).await;
        written.expect("Redis has the memory");
    }
}
