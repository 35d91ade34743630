//! How much memory does a process hold after many calls?

use serde_json::{Map, json};

use super::progress;
use crate::crew::{Member, Situation};
use crate::report::{Goal, Limit, Section};
use crate::sample::{Spread, number};
use crate::stage::{Around, Stage};

/// After so many calls at most the stores are emptied, and the terminal is told how far it is.
const STEP: usize = 1_000;
/// What is to be enough, in MB.
const GOALS: [(&str, f64); 2] = [("ours-redis", 10.0), ("ours-tiered", 20.0)];

pub(super) async fn measure(stage: &Stage) -> Section {
    let calls = stage.settings.memory_calls;
    let mut section = Section::new("memory", "Memory");
    section.notes.push(format!(
        "Resident memory of the process in MB, after its first calls and after {calls} more, each with a fresh key; one process each. \
         Ours in memory keeps its records there."
    ));
    section.columns(["", "at first", "× bare", "in the end", "× bare"]);
    let mut measured = Vec::new();
    for contestant in &stage.present {
        let member = Member::start(stage, contestant, Around::default()).await;
        let megabytes = || member.function.rss_bytes() as f64 / 1e6;
        let first = megabytes();
        let mut done = 0;
        while done < calls {
            progress(&format!("{}: {done} of {calls} calls", contestant.name));
            stage.empty_stores().await;
            let now = STEP.min(calls - done);
            member.calls(stage, Situation::Fresh, now).await;
            done += now;
        }
        measured.push((*contestant, first, megabytes()));
    }
    let (_, bare_first, bare_last) = measured[0];
    let mut data = Map::new();
    for (contestant, first, last) in &measured {
        section.rows.push(vec![
            contestant.title.to_owned(),
            number(*first),
            number(first / bare_first),
            number(*last),
            number(last / bare_last),
        ]);
        let numbers =
            json!({ "first_mb": first, "last_mb": last, "last_times_bare": last / bare_last });
        data.insert(contestant.name.to_owned(), numbers);
        section.hold_that(*first > 0.1, &format!("{} has memory", contestant.name));
        for (name, limit) in GOALS {
            if contestant.name == name {
                section.goals.push(Goal {
                    what: format!(
                        "resident MB of {name} after {calls} calls (bare: {})",
                        number(bare_last)
                    ),
                    limit: Limit::AtMost(limit),
                    measured: Spread::of(&[*last]),
                });
            }
        }
    }
    section.data = data.into();
    section
}
