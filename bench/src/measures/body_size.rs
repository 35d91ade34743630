//! What does a longer body cost?

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::progress;
use crate::contestant::Contestant;
use crate::crew::{Member, Situation, in_turn};
use crate::report::Section;
use crate::sample::{Spread, number, percentile};
use crate::stage::Stage;

/// In one block, of the shortest bodies and of the longest ones.
const CALLS: (usize, usize) = (60, 4);
const LONG: usize = 1_000_000;

/// What was asked of whom, with how long a pad.
type Case = (&'static str, Situation, usize);

#[derive(Default)]
struct Found {
    /// Round by round, the median call in microseconds.
    medians: BTreeMap<Case, Vec<f64>>,
    /// Why a case did not come to its end.
    failed: BTreeMap<Case, String>,
}

pub(super) async fn measure(stage: &Stage) -> Section {
    let mut members = Member::start_all(stage, None).await;
    let rounds = stage.settings.rounds.min(5);
    let mut found = Found::default();
    // One round more than counted: buffers have grown then.
    for round in 0..=rounds {
        for &size in &stage.settings.sizes {
            progress(&format!("{size} bytes, round {round} of {rounds}"));
            for member in in_turn(&mut members, round) {
                member.set_pad(size);
                for situation in Situation::ALL {
                    if situation.is_possible(member.contestant) {
                        found.add(stage, member, situation, size, round).await;
                    }
                }
            }
            // Long bodies would fill the memory of Redis.
            stage.empty_stores().await;
        }
    }
    section(stage, &found, rounds)
}

impl Found {
    async fn add(
        &mut self,
        stage: &Stage,
        member: &Member,
        situation: Situation,
        size: usize,
        round: usize,
    ) {
        let case = (member.contestant.name, situation, size);
        if self.failed.contains_key(&case) {
            return;
        }
        let calls = if size >= LONG { CALLS.1 } else { CALLS.0 };
        let calls = calls.min(stage.settings.calls);
        match member.try_calls(stage, situation, calls).await {
            Ok(took) if round > 0 => {
                let rounds = self.medians.entry(case).or_default();
                rounds.push(percentile(&took, 0.5));
            }
            Ok(_) => {}
            Err(why) => {
                self.failed.insert(case, why);
            }
        }
    }

    /// A cell, and the same for programs.
    fn told(&self, case: Case) -> (String, Value) {
        if let Some(why) = self.failed.get(&case) {
            return ("fails".to_owned(), json!({ "fails": why }));
        }
        let call = Spread::of(&self.medians[&case]);
        (number(call.median), call.to_json())
    }
}

fn section(stage: &Stage, found: &Found, rounds: usize) -> Section {
    let sizes = &stage.settings.sizes;
    let mut section = Section::new("body_size", "Longer bodies");
    section.notes.push(format!(
        "Median call in microseconds by the length of the request and of its result; median of {rounds} rounds; \"fails\": an answer that is \
         not what it has to be, in the JSON. A mismatch is asked with a short request. A call with a long body takes longer in every \
         program: its row without idempotency is the one to compare with. What Redis itself spends on a long record stands under \"A claim \
         beside a bare round trip\"."
    ));
    section.columns = vec![String::new()];
    let columns = sizes.iter().map(|size| format!("{size} bytes"));
    section.columns.extend(columns);
    let mut data = Map::new();
    let asked = |contestant: &'static Contestant| {
        let possible = move |situation: &Situation| situation.is_possible(contestant);
        Situation::ALL.into_iter().filter(possible)
    };
    for &contestant in &stage.present {
        for situation in asked(contestant) {
            let mut cells = vec![format!("{}, {}", contestant.title, situation.name())];
            let mut numbers = Map::new();
            for &size in sizes {
                let (cell, of_it) = found.told((contestant.name, situation, size));
                cells.push(cell);
                numbers.insert(size.to_string(), of_it);
            }
            section.rows.push(cells);
            let name = format!("{}, {}", contestant.name, situation.name());
            data.insert(name, numbers.into());
        }
    }
    section.data = data.into();
    section
}
