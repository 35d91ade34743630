//! The command `key show`: what is stored under a key, and which actions are safe.

use serde_json::json;
use shared::App;
use shared::deadline::Deadline;
use shared::idempotency::{
    Entry, Idempotency, Lookup, Policy, Progress, RecordKey, SavedBody, StoreError,
};
use shared::payments::{Payment, PaymentAdminError};

use super::{failed, scope_and_key};
use crate::advice;
use crate::arguments::Form;
use crate::page::Page;
use crate::quantities::{ago, duration};

/// Shows a key. The advice for a payment's key comes from the ledger, because the store may have deleted the key.
pub(super) async fn run(
    app: &App,
    idempotency: &Idempotency,
    name: &RecordKey,
    form: Form,
    deadline: Deadline,
) -> Result<Page, String> {
    // Without a store the key is not visible, but the ledger still has its payment.
    let lookup = match idempotency.look_up(name, deadline).await {
        Err(StoreError::NoStore) => None,
        seen => Some(seen.map_err(failed)?),
    };
    let payment = match Payment::id_of_key(idempotency, name) {
        Some(id) => match app.payment_admin().find(&id, deadline).await {
            Err(PaymentAdminError::NoLedger) => None,
            found => found.map_err(|error| error.to_string())?,
        },
        None => None,
    };
    let [scope, key] = scope_and_key(name);
    let derived_key = idempotency.derived_key(name).as_str().to_owned();
    let advice = match (&payment, &lookup) {
        (Some(payment), _) => advice::for_payment(payment),
        (None, None) => return Err(failed(StoreError::NoStore)),
        (None, Some(Lookup::Absent)) => {
            return Err(format!(
                "key `{key}` not found in scope `{scope}`: it was never claimed, or its retention has ended"
            ));
        }
        (None, Some(Lookup::Found(entry))) if is_reference(entry) => advice::LOST_REFERENCE,
        (None, Some(lookup)) => advice::for_key(lookup),
    };
    let entry = match &lookup {
        Some(Lookup::Found(entry)) => Some(&**entry),
        _ => None,
    };
    if form == Form::Json {
        let result = entry.and_then(result);
        return Ok(Page::json(&json!({
            "scope": scope,
            "key": key,
            "derived_key": derived_key,
            "progress": lookup.as_ref().map(advice::progress_of),
            "attempt": entry.map(|entry| entry.attempt),
            "revision": entry.map(|entry| entry.revision().to_string()),
            "first_seen_seconds": entry.map(|entry| entry.first_seen.as_secs()),
            "lease_left_ms": entry.and_then(lease_left_ms),
            "policy": entry.map(|entry| policy(entry.policy)),
            "status": result.map(|(status, _)| status),
            "body_bytes": result.map(|(_, bytes)| bytes),
            "is_reference": entry.map(is_reference),
            "payment": payment.as_ref().map(|payment| json!({
                "id": payment.id,
                "state": payment.state,
            })),
            "advice": advice,
        })));
    }
    let progress = lookup.as_ref().map(advice::progress_of);
    let mut pairs = vec![
        ("scope", scope),
        ("key", key),
        ("derived key", derived_key),
        (
            "progress",
            progress.unwrap_or(advice::PROGRESS_NOT_VISIBLE).to_owned(),
        ),
    ];
    if let Some(entry) = entry {
        pairs.extend(lines(entry));
    }
    if let Some(payment) = &payment {
        let state = payment.state.name();
        pairs.push(("payment", format!("{}, {state}", payment.id)));
    }
    Ok(Page::list(&pairs).with_paragraph(advice))
}

fn lines(entry: &Entry) -> Vec<(&'static str, String)> {
    let mut pairs = vec![
        ("attempt", entry.attempt.to_string()),
        ("revision", entry.revision().to_string()),
        ("first seen", ago(entry.first_seen)),
        ("policy", policy(entry.policy).to_owned()),
    ];
    match &entry.progress {
        Progress::InProgress { lease_left } => {
            pairs.push(("lease", format!("{} left", duration(*lease_left))));
        }
        Progress::Abandoned | Progress::Unknown if entry.lease_over_for.is_zero() => {}
        Progress::Abandoned | Progress::Unknown => {
            pairs.push(("lease ended", ago(entry.lease_over_for)));
        }
        Progress::Released | Progress::Completed(_) => {}
    }
    if is_reference(entry) {
        pairs.push(("result", advice::REFERENCE.to_owned()));
    } else if let Some((status, bytes)) = result(entry) {
        pairs.push(("result", format!("status {status}, {bytes} bytes")));
    }
    pairs
}

/// Whether the stored result is only a reference to a payment.
fn is_reference(entry: &Entry) -> bool {
    matches!(&entry.progress, Progress::Completed(saved) if Payment::is_reference(saved))
}

/// The HTTP status of a stored result, and the length of its body.
fn result(entry: &Entry) -> Option<(u16, u64)> {
    let Progress::Completed(saved) = &entry.progress else {
        return None;
    };
    let bytes = match &saved.body {
        SavedBody::Whole(body) => body.len() as u64,
        SavedBody::Summary { length, .. } => *length,
    };
    Some((saved.status.as_u16(), bytes))
}

fn lease_left_ms(entry: &Entry) -> Option<u64> {
    match entry.progress {
        Progress::InProgress { lease_left } => u64::try_from(lease_left.as_millis()).ok(),
        _ => None,
    }
}

fn policy(policy: Policy) -> &'static str {
    match policy {
        Policy::AtMostOnce => "at most once",
        Policy::Rerun { .. } => "rerun while the provider recognises the key",
        Policy::RerunAlways => "rerun always: the next attempt resumes the work",
    }
}
