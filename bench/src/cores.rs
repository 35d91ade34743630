//! Chooses the cores on which a measure runs.
//!
//! Calls that are sent one at a time use at most one core. On several cores, a call wakes a random sleeping core. The same
//! program then takes 30 µs in one round and 75 µs in the next. On one core nothing depends on chance, and a call takes the
//! computing time of its parts.

use std::process::Command;
use std::sync::OnceLock;

use crate::stage::Stage;

/// The cores of a measure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cores {
    /// The benchmark, Redis and the contestants share one core. MongoDB uses all cores.
    One,
    /// The benchmark, Redis, the contestants and MongoDB use all cores.
    All,
}

/// Moves this process, its future children and Redis to these cores. Returns a sentence about the result.
pub(crate) async fn assign(stage: &Stage, cores: Cores) -> &'static str {
    // The number of cores is determined before this process moves to one core. After the move, the system reports only one
    // core.
    static LAST: OnceLock<usize> = OnceLock::new();
    let cores_there = || std::thread::available_parallelism().map_or(1, usize::from);
    let last = LAST.get_or_init(|| cores_there() - 1);
    let (list, count) = match cores {
        Cores::One => (last.to_string(), 1),
        Cores::All => (format!("0-{last}"), last + 1),
    };
    let redis = stage.redis.info("process_id").await;
    let ours = std::process::id().to_string();
    let is_done = [ours.as_str(), redis.trim()]
        .iter()
        .all(|process| is_put(process, &list));
    match (cores, is_done && cores_there() == count) {
        (Cores::One, true) => "On one core: benchmark, processes and Redis.",
        (Cores::One, false) => {
            "On whichever core the system chose (`taskset` is not there), so medians jump."
        }
        (Cores::All, true) => "On all cores.",
        (Cores::All, false) => "Perhaps not on all cores: `taskset` failed.",
    }
}

fn is_put(process: &str, cores: &str) -> bool {
    let mut taskset = Command::new("taskset");
    taskset.args(["--all-tasks", "--cpu-list", "--pid", cores, process]);
    taskset.output().is_ok_and(|output| output.status.success())
}
