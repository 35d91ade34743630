//! The hunt for double charges, at a terminal: `make hunt`.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program for people at a terminal"
)]

use std::process::ExitCode;
use std::str::FromStr;

use tests::hunt::Fault;
use tests::{Hunt, Mode, Work};

const REPORT: &str = "target/hunt";

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let seed = number("SEED").unwrap_or_else(|| fastrand::u64(..1_000_000));
    let payments = number("PAYMENTS").unwrap_or(2_000);
    let mode = match variable("MODE").as_deref() {
        Some("redis") => Mode::Redis,
        Some("tiered") | None => Mode::Tiered,
        Some(other) => panic!("MODE is `{other}`; accepted: `tiered`, `redis`"),
    };
    let mut hunt = Hunt::new(payments, seed, Work::Payments, mode);
    if let Some(names) = variable("FAULTS") {
        hunt.faults.retain(|fault| is_named(*fault, &names));
    }
    hunt.stops_at_first = variable("FIND").is_some();
    let word = if mode == Mode::Tiered {
        "tiered"
    } else {
        "redis"
    };
    let again = format!("make hunt PAYMENTS={payments} SEED={seed} MODE={word}");
    eprintln!("{again}");
    let report = hunt
        .run(|progress| {
            eprint!(
                "\r{} payments begun, {} charges, {} faults ",
                progress.begun, progress.charges, progress.faults
            );
        })
        .await;
    eprintln!();
    let json = report.to_json();
    std::fs::create_dir_all(REPORT).expect("a folder");
    std::fs::write(format!("{REPORT}/report.json"), format!("{json:#}\n")).expect("written");
    println!("{json:#}");
    let broken = report.broken();
    if broken.is_empty() {
        return ExitCode::SUCCESS;
    }
    println!("BROKEN: {}\nagain, most times: {again}", broken.join("; "));
    ExitCode::FAILURE
}

fn is_named(fault: Fault, names: &str) -> bool {
    names.split(',').any(|name| name == format!("{fault:?}"))
}

fn number<T: FromStr>(name: &str) -> Option<T> {
    let text = variable(name)?;
    match text.parse() {
        Ok(number) => Some(number),
        Err(_) => panic!("{name} is `{text}`; accepted: a whole number"),
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "what is typed before `make hunt`"
)]
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}
