//! The command `make hunt`: runs a hunt and prints its progress on the terminal.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command-line program prints"
)]

use std::pin::pin;
use std::process::ExitCode;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use hunt::{Fault, Hunt, Mode, Work};
use tokio::signal::unix::{SignalKind, signal};

const FOLDER: &str = "target/hunts";
const MODES: [(&str, Mode); 3] = [
    ("tiered", Mode::Tiered),
    ("mongodb", Mode::MongoDb),
    ("redis", Mode::Redis),
];
const WORKS: [(&str, Work); 3] = [
    ("payments", Work::Payments),
    ("once", Work::Once),
    ("rerun", Work::Rerun),
];

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let seed = number("SEED").unwrap_or_else(|| fastrand::u64(..1_000_000));
    let payments = number("PAYMENTS").unwrap_or(2_000);
    let (mode_word, mode) = one_of("MODE", MODES);
    let (work_word, work) = one_of("WORK", WORKS);
    let mut hunt = Hunt::new(payments, seed, work, mode);
    let retention = number::<u64>("RETENTION");
    if let Some(seconds) = retention {
        hunt = hunt.with_retention(Duration::from_secs(seconds));
    }
    if let Some(names) = variable("FAULTS") {
        hunt.faults = named(&names, &Fault::selectable(mode));
    }
    hunt.stops_at_first = variable("FIND").is_some();
    let faults = variable("FAULTS").map(|names| format!(" FAULTS={names}"));
    let faults = faults.unwrap_or_default();
    let kept = retention.map(|seconds| format!(" RETENTION={seconds}"));
    let kept = kept.unwrap_or_default();
    let again = |payments, seed| {
        format!(
            "make hunt PAYMENTS={payments} SEED={seed} WORK={work_word} MODE={mode_word}{kept}{faults}"
        )
    };
    eprintln!("{}", again(payments, seed));
    let cancelled = Arc::clone(&hunt.is_cancelled);
    let hunting = hunt.run(|progress| {
        eprint!(
            "\r{} payments started, {} charges, {} faults, {} s ",
            progress.begun,
            progress.charges,
            progress.faults,
            progress.took.as_secs()
        );
    });
    let mut hunting = pin!(hunting);
    let report = tokio::select! {
        report = &mut hunting => report,
        () = stop_signal() => {
            eprintln!("\nstopping: started payments are settled and checked; interrupt again to end at once");
            cancelled.store(true, Ordering::SeqCst);
            tokio::select! {
                report = hunting => report,
                // Dropping the hunt ends all its processes, including the frozen processes.
                () = stop_signal() => return ExitCode::FAILURE,
            }
        }
    };
    eprintln!();
    let json = format!("{:#}", report.to_json());
    println!("{json}");
    std::fs::create_dir_all(FOLDER).expect("a folder");
    let kept = retention.map(|seconds| format!("-{seconds}s"));
    let file = format!(
        "{FOLDER}/{work_word}-{mode_word}{}",
        kept.unwrap_or_default()
    );
    std::fs::write(format!("{file}.json"), json + "\n").expect("written");
    std::fs::write(format!("{file}.svg"), report.to_svg()).expect("written");
    println!("{file}.json, {file}.svg");
    let broken = report.broken();
    if broken.is_empty() {
        return ExitCode::SUCCESS;
    }
    println!("BROKEN: {}", broken.join("; "));
    for (seed, payments) in report.to_repeat {
        println!(
            "to repeat (usually finds it again): {}",
            again(payments, seed)
        );
    }
    ExitCode::FAILURE
}

async fn stop_signal() {
    let mut terminate = signal(SignalKind::terminate()).expect("the system delivers signals");
    tokio::select! {
        _ = terminate.recv() => {}
        _ = tokio::signal::ctrl_c() => {}
    }
}

/// Each pair in `values` has a word and a value. Returns the pair whose word is in the environment variable `name`. If
/// the variable is not set, returns the first pair.
fn one_of<T: Copy, const N: usize>(
    name: &str,
    values: [(&'static str, T); N],
) -> (&'static str, T) {
    let Some(text) = variable(name) else {
        return values[0];
    };
    let named = values.into_iter().find(|(word, _)| *word == text);
    named.unwrap_or_else(|| {
        let words = values.map(|(word, _)| word);
        panic!("{name} is `{text}`; expected one of {words:?}")
    })
}

/// The faults in a comma-separated list of names.
fn named(names: &str, faults: &[Fault]) -> Vec<Fault> {
    if names == "none" {
        return Vec::new();
    }
    let of_name = |name: &str| {
        let fault = faults.iter().find(|fault| fault.to_string() == name);
        *fault.unwrap_or_else(|| {
            panic!("FAULTS contains `{name}`; expected `none` or a list of {faults:?}")
        })
    };
    names.split(',').map(of_name).collect()
}

fn number<T: FromStr>(name: &str) -> Option<T> {
    let text = variable(name)?;
    match text.parse() {
        Ok(number) => Some(number),
        Err(_) => panic!("{name} is `{text}`; expected a whole number"),
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the settings of `make hunt` are environment variables"
)]
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}
