//! Describes the machine of a run, because the results depend on it.

use std::process::Command;

use crate::server::Server;
use crate::stage::Mongo;

/// The measured commit, with the suffix `-dirty` if there are uncommitted changes.
pub(crate) fn commit() -> String {
    first_line_of(&["git", "describe", "--always", "--dirty", "--exclude=*"])
}

/// Describes the machine and the commit.
pub(crate) fn describe(commit: &str) -> String {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let profile = if cfg!(debug_assertions) {
        "without optimisation: its times say nothing"
    } else {
        "in the release profile"
    };
    format!(
        "{} cores ({}), {}, Linux {}, load before the run {}; {}. Ours is commit {commit}, built {profile}.",
        cores,
        field("/proc/cpuinfo", "model name"),
        field("/proc/meminfo", "MemTotal"),
        first_words("/proc/sys/kernel/osrelease", 1),
        first_words("/proc/loadavg", 3),
        jiff::Timestamp::now().strftime("%Y-%m-%d"),
    )
}

/// Describes the servers and runtimes. MongoDB and the other libraries are included only if contestants take part.
pub(crate) fn surroundings(server: &Server, mongo: Option<&Mongo>) -> String {
    let Some(mongo) = mongo else {
        return format!("{server}.");
    };
    format!(
        "{server}, {}. {}, Node {}.",
        mongo.server.description(),
        first_line_of(&["powertools-python", "--version"]),
        first_line_of(&["powertools-node", "--version"]),
    )
}

/// The first line of a program's output.
fn first_line_of(command: &[&str]) -> String {
    let output = Command::new(command[0]).args(&command[1..]).output();
    let text = output.map(|output| output.stdout).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let line = text.lines().next().unwrap_or_default().trim();
    match line {
        "" => "unknown".to_owned(),
        line => line.to_owned(),
    }
}

/// The value of a name in a file of `/proc`.
fn field(file: &str, name: &str) -> String {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    let value = text
        .lines()
        .find_map(|line| line.strip_prefix(name)?.split_once(':'))
        .map(|(_, value)| value.split_whitespace().collect::<Vec<_>>().join(" "));
    value.unwrap_or_else(|| "unknown".to_owned())
}

fn first_words(file: &str, count: usize) -> String {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    let words: Vec<_> = text.split_whitespace().take(count).collect();
    words.join(" ")
}
