//! The benchmark: the cost of idempotency for a function, compared with other libraries in one run. `make bench` measures; `make
//! bench-smoke` only checks that the benchmark works.
//!
//! A `contestant` is a process that speaks Lambda's Runtime API, which the harness serves. All contestants do the same work
//! (`contract`) for the same requests (`order`). They take turns, round by round (`calls`), so that changes of the machine's
//! speed affect all of them equally. Comparisons are made within a round (`samples`). Each file under `measures` is a measure and
//! returns a section of the `report`.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command-line program prints"
)]

mod calls;
mod contestant;
mod cores;
mod execution_counter;
mod machine;
mod measures;
mod order;
mod plot;
mod raw;
mod report;
mod samples;
mod section;
mod server;
mod settings;
mod stage;
mod summary;

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use futures_util::FutureExt;
use harness::RedisServer;

use self::section::Section;
use self::server::Server;
use self::settings::{Scale, Settings};
use self::stage::Stage;

/// The folder for the tables and pictures of every run.
const PASSING: &str = "target/bench";

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match run().await {
        Ok(wrong) if wrong.is_empty() => ExitCode::SUCCESS,
        Ok(wrong) => {
            eprintln!("\nWRONG, independent of the machine's speed:");
            wrong.iter().for_each(|sentence| eprintln!("- {sentence}"));
            ExitCode::FAILURE
        }
        Err(why) => {
            eprintln!("error: {why}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<Vec<String>, String> {
    let settings = Settings::read()?;
    let only = settings::only();
    let redis = RedisServer::start().await;
    let server = Server::of(&redis).await;
    let wanted = measures::wanted(only.as_deref(), server.product)?;
    let has_contestants = wanted.iter().any(|measure| measure.has_contestants);
    let scale = settings.scale;
    // The commit is determined before the measures start, because the measures can change files.
    let commit = machine::commit();
    let machine = machine::describe(&commit);
    let is_whole = scale == Scale::Full && only.is_none() && !settings.has_other_keys;
    let is_of_a_commit = !commit.ends_with("-dirty");
    if is_whole && !is_of_a_commit {
        eprintln!(
            "the results of this run will not be kept, because there are uncommitted changes"
        );
    }
    let stage = Stage::set(settings, redis, server, has_contestants).await?;
    stage
        .absent
        .iter()
        .for_each(|why| eprintln!("without one: {why}"));

    let mut folder = workspace().join(PASSING);
    let servers = machine::surroundings(&stage.server, stage.mongo.as_ref());
    let warning = match scale {
        Scale::Full => "",
        Scale::Smoke => "A smoke test: its times mean nothing. ",
    };
    let head = format!("{warning}{machine} {servers}\n\n");
    let mut sections = Vec::<Section>::new();
    for measure in wanted {
        let (name, began) = (measure.name, Instant::now());
        eprintln!("==> {name}");
        // If one measure panics, the results of the other measures are still written.
        let measured = AssertUnwindSafe(measure.run(&stage)).catch_unwind();
        let section = measured
            .await
            .unwrap_or_else(|panic| failed(name, panic.as_ref()));
        eprintln!("\r\x1b[K==> {name}: {} s", began.elapsed().as_secs());
        println!("{}", section.to_markdown());
        sections.push(section);
        keep(&folder, &head, &sections)?;
    }
    println!("{}", report::goals(&sections));
    let wrong = sections.iter().flat_map(|section| section.wrong.clone());
    let wrong: Vec<_> = wrong.collect();
    if is_whole && is_of_a_commit && wrong.is_empty() {
        folder = workspace().join(stage.server.product.results());
        keep(&folder, &head, &sections)?;
    }
    println!("{}", folder.join("table.md").display());
    Ok(wrong)
}

fn keep(folder: &Path, head: &str, sections: &[Section]) -> Result<(), String> {
    let written = report::write(folder, head, sections);
    written.map_err(|error| format!("cannot write the results: {error}"))
}

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The section in place of a measure that panicked.
fn failed(name: &'static str, panic: &(dyn Any + Send)) -> Section {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
    let mut section = Section::new(name, name);
    let wrong = format!("{name} ended early: {}", text.unwrap_or("see above"));
    section.notes.push(wrong.clone());
    section.wrong.push(wrong);
    section
}
