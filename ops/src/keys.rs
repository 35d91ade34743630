//! The commands about idempotency keys.

use std::time::Duration;

use serde_json::{Value, json};
use shared::config::Config;
use shared::deadline::Deadline;
use shared::idempotency::{
    Entry, Idempotency, IdempotencyKey, Policy, Progress, RecordKey, SavedBody, Scope,
};

use crate::arguments::{Form, Keys};
use crate::table::{ago, length, list, table};
use crate::words;

pub(crate) async fn run(
    config: &Config,
    command: Keys,
    form: Form,
    deadline: Deadline,
) -> Result<String, String> {
    let idempotency = Idempotency::new(config);
    let failed = |error| format!("failed to {error}");
    match command {
        Keys::List { limit } => {
            let keys = idempotency.keys(limit, deadline).await.map_err(failed)?;
            Ok(all(&keys, form))
        }
        Keys::Show { scope, key } => {
            let name = RecordKey::new(&parsed_scope(&scope)?, &parsed_key(&key)?);
            let entry = idempotency.entry(&name, deadline).await.map_err(failed)?;
            match entry {
                Some(entry) => Ok(one(&entry, form)),
                None => Err(format!(
                    "nothing that counts is stored for `{key}` in `{scope}`: it was never claimed, or its window is over"
                )),
            }
        }
    }
}

/// A scope as [`scope_text`] writes it.
fn parsed_scope(text: &str) -> Result<Scope, String> {
    let mut parts = text.splitn(3, ':');
    let scope = match (parts.next(), parts.next(), parts.next()) {
        (Some("-"), None, None) => Ok(Scope::none()),
        (Some("http"), Some(operation), Some(tenant)) => Scope::http(operation, tenant),
        (Some("fn"), Some(namespace), Some(scope)) => Scope::function(namespace, scope),
        _ => {
            return Err(format!(
                "`{text}` is no scope; accepted: `http:OPERATION:TENANT`, `fn:NAMESPACE:SCOPE`, or `-` for none"
            ));
        }
    };
    scope.map_err(|error| format!("failed to {error}"))
}

fn parsed_key(text: &str) -> Result<IdempotencyKey, String> {
    IdempotencyKey::parse(text)
        .map_err(|_| format!("`{text}` is no key; accepted: 1 to 255 visible ASCII characters"))
}

fn scope_text(parts: &[String]) -> String {
    match parts {
        [] => "-".to_owned(),
        parts => parts.join(":"),
    }
}

fn all(keys: &[RecordKey], form: Form) -> String {
    let named = keys.iter().map(|name| {
        let (scope, key) = name.parts();
        [scope_text(&scope), key, name.hash().to_string()]
    });
    if form == Form::Json {
        let documents =
            named.map(|[scope, key, hash]| json!({"scope": scope, "key": key, "key_hash": hash}));
        return Value::from_iter(documents).to_string();
    }
    let rows: Vec<_> = named.collect();
    match rows.is_empty() {
        true => "No key is stored.".to_owned(),
        false => table(["SCOPE", "KEY", "KEY HASH"], &rows),
    }
}

fn one(entry: &Entry, form: Form) -> String {
    let (scope, key) = entry.key.parts();
    let result = match &entry.progress {
        Progress::Completed(saved) => Some((saved.status.as_u16(), body_length(&saved.body))),
        _ => None,
    };
    if form == Form::Json {
        return json!({
            "scope": scope_text(&scope),
            "key": key,
            "progress": progress(&entry.progress),
            "attempt": entry.attempt,
            "revision": entry.revision().to_string(),
            "first_seen_seconds": entry.first_seen.as_secs(),
            "lease_left_ms": lease_left(&entry.progress).map(|left| left.as_millis() as u64),
            "policy": policy(entry.policy),
            "status": result.map(|(status, _)| status),
            "body_bytes": result.map(|(_, length)| length),
            "advice": words::of_key(&entry.progress),
        })
        .to_string();
    }
    let mut pairs = vec![
        ("scope", scope_text(&scope)),
        ("key", key),
        ("progress", progress(&entry.progress).to_owned()),
        ("attempt", entry.attempt.to_string()),
        ("first seen", ago(entry.first_seen)),
        ("policy", policy(entry.policy).to_owned()),
    ];
    match result {
        Some((status, bytes)) => pairs.push(("result", format!("status {status}, {bytes} bytes"))),
        None => {}
    }
    match lease_left(&entry.progress) {
        Some(left) => pairs.push(("lease", format!("{} left", length(left)))),
        None if !entry.lease_over_for.is_zero() => {
            pairs.push(("lease ended", ago(entry.lease_over_for)));
        }
        None => {}
    }
    format!("{}\n{}", list(&pairs), words::of_key(&entry.progress))
}

fn body_length(body: &SavedBody) -> u64 {
    match body {
        SavedBody::Whole(body) => body.len() as u64,
        SavedBody::Summary { length, .. } => *length,
    }
}

/// How long a running attempt's lease lasts yet.
fn lease_left(progress: &Progress) -> Option<Duration> {
    match progress {
        Progress::InProgress { lease_left } => Some(*lease_left),
        _ => None,
    }
}

fn progress(progress: &Progress) -> &'static str {
    match progress {
        Progress::InProgress { .. } => "in progress",
        Progress::Abandoned => "abandoned",
        Progress::Unknown => "unknown",
        Progress::Released => "released",
        Progress::Completed(_) => "completed",
    }
}

fn policy(policy: Policy) -> &'static str {
    match policy {
        Policy::AtMostOnce => "at most once",
        Policy::Rerun { .. } => "rerun while the provider recognises the key",
        Policy::RerunAlways => "rerun always: it resumes",
    }
}
