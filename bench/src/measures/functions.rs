//! How long does each function of this workspace take to start, beside a bare `lambda_http` function in the same run? Also
//! `make startup`.

use serde_json::{Map, json};

use super::{Rounds, progress};
use crate::contestant::Program;
use crate::report::{Goal, Limit, Section};
use crate::sample::{Spread, micros, number, ratios};
use crate::stage::Stage;

const BARE: &str = "bare";
const FUNCTIONS: [&str; 9] = [
    BARE,
    "health",
    "health-redis",
    "health-detailed",
    "idempotency",
    "payments-create",
    "payments-get",
    "payments-webhook",
    "payments-reconcile",
];

pub(super) async fn measure(stage: &Stage) -> Section {
    let (mut took, mut memory) = (Rounds::new(), Rounds::new());
    // One round more than counted: the first one brings the files into memory.
    for round in 0..=stage.settings.starts {
        progress(&format!(
            "starts, round {round} of {}",
            stage.settings.starts
        ));
        for name in FUNCTIONS {
            let started = stage.start_function(name).await;
            let function = started.unwrap_or_else(|why| panic!("{why}"));
            if round > 0 {
                let took = took.entry(name).or_default();
                took.push(micros(function.start_took) / 1e3);
                let memory = memory.entry(name).or_default();
                memory.push(function.rss_bytes() as f64 / 1e6);
            }
        }
    }

    let mut section = Section::new("functions", "Start of each function");
    section.notes.push(format!(
        "From `exec` to the first request for work, median of {} starts (least–most), no store configured. × is the median of the \
         ratios to bare, start by start.",
        stage.settings.starts
    ));
    section.columns([
        "function", "ms", "× bare", "RSS MB", "× bare", "size MB", "× bare",
    ]);
    let size = |name| {
        let file = std::fs::metadata(Program::Binary(name).file());
        file.map_or(0.0, |file| file.len() as f64 / 1e6)
    };
    let mut data = Map::new();
    for name in FUNCTIONS {
        let start = Spread::of(&took[name]);
        let times = Spread::of(&ratios(&took[name], &took[BARE]));
        let rss = Spread::of(&memory[name]);
        let rss_times = Spread::of(&ratios(&memory[name], &memory[BARE]));
        section.rows.push(vec![
            format!("`{name}`"),
            start.in_words(),
            times.in_words(),
            rss.in_words(),
            number(rss_times.median),
            number(size(name)),
            number(size(name) / size(BARE)),
        ]);
        let numbers = json!({
            "start_ms": start.to_json(),
            "times_bare": times.to_json(),
            "rss_mb": rss.to_json(),
            "size_mb": size(name),
        });
        data.insert(name.to_owned(), numbers);
        if name == "health" {
            section.goals.push(Goal {
                what: "start of `health` / of bare `lambda_http`".to_owned(),
                limit: Limit::AtMost(1.3),
                measured: times,
            });
        }
    }
    section.data = data.into();
    section
}
