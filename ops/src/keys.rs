//! The commands `key list`, `key show` and `key resolve`.

mod resolve;
mod show;

use serde_json::{Value, json};
use shared::App;
use shared::deadline::Deadline;
use shared::idempotency::{Idempotency, IdempotencyKey, Lookup, RecordKey, Scope, StoreError};

use crate::arguments::{Form, Keys};
use crate::page::Page;
use crate::quantities::ago;
use crate::{advice, escapes};

pub(crate) async fn run(
    app: &App,
    command: Keys,
    form: Form,
    deadline: Deadline,
) -> Result<Page, String> {
    let idempotency = app.idempotency();
    match command {
        Keys::List {
            unknown: true,
            limit,
        } => {
            let mut keys = unknown(&idempotency, deadline).await.map_err(failed)?;
            keys.truncate(limit.try_into().unwrap_or(usize::MAX));
            Ok(unknown_list(&keys, form))
        }
        Keys::List { limit, .. } => {
            let keys = idempotency.keys(limit, deadline).await.map_err(failed)?;
            Ok(list(&keys, form))
        }
        Keys::Show { scope, key } => {
            let name = parsed(&scope, &key)?;
            show::run(app, &idempotency, &name, form, deadline).await
        }
        Keys::Resolve {
            scope,
            key,
            completed,
            released,
            revision,
            yes,
        } => {
            let arguments = resolve::ResolveArguments {
                key: parsed(&scope, &key)?,
                completed,
                released,
                revision,
                yes,
            };
            resolve::run(&idempotency, arguments, form, deadline).await
        }
    }
}

fn failed(error: StoreError) -> String {
    match error {
        StoreError::NoStore => advice::NO_STORE.to_owned(),
        error => error.to_string(),
    }
}

fn parsed(scope: &str, key: &str) -> Result<RecordKey, String> {
    Ok(RecordKey::new(&parsed_scope(scope)?, &parsed_key(key)?))
}

/// Parses a scope in the form that [`scope_and_key`] makes and a [`Page`] prints.
fn parsed_scope(text: &str) -> Result<Scope, String> {
    let scope = escapes::unescape(text);
    let mut parts = scope.splitn(3, ':');
    let scope = match (parts.next(), parts.next(), parts.next()) {
        (Some("-"), None, None) => Ok(Scope::none()),
        (Some("http"), Some(operation), Some(tenant)) => Scope::http(operation, tenant),
        (Some("fn"), Some(namespace), Some(scope)) => Scope::function(namespace, scope),
        _ => {
            return Err(format!(
                "`{text}` is not a scope; expected `http:OPERATION:TENANT`, `fn:NAMESPACE:SCOPE`, or `-` for none"
            ));
        }
    };
    scope.map_err(|error| error.to_string())
}

fn parsed_key(text: &str) -> Result<IdempotencyKey, String> {
    IdempotencyKey::parse(text)
        .map_err(|_| format!("`{text}` is not a key; expected 1 to 255 visible ASCII characters"))
}

/// The scope and the key of a record, as an operator types them.
fn scope_and_key(name: &RecordKey) -> [String; 2] {
    let (scope, key) = name.parts();
    let scope = match &scope[..] {
        [] => "-".to_owned(),
        parts => parts.join(":"),
    };
    [scope, key]
}

fn list(keys: &[RecordKey], form: Form) -> Page {
    let named = keys.iter().map(|name| {
        let [scope, key] = scope_and_key(name);
        [scope, key, name.hash().to_string()]
    });
    if form == Form::Json {
        let documents =
            named.map(|[scope, key, hash]| json!({"scope": scope, "key": key, "key_hash": hash}));
        return Page::json(&Value::from_iter(documents));
    }
    let rows: Vec<_> = named.collect();
    match rows.is_empty() {
        true => Page::line("No key is stored."),
        false => Page::table(["SCOPE", "KEY", "KEY HASH"], &rows),
    }
}

/// Unknown and abandoned keys, oldest first. Damaged keys have no age and come last.
async fn unknown(
    idempotency: &Idempotency,
    deadline: Deadline,
) -> Result<Vec<(RecordKey, Lookup)>, StoreError> {
    let mut unknown: Vec<(RecordKey, Lookup)> = Vec::new();
    let mut pages = idempotency.unfinished(RecordKey::PREFIX);
    while let Some(page) = pages.next_page(deadline).await? {
        let is_unknown = |(_, lookup): &(RecordKey, Lookup)| match lookup {
            Lookup::Found(entry) => entry.progress.is_abandoned(),
            Lookup::Unreadable => true,
            Lookup::Absent => false,
        };
        unknown.extend(page.into_iter().filter(is_unknown));
    }
    unknown.sort_by_key(|(_, lookup)| match lookup {
        Lookup::Found(entry) => std::cmp::Reverse(entry.first_seen),
        Lookup::Unreadable | Lookup::Absent => std::cmp::Reverse(std::time::Duration::ZERO),
    });
    Ok(unknown)
}

fn unknown_list(keys: &[(RecordKey, Lookup)], form: Form) -> Page {
    if form == Form::Json {
        let documents = keys.iter().map(|(name, lookup)| {
            let [scope, key] = scope_and_key(name);
            let mut document = json!({
                "scope": scope,
                "key": key,
                "key_hash": name.hash().to_string(),
                "progress": advice::progress_of(lookup),
            });
            if let Lookup::Found(entry) = lookup {
                document["revision"] = entry.revision().to_string().into();
                document["first_seen_seconds"] = entry.first_seen.as_secs().into();
                document["lease_over_for_seconds"] = entry.lease_over_for.as_secs().into();
            }
            document
        });
        return Page::json(&Value::from_iter(documents));
    }
    if keys.is_empty() {
        return Page::line("No key is unknown or abandoned.");
    }
    let rows: Vec<_> = keys
        .iter()
        .map(|(name, lookup)| {
            let [scope, key] = scope_and_key(name);
            let (since, revision) = match lookup {
                Lookup::Found(entry) => (ago(entry.first_seen), entry.revision().to_string()),
                Lookup::Unreadable | Lookup::Absent => ("-".to_owned(), "-".to_owned()),
            };
            let progress = advice::progress_of(lookup).to_owned();
            [scope, key, progress, since, revision]
        })
        .collect();
    let heading = ["SCOPE", "KEY", "PROGRESS", "FIRST SEEN", "REVISION"];
    Page::table(heading, &rows)
        .with_paragraph(advice::UNKNOWN_KEYS)
        .with_line(advice::ABANDONED_KEYS)
}
