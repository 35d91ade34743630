//! What is measured, one file each. A measure starts who it needs, lets them take turns round by round, and returns a
//! [`Section`].

mod body_size;
mod claim;
mod cold_start;
mod faults;
mod functions;
mod latency;
mod live_keys;
mod load;
mod memory;
mod network;
mod traffic;

use std::collections::BTreeMap;
use std::io::{IsTerminal, Write};

use crate::cores::{self, Cores};
use crate::report::Section;
use crate::stage::Stage;

/// The names of all measures, in the order in which they run.
pub(crate) const NAMES: [&str; 11] = [
    "functions",
    "cold_start",
    "latency",
    "traffic",
    "claim",
    "network",
    "load",
    "body_size",
    "live_keys",
    "memory",
    "faults",
];

/// Those in which several things happen at a time.
const ON_ALL_CORES: [&str; 4] = ["claim", "load", "memory", "faults"];

/// Those that need nobody but the workspace's own programs.
pub(crate) const WITHOUT_CONTESTANTS: [&str; 2] = ["functions", "claim"];

/// Runs a measure.
///
/// # Panics
///
/// For a name that is none, and when anything answers as it must not.
pub(crate) async fn run(name: &str, stage: &Stage) -> Section {
    stage.empty_stores().await;
    let cores = match ON_ALL_CORES.contains(&name) {
        true => Cores::All,
        false => Cores::One,
    };
    let where_it_runs = cores::assign(stage, cores).await;
    let mut section = measured(name, stage).await;
    section.notes.push(where_it_runs.to_owned());
    section
}

async fn measured(name: &str, stage: &Stage) -> Section {
    match name {
        "functions" => functions::measure(stage).await,
        "cold_start" => cold_start::measure(stage).await,
        "latency" => latency::measure(stage).await,
        "traffic" => traffic::measure(stage).await,
        "claim" => claim::measure(stage).await,
        "network" => network::measure(stage).await,
        "load" => load::measure(stage).await,
        "body_size" => body_size::measure(stage).await,
        "live_keys" => live_keys::measure(stage).await,
        "memory" => memory::measure(stage).await,
        "faults" => faults::measure(stage).await,
        _ => panic!("no measure is called `{name}`"),
    }
}

/// What each contestant has come to in each round.
type Rounds = BTreeMap<&'static str, Vec<f64>>;

/// Says how far a measure is, on a line that the next word of it takes.
fn progress(words: &str) {
    let mut terminal = std::io::stderr();
    let line = match terminal.is_terminal() {
        true => format!("\r\x1b[K    {words}"),
        false => format!("    {words}\n"),
    };
    // Nobody has to see it.
    let _ = terminal.write_all(line.as_bytes());
}
