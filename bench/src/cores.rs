//! On which cores a measure runs.
//!
//! Calls that are sent one at a time keep one core busy at most: where the parts of a call lie on several, it is the system's chance
//! which of them wake up a core that sleeps, and the same program takes 30 µs in one round and 75 in the next. On one core there is
//! nothing to chance, and what a call takes is what its parts have to compute.

use std::process::Command;
use std::sync::OnceLock;

use crate::stage::Stage;

/// What a measure has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cores {
    /// The benchmark, Redis and the contestants share one. MongoDB has the others too.
    One,
    All,
}

/// Puts this process, what it starts from now on, and Redis on these cores. In words, what became of it.
pub(crate) async fn assign(stage: &Stage, cores: Cores) -> &'static str {
    // Asked before this process is on one of them: then it sees only that one.
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
