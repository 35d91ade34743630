//! Measures the start of each function of this workspace, compared with a bare `lambda_http` function. `make startup` runs only
//! this measure.

use serde_json::json;

use super::progress;
use crate::contestant::Program;
use crate::samples::{Samples, millis, number};
use crate::section::{Limit, Section};
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
    let starts = stage.settings.starts;
    let (mut took, mut memory) = (Samples::default(), Samples::default());
    // The first round is not counted, because it reads the files into memory.
    for round in 0..=starts {
        progress(&format!("starts, round {round} of {starts}"));
        for name in FUNCTIONS {
            let function = stage.start_function(name).await;
            if round > 0 {
                took.add(name, millis(function.init_duration()));
                memory.add(name, function.rss_bytes() as f64 / 1e6);
            }
        }
    }

    let mut section = Section::new("functions", "Start of each function");
    section.notes.push(format!(
        "From `exec` to the first request for work, median of {starts} starts (least–most), no store configured. × is the median of the \
         ratios to bare, start by start."
    ));
    section.columns("function | ms | × bare | RSS MB | × bare | size MB | × bare");
    let size = |name| {
        let file = std::fs::metadata(Program::Binary(name).file());
        file.map_or(0.0, |file| file.len() as f64 / 1e6)
    };
    for name in FUNCTIONS {
        let (Some(start), Some(rss)) = (took.spread(name), memory.spread(name)) else {
            continue;
        };
        let times = took.times(name, BARE);
        let rss_times = number(memory.times(name, BARE).median);
        let [megabytes, size_times] = [size(name), size(name) / size(BARE)].map(number);
        let cells = format!("{start} | {times} | {rss} | {rss_times} | {megabytes} | {size_times}");
        let numbers = json!({
            "start_ms": start,
            "times_bare": times,
            "rss_mb": rss,
            "size_mb": size(name),
        });
        section.row((&format!("`{name}`"), name), &cells, numbers);
        if name == "health" {
            let what = "start of `health` / of bare `lambda_http`".to_owned();
            section.goal(what, Limit::AtMost(1.3), times);
        }
    }
    section
}
