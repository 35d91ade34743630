//! Measures the cost of longer bodies.

use std::collections::BTreeMap;

use serde_json::{Map, json};

use super::progress;
use crate::calls::{Member, Situation, turns};
use crate::samples::{Samples, number, percentile};
use crate::section::Section;
use crate::stage::{Around, Stage};

/// The numbers of calls in one block: for bodies shorter than [`LONG`], and for bodies of at least this length.
const CALLS: (usize, usize) = (60, 4);
/// The length in bytes from which a body gets the smaller number of calls.
const LONG: usize = 1_000_000;

pub(super) async fn measure(stage: &Stage) -> Section {
    let members = Member::start_all(stage, Around::default(), |_| true).await;
    let rounds = stage.settings.rounds.min(5);
    let sizes = &stage.settings.sizes;
    let mut medians = Samples::default();
    // For each case that failed, the reason.
    let mut failed = BTreeMap::new();
    // The first round is not counted, because buffers grow in it.
    for round in 0..=rounds {
        for &size in sizes {
            progress(&format!("{size} bytes, round {round} of {rounds}"));
            let calls = if size >= LONG { CALLS.1 } else { CALLS.0 };
            let calls = calls.min(stage.settings.calls);
            for (member, situation) in turns(&members, &Situation::ALL, round) {
                let case = (member.contestant.name, situation, size);
                if failed.contains_key(&case) {
                    continue;
                }
                match member.try_calls(situation, calls, size).await {
                    Ok(took) if round > 0 => medians.add(case, percentile(&took, 0.5)),
                    Ok(_) => {}
                    Err(why) => drop(failed.insert(case, why)),
                }
            }
            // Otherwise long bodies would fill Redis's memory.
            stage.empty_stores().await;
        }
    }

    let mut section = Section::new("body_size", "Longer bodies");
    section.notes.push(format!(
        "The median duration of a call in microseconds, by the length of the request and of its result: the median of \
         {rounds} rounds. \"fails\" means a wrong answer, which the JSON contains. A mismatch uses a short request. Every program takes longer with a \
         long body, so compare with its row without idempotency. Redis's time for a long record is under \"A claim beside a \
         bare round trip\"."
    ));
    let columns = sizes.iter().map(|size| format!(" | {size} bytes"));
    section.columns(&columns.collect::<String>());
    for (member, situation) in turns(&members, &Situation::ALL, 0) {
        let contestant = member.contestant;
        let (mut cells, mut numbers) = (Vec::new(), Map::new());
        for &size in sizes {
            let case = (contestant.name, situation, size);
            let (cell, found) = match (failed.get(&case), medians.spread(case)) {
                (None, Some(call)) => (number(call.median), json!(call)),
                (why, _) => ("fails".to_owned(), json!({ "fails": why })),
            };
            cells.push(cell);
            numbers.insert(size.to_string(), found);
        }
        let [title, name] = situation.titles(contestant);
        section.row((&title, &name), &cells.join(" | "), numbers.into());
    }
    section
}
