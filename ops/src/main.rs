//! `truebond-ops`: for people who look after payments, at a terminal.
//!
//! It reads the same environment as the functions, and in development the `.env` of `make run`, asks the same stores, and does nothing that they do not do: it never
//! confirms a payment, settles one only by asking the provider, and resolves a key as the function `idempotency` does. No
//! credential is printed.

mod arguments;
mod dotenv;
mod keys;
mod measures;
mod page;
mod payments;
mod report;
mod visible;
mod words;

use std::ffi::OsString;
use std::io::{self, Write};
use std::process::ExitCode;
use std::time::Duration;

use shared::App;
use shared::deadline::Deadline;

use self::arguments::{Arguments, Form, Settings, Subject};
use self::dotenv::Dotenv;
use self::page::Page;
use self::report::Report;

/// A person waits.
const PATIENCE: Duration = Duration::from_secs(30);

fn main() -> ExitCode {
    let arguments = Arguments::read();
    match run(arguments) {
        Ok(report) => match write!(io::stdout(), "{}", report.page) {
            Ok(()) if report.is_whole => ExitCode::SUCCESS,
            Ok(()) | Err(_) => ExitCode::FAILURE,
        },
        Err(failure) => {
            // Nobody is left to tell where this fails.
            let _ = write!(
                io::stderr(),
                "{}",
                Page::line(&format!("truebond-ops: {failure}"))
            );
            ExitCode::FAILURE
        }
    }
}

/// How long a command asks its stores.
fn patience() -> Deadline {
    Deadline::after(PATIENCE)
}

fn run(arguments: Arguments) -> Result<Report, String> {
    let dotenv = Dotenv::read()?;
    let app = App::of_operator(|variable| dotenv.get(variable).map(OsString::from));
    let app = app.map_err(|error| error.to_string())?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| format!("failed to start: {error}"))?;
    let deadline = patience();
    let form = arguments.form();
    runtime.block_on(async {
        match arguments.subject {
            Subject::Payments { command } => payments::run(&app, command, form, deadline).await,
            Subject::Key { command } => {
                let page = keys::run(&app, command, form, deadline).await?;
                Ok(Report::whole(page))
            }
            Subject::Config {
                command: Settings::Check,
            } => {
                app.check_urls().map_err(|error| error.to_string())?;
                Ok(Report::whole(match form {
                    Form::Text => Page::line("The settings can be used."),
                    Form::Json => Page::json(&serde_json::json!({"usable": true})),
                }))
            }
        }
    })
}
