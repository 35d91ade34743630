//! Resolving a key whose outcome is unknown.

use std::io::{self, BufRead, Read, Write};
use std::path::{Path, PathBuf};

use serde_json::json;
use serde_json::value::RawValue;
use shared::deadline::Deadline;
use shared::idempotency::{
    Entry, Idempotency, Lookup, NoEffect, Progress, RecordKey, Resolution, Resolved, Revision,
    SavedResponse,
};
use shared::payments::Payment;

use super::{failed, typed};
use crate::arguments::{Form, Reason};
use crate::measures::{ago, length};
use crate::page::Page;
use crate::{patience, words};

/// As long as the function `idempotency` takes one.
const LONGEST_RESPONSE: usize = 256 * 1024;

/// What was typed.
pub(super) struct Asked {
    pub(super) key: RecordKey,
    pub(super) completed: Option<PathBuf>,
    pub(super) released: Option<Reason>,
    pub(super) revision: Option<String>,
    pub(super) yes: bool,
}

/// Reads the key, shows what is about to be written, asks, and writes it over the record that was read.
pub(super) async fn run(
    idempotency: &Idempotency,
    asked: Asked,
    form: Form,
    deadline: Deadline,
) -> Result<Page, String> {
    let [scope, key] = typed(&asked.key);
    if let Some(id) = Payment::id_of_key(idempotency, &asked.key) {
        return Err(format!(
            "`{key}` in `{scope}` is the key of payment {id}, and the ledger decides about that: `truebond-ops payments settle {id}`"
        ));
    }
    let resolution = resolution(&asked)?;
    let lookup = idempotency.look_up(&asked.key, deadline);
    let entry = resolvable(lookup.await.map_err(failed)?, &scope, &key)?;
    let seen = entry.revision();
    if let Some(expected) = &asked.revision
        && Revision::parse(expected) != Some(seen)
    {
        return Err(format!(
            "the revision of `{key}` in `{scope}` is {seen}, not `{expected}`: look at it again with `key show`"
        ));
    }
    if !asked.yes {
        confirm(&about_to(&scope, &key, &entry, &resolution))?;
    }
    // The question may have used up the first deadline.
    let resolving = idempotency.resolve(&asked.key, seen, resolution, patience());
    match resolving.await.map_err(failed)? {
        Resolved::Stored if form == Form::Json => Ok(Page::json(
            &json!({"scope": scope, "key": key, "resolved": true}),
        )),
        Resolved::Stored => Ok(Page::line(&format!("`{key}` in `{scope}` is resolved."))),
        Resolved::Refused(now) => Err(format!(
            "nothing was written: `{key}` in `{scope}` has changed meanwhile, and is {} now",
            words::progress_of(&now)
        )),
    }
}

/// The record, where there is one that may be resolved.
fn resolvable(lookup: Lookup, scope: &str, key: &str) -> Result<Entry, String> {
    let entry = match lookup {
        Lookup::Found(entry) => *entry,
        Lookup::Absent => {
            return Err(format!(
                "nothing is stored for `{key}` in `{scope}`: there is nothing to resolve"
            ));
        }
        Lookup::Unreadable => return Err(words::OF_DAMAGED_KEY.to_owned()),
    };
    match entry.progress {
        Progress::Unknown | Progress::Abandoned => Ok(entry),
        Progress::InProgress { lease_left } => Err(format!(
            "an attempt is running for `{key}` in `{scope}`: resolve it once its lease is over, in {}",
            length(lease_left)
        )),
        Progress::Released | Progress::Completed(_) => Err(format!(
            "`{key}` in `{scope}` is {} already: there is nothing to resolve",
            words::progress(&entry.progress)
        )),
    }
}

fn resolution(asked: &Asked) -> Result<Resolution, String> {
    match (&asked.completed, asked.released) {
        (Some(file), _) if file == Path::new("-") && !asked.yes => Err(
            "standard input holds the response, so it cannot answer: add `--revision` and `--yes`"
                .to_owned(),
        ),
        (Some(file), _) => Ok(Resolution::Completed(response(file)?)),
        (None, Some(Reason::FencedByProvider)) => {
            Ok(Resolution::Released(NoEffect::FencedByProvider))
        }
        (None, Some(Reason::AttemptEnded)) => Ok(Resolution::Released(NoEffect::AttemptEnded)),
        (None, None) => Err("say `--completed FILE` or `--released REASON`".to_owned()),
    }
}

/// The response in a file, kept as it is written.
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
    if bytes > LONGEST_RESPONSE {
        return Err(format!(
            "{} has {bytes} bytes; accepted: at most {LONGEST_RESPONSE}",
            file.display()
        ));
    }
    Ok(SavedResponse::of_json(json.get()))
}

fn about_to(scope: &str, key: &str, entry: &Entry, resolution: &Resolution) -> Page {
    let (stored, then) = match resolution {
        Resolution::Completed(response) => {
            let bytes = response.whole_body().map_or(0, |body| body.len());
            (
                format!("completed, with a response of {bytes} bytes"),
                "Every repetition is answered with that response.",
            )
        }
        Resolution::Released(reason) => (
            format!("released: {}", reason.name().replace('_', " ")),
            "The next request with this key runs the work again.",
        ),
        // No option produces this.
        Resolution::Reopened => (
            "reopened".to_owned(),
            "The next request with this key takes over.",
        ),
    };
    let pairs = [
        ("scope", scope.to_owned()),
        ("key", key.to_owned()),
        ("is", words::progress(&entry.progress).to_owned()),
        ("revision", entry.revision().to_string()),
        ("first seen", ago(entry.first_seen)),
        ("becomes", stored),
    ];
    Page::list(&pairs).with_line(then)
}

/// Asks at the terminal; anything but a yes is a no.
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
