//! `truebond-ops`: the operator's command line for payments and idempotency keys.
//!
//! The tool reads the environment variables of the functions. In development, it also reads the `.env` of `make run`. It uses the stores
//! of the functions, and makes only changes that a function can make. To settle a payment, it reads the payment's intent at the provider.
//! It resolves a key as the function `idempotency` does. It never confirms a payment, and prints no credential.

mod advice;
mod arguments;
mod dotenv;
mod escapes;
mod keys;
mod page;
mod payments;
mod quantities;
mod report;

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

/// The time limit of a command. An operator waits while the command runs.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(30);

fn main() -> ExitCode {
    let arguments = Arguments::read();
    match run(arguments) {
        Ok(report) => match write!(io::stdout(), "{}", report.page) {
            Ok(()) if report.is_complete => ExitCode::SUCCESS,
            Ok(()) | Err(_) => ExitCode::FAILURE,
        },
        Err(failure) => {
            // If the error cannot be written, there is no other place to report that.
            let _ = write!(
                io::stderr(),
                "{}",
                Page::line(&format!("truebond-ops: {failure}"))
            );
            ExitCode::FAILURE
        }
    }
}

/// The time at which a command that begins now stops waiting for its stores.
fn command_deadline() -> Deadline {
    Deadline::after(COMMAND_TIMEOUT)
}

fn run(arguments: Arguments) -> Result<Report, String> {
    let dotenv = Dotenv::read()?;
    let app = App::of_operator(|variable| dotenv.get(variable).map(OsString::from));
    let app = app.map_err(|error| error.to_string())?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| format!("the runtime does not start: {error}"))?;
    let deadline = command_deadline();
    let form = arguments.form();
    runtime.block_on(async {
        match arguments.subject {
            Subject::Payments { command } => payments::run(&app, command, form, deadline).await,
            Subject::Key { command } => {
                let page = keys::run(&app, command, form, deadline).await?;
                Ok(Report::complete(page))
            }
            Subject::Config {
                command: Settings::Check,
            } => {
                app.check_urls().map_err(|error| error.to_string())?;
                Ok(Report::complete(match form {
                    Form::Text => Page::line("The settings are valid."),
                    Form::Json => Page::json(&serde_json::json!({"usable": true})),
                }))
            }
        }
    })
}
