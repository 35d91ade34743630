//! The measures, one per file. A measure starts the contestants that it needs, lets them take turns round by round, and returns a
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

use std::io::{IsTerminal, Write};

use futures_util::future::{FutureExt, LocalBoxFuture};
use harness::Lambda;

use crate::contestant::Program;
use crate::cores::{self, Cores};
use crate::section::Section;
use crate::server::Product;
use crate::stage::Stage;

/// One measure.
pub(crate) struct Measure {
    pub(crate) name: &'static str,
    cores: Cores,
    /// Whether the contestants take part. A measure without contestants uses only programs of this workspace.
    pub(crate) has_contestants: bool,
    /// Whether a run on a server other than Valkey has this measure.
    depends_on_server: bool,
    run: for<'a> fn(&'a Stage) -> LocalBoxFuture<'a, Section>,
}

/// All measures in the order in which they run. Measures with concurrent calls use all cores.
#[rustfmt::skip] // One line per measure.
pub(crate) static ALL: [Measure; 11] = [
    measure("functions", Cores::One, |stage| functions::measure(stage).boxed_local()).alone(),
    measure("cold_start", Cores::One, |stage| cold_start::measure(stage).boxed_local()),
    measure("latency", Cores::One, |stage| latency::measure(stage).boxed_local()).on_each_server(),
    measure("traffic", Cores::One, |stage| traffic::measure(stage).boxed_local()).on_each_server(),
    measure("claim", Cores::All, |stage| claim::measure(stage).boxed_local()).alone().on_each_server(),
    measure("network", Cores::One, |stage| network::measure(stage).boxed_local()).on_each_server(),
    measure("load", Cores::All, |stage| load::measure(stage).boxed_local()),
    measure("body_size", Cores::One, |stage| body_size::measure(stage).boxed_local()),
    measure("live_keys", Cores::One, |stage| live_keys::measure(stage).boxed_local()),
    measure("memory", Cores::All, |stage| memory::measure(stage).boxed_local()),
    measure("faults", Cores::All, |stage| faults::measure(stage).boxed_local()),
];

/// The measures of a run in the order of [`ALL`]: the measures in the list `ONLY`, otherwise the complete run on this server.
///
/// # Errors
///
/// Fails if the list contains an unknown name.
pub(crate) fn wanted(
    only: Option<&[String]>,
    product: Product,
) -> Result<Vec<&'static Measure>, String> {
    let names = || ALL.iter().map(|measure| measure.name);
    let mut listed = only.into_iter().flatten();
    if let Some(name) = listed.find(|only| !names().any(|name| name == **only)) {
        let names = names().collect::<Vec<_>>().join(", ");
        return Err(format!(
            "ONLY contains `{name}`; expected names of: {names}"
        ));
    }
    let is_wanted = |measure: &&Measure| match only {
        Some(only) => only.iter().any(|name| name == measure.name),
        None => product.has_all_measures() || measure.depends_on_server,
    };
    Ok(ALL.iter().filter(is_wanted).collect())
}

const fn measure(
    name: &'static str,
    cores: Cores,
    run: for<'a> fn(&'a Stage) -> LocalBoxFuture<'a, Section>,
) -> Measure {
    Measure {
        name,
        cores,
        has_contestants: true,
        depends_on_server: false,
        run,
    }
}

impl Measure {
    const fn alone(mut self) -> Self {
        self.has_contestants = false;
        self
    }

    const fn on_each_server(mut self) -> Self {
        self.depends_on_server = true;
        self
    }

    /// Runs the measure.
    ///
    /// # Panics
    ///
    /// Panics if an answer is wrong.
    pub(crate) async fn run(&self, stage: &Stage) -> Section {
        stage.empty_stores().await;
        let where_it_runs = cores::assign(stage, self.cores).await;
        let mut section = (self.run)(stage).await;
        section.notes.push(where_it_runs.to_owned());
        section
    }
}

/// Starts a process that answers every event at once.
async fn floor() -> Lambda {
    let file = Program::Binary("floor").file();
    Lambda::program("floor", file).runs_here().start().await
}

/// Prints the progress of a measure on one line. The next call overwrites the line.
fn progress(words: &str) {
    let mut terminal = std::io::stderr();
    let line = match terminal.is_terminal() {
        true => format!("\r\x1b[K    {words}"),
        false => format!("    {words}\n"),
    };
    // Progress is optional, so errors are ignored.
    let _ = terminal.write_all(line.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_on_redis_has_only_the_measures_that_depend_on_the_server() {
        let names = |only: Option<&[String]>, product| {
            let wanted = wanted(only, product).map_err(|_| "unknown")?;
            Ok(wanted.iter().map(|measure| measure.name).collect())
        };
        let all: Vec<_> = ALL.iter().map(|measure| measure.name).collect();
        let dependent = vec!["latency", "traffic", "claim", "network"];
        assert_eq!(names(None, Product::Valkey), Ok(all));
        assert_eq!(names(None, Product::Redis), Ok(dependent));
        let only = |name: &str| [name.to_owned()];
        let load = Ok(vec!["load"]);
        assert_eq!(names(Some(&only("load")), Product::Redis), load);
        assert_eq!(names(Some(&only("speed")), Product::Redis), Err("unknown"));
    }
}
