//! The command `key resolve`: stores the outcome of a key whose outcome is unknown.

use std::io::{self, BufRead, Read, Write};
use std::path::{Path, PathBuf};

use serde_json::json;
use serde_json::value::RawValue;
use shared::deadline::Deadline;
use shared::idempotency::{
    Entry, Idempotency, Lookup, NoEffect, Progress, RecordKey, Resolution, ResolveOutcome,
    Revision, SavedResponse,
};
use shared::payments::Payment;

use super::{failed, scope_and_key};
use crate::arguments::{Form, Reason};
use crate::page::Page;
use crate::quantities::{ago, duration};
use crate::{advice, command_deadline};

/// The longest response, in bytes. The function `idempotency` has the same limit.
const MAX_RESPONSE_BYTES: usize = 256 * 1024;

/// The arguments of the command.
pub(super) struct ResolveArguments {
    pub(super) key: RecordKey,
    pub(super) completed: Option<PathBuf>,
    pub(super) released: Option<Reason>,
    pub(super) revision: Option<String>,
    pub(super) yes: bool,
}

/// Reads the record, shows the new outcome, and asks for confirmation. Then writes the outcome if the record has not
/// changed since.
pub(super) async fn run(
    idempotency: &Idempotency,
    arguments: ResolveArguments,
    form: Form,
    deadline: Deadline,
) -> Result<Page, String> {
    let [scope, key] = scope_and_key(&arguments.key);
    if let Some(id) = Payment::id_of_key(idempotency, &arguments.key) {
        return Err(format!(
            "key `{key}` in scope `{scope}` belongs to payment {id}, whose outcome is in the ledger: run `truebond-ops payments settle {id}`"
        ));
    }
    let resolution = resolution(&arguments)?;
    let lookup = idempotency.look_up(&arguments.key, deadline);
    let entry = resolvable(lookup.await.map_err(failed)?, &scope, &key)?;
    let seen = entry.revision();
    if let Some(expected) = &arguments.revision
        && Revision::parse(expected) != Some(seen)
    {
        return Err(format!(
            "the revision of key `{key}` in scope `{scope}` is {seen}, not `{expected}`; look at the key again with `key show`"
        ));
    }
    if !arguments.yes {
        confirm(&preview(&scope, &key, &entry, &resolution))?;
    }
    // The operator may have answered after the first deadline, so the write gets a new deadline.
    let resolving = idempotency.resolve(&arguments.key, seen, resolution, command_deadline());
    match resolving.await.map_err(failed)? {
        ResolveOutcome::Stored if form == Form::Json => Ok(Page::json(
            &json!({"scope": scope, "key": key, "resolved": true}),
        )),
        ResolveOutcome::Stored => Ok(Page::line(&format!(
            "Key `{key}` in scope `{scope}` is resolved."
        ))),
        ResolveOutcome::Refused(now) => Err(format!(
            "nothing was written: key `{key}` in scope `{scope}` has changed meanwhile and is now {}",
            advice::progress_of(&now)
        )),
    }
}

/// Returns the record if its key can be resolved, otherwise the error for the operator.
fn resolvable(lookup: Lookup, scope: &str, key: &str) -> Result<Entry, String> {
    let entry = match lookup {
        Lookup::Found(entry) => *entry,
        Lookup::Absent => {
            return Err(format!(
                "key `{key}` not found in scope `{scope}`: nothing to resolve"
            ));
        }
        Lookup::Unreadable => return Err(advice::DAMAGED_KEY.to_owned()),
    };
    match entry.progress {
        Progress::Unknown | Progress::Abandoned => Ok(entry),
        Progress::InProgress { lease_left } => Err(format!(
            "an attempt is running for key `{key}` in scope `{scope}`; resolve the key after the attempt's lease ends, in {}",
            duration(lease_left)
        )),
        Progress::Released | Progress::Completed(_) => Err(format!(
            "key `{key}` in scope `{scope}` is already {}: nothing to resolve",
            advice::progress(&entry.progress)
        )),
    }
}

fn resolution(arguments: &ResolveArguments) -> Result<Resolution, String> {
    match (&arguments.completed, arguments.released) {
        (Some(file), _) if file == Path::new("-") && !arguments.yes => Err(
            "standard input holds the response and cannot also confirm it; add `--revision` and `--yes`"
                .to_owned(),
        ),
        (Some(file), _) => Ok(Resolution::Completed(response(file)?)),
        (None, Some(Reason::FencedByProvider)) => {
            Ok(Resolution::Released(NoEffect::FencedByProvider))
        }
        (None, Some(Reason::AttemptEnded)) => Ok(Resolution::Released(NoEffect::AttemptEnded)),
        (None, None) => Err("missing argument: `--completed FILE` or `--released REASON`".to_owned()),
    }
}

/// Reads the response from a file and keeps its bytes unchanged.
fn response(file: &Path) -> Result<SavedResponse, String> {
    let mut text = String::new();
    let read = if file == Path::new("-") {
        io::stdin().read_to_string(&mut text)
    } else {
        std::fs::File::open(file).and_then(|mut file| file.read_to_string(&mut text))
    };
    read.map_err(|error| format!("cannot read {}: {error}", file.display()))?;
    let json = serde_json::from_str::<&RawValue>(&text)
        .map_err(|error| format!("{} is not JSON: {error}", file.display()))?;
    let bytes = json.get().len();
    if bytes > MAX_RESPONSE_BYTES {
        return Err(format!(
            "{} is too large: {bytes} bytes; at most {MAX_RESPONSE_BYTES} are allowed",
            file.display()
        ));
    }
    Ok(SavedResponse::of_json(json.get()))
}

fn preview(scope: &str, key: &str, entry: &Entry, resolution: &Resolution) -> Page {
    let (outcome, consequence) = match resolution {
        Resolution::Completed(response) => {
            let bytes = response.whole_body().map_or(0, |body| body.len());
            (
                format!("completed, with a response of {bytes} bytes"),
                "Every retry gets that response.",
            )
        }
        Resolution::Released(reason) => (
            format!("released: {}", reason.name().replace('_', " ")),
            "The next request with this key runs the work again.",
        ),
        // No argument of the command produces this resolution.
        Resolution::Reopened => (
            "reopened".to_owned(),
            "The next request with this key takes over.",
        ),
    };
    let pairs = [
        ("scope", scope.to_owned()),
        ("key", key.to_owned()),
        ("progress", advice::progress(&entry.progress).to_owned()),
        ("revision", entry.revision().to_string()),
        ("first seen", ago(entry.first_seen)),
        ("becomes", outcome),
    ];
    Page::list(&pairs).with_line(consequence)
}

/// Asks for confirmation at the terminal. Only the answer yes confirms.
fn confirm(question: &Page) -> Result<(), String> {
    let shown = write!(io::stderr(), "{question}Resolve it? [y/N] ");
    shown.map_err(|error| format!("cannot ask: {error}"))?;
    let mut answer = String::new();
    let read = io::stdin().lock().read_line(&mut answer);
    read.map_err(|error| format!("cannot read the answer: {error}"))?;
    match answer.trim().to_ascii_lowercase().as_str() {
        "y" | "yes" => Ok(()),
        _ => Err("nothing was written".to_owned()),
    }
}
