//! Measures a process's memory after many calls.

use serde_json::json;

use super::progress;
use crate::calls::{Member, Situation};
use crate::samples::{Spread, number};
use crate::section::{Limit, Section};
use crate::stage::{Around, Stage};

/// The number of calls after which the stores are emptied and the progress is printed.
const STEP: usize = 1_000;
/// The maximum resident memory after all calls, in MB.
const GOALS: [(&str, f64); 2] = [("ours-redis", 10.0), ("ours-tiered", 20.0)];

pub(super) async fn measure(stage: &Stage) -> Section {
    let calls = stage.settings.memory_calls;
    let mut section = Section::new("memory", "Memory");
    section.notes.push(format!(
        "Resident memory of the process in MB, after its first calls and after {calls} more, each with a fresh key; one \
         process each. Ours in memory keeps its records in the process."
    ));
    section.columns(" | at first | × bare | in the end | × bare");
    let mut bare = None;
    for &contestant in &stage.present {
        let name = contestant.name;
        let member = Member::start(stage, contestant, Around::default()).await;
        let megabytes = || member.process.rss_bytes() as f64 / 1e6;
        let first = megabytes();
        for done in (0..calls).step_by(STEP) {
            progress(&format!("{name}: {done} of {calls} calls"));
            stage.empty_stores().await;
            let step = STEP.min(calls - done);
            member.calls(Situation::Fresh, step).await;
        }
        let last = megabytes();
        let (bare_first, bare_last) = *bare.get_or_insert((first, last));
        let cells = [first, first / bare_first, last, last / bare_last].map(number);
        let numbers =
            json!({ "first_mb": first, "last_mb": last, "last_times_bare": last / bare_last });
        section.row((contestant.title, name), &cells.join(" | "), numbers);
        section.hold_that(first > 0.1, &format!("{name} has memory"));
        for (_, limit) in GOALS.into_iter().filter(|goal| goal.0 == name) {
            let bare = number(bare_last);
            let what = format!("resident MB of {name} after {calls} calls (bare: {bare})");
            section.goal(what, Limit::AtMost(limit), Spread::of(&[last]));
        }
    }
    section
}
