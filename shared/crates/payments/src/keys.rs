//! Finishes the idempotency keys of abandoned requests: requests for payments, and events of the provider.
//!
//! Some clients never repeat their request. If such a request was abandoned, the outcome of its key stays unknown in the engine, even after
//! the payment has ended. Only the ledger has the response then. So each run of the reconciler reads the unfinished keys, and completes the
//! keys of ended payments with the ledger's response.
//!
//! A key is reopened, so that its record expires after the retention, if
//!
//! - its payment is not in the ledger,
//! - its payment belongs to another request, or
//! - it is the key of an event.
//!
//! Reopening is safe. Each attempt first opens or finds the payment's row. An attempt after a reopening assumes that an earlier attempt
//! may still be running. Processing an event twice is harmless.
//!
//! The run does not resolve the keys of other work. It counts the unknown keys of other work. An alarm watches the age of the oldest
//! one. An abandoned key of other work is not reopened, even if the next attempt can take it over. Such work may have no ledger. Then
//! only the key's record shows the next attempt that an earlier attempt may have acted.

use std::time::Duration;

use foundation::Deadline;
use idempotency::{
    Entry, Idempotency, Lookup, Progress, RecordKey, Resolution, ResolveResult, StoreError,
};
use tracing::warn;

use super::ledger::Ledger;
use super::payment::{Payment, id_of};

/// The result of a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct UnfinishedKeys {
    /// The number of keys that the run completed or reopened.
    pub(super) finished: u64,
    /// The number of keys with an unknown outcome. The owner of such a key, or an operator, has to resolve it. This number includes
    /// damaged keys that the store lists as unfinished.
    pub(super) unknown: u64,
    /// How long the oldest unknown key has been unknown, counted from the end of its lease.
    pub(super) oldest_unknown: Duration,
    /// Whether the run read every key. If not, the counts are too low.
    pub(super) is_complete: bool,
}

/// The work that a key belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Work {
    /// A payment of `POST /api/payments`.
    Payment,
    /// An event of the provider. Processing an event twice is harmless.
    Event,
    /// Work of another function.
    Other,
}

/// One of the two passes in which a run reads the keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pass {
    /// Finishes keys of payments and events.
    Finish,
    /// Counts all other keys, and damaged ones.
    Count,
}

/// What a run does with an unfinished key.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    Resolve(Resolution),
    Leave,
}

/// The prefix of the keys of payments and events.
const KEYS_OF_PAYMENTS: &str = "idempotency:http:payments.";
/// The least time for a key. If a run has less time left, it does not take another key. The next run starts at the first key.
const LEAST_TIME: Duration = Duration::from_millis(500);

/// Reads every unfinished key, and finishes the keys of payments and events. Returns the counts of the run. A key is
/// changed only after `settle_after` has passed since the end of its lease. Until then, the client can retry.
///
/// # Errors
///
/// [`StoreError`] when the idempotency store does not answer.
///
/// # Cancel safety
///
/// A dropped call leaves the remaining keys to the next run.
pub(super) async fn finish(
    idempotency: &Idempotency,
    ledger: Option<&dyn Ledger>,
    settle_after: Duration,
    deadline: Deadline,
) -> Result<UnfinishedKeys, StoreError> {
    let mut keys = UnfinishedKeys::default();
    // The keys of payments come first, because the number of other unfinished keys is unbounded.
    for (pass, prefix) in [
        (Pass::Finish, KEYS_OF_PAYMENTS),
        (Pass::Count, RecordKey::PREFIX),
    ] {
        let mut pages = idempotency.unfinished(prefix);
        while let Some(page) = pages.next_page(deadline).await? {
            for (key, lookup) in page {
                if deadline.clip(LEAST_TIME) < LEAST_TIME {
                    return Ok(keys);
                }
                let work = Work::of(&key);
                match (pass, work, &lookup) {
                    (Pass::Count, Work::Other, _) | (Pass::Count, _, Lookup::Unreadable) => {
                        keys.count(&lookup);
                    }
                    (Pass::Finish, Work::Payment | Work::Event, Lookup::Found(entry))
                        if is_abandoned(entry, settle_after) =>
                    {
                        let finished = finish_one(idempotency, ledger, work, entry, deadline);
                        keys.finished += u64::from(finished.await);
                    }
                    _ => {}
                }
            }
        }
    }
    keys.is_complete = true;
    Ok(keys)
}

/// Completes or reopens the key of an abandoned attempt, if that is safe. Returns whether the key was completed or
/// reopened.
async fn finish_one(
    idempotency: &Idempotency,
    ledger: Option<&dyn Ledger>,
    work: Work,
    entry: &Entry,
    deadline: Deadline,
) -> bool {
    let step = match (work, ledger) {
        (Work::Payment, Some(ledger)) => of_payment(idempotency, ledger, entry, deadline).await,
        (Work::Event, Some(_)) => Step::Resolve(Resolution::Reopened),
        (Work::Other, _) | (_, None) => Step::Leave,
    };
    let Step::Resolve(resolution) = step else {
        return false;
    };
    match idempotency.resolve_entry(entry, resolution, deadline).await {
        Ok(ResolveResult::Stored) => true,
        // A new attempt claimed the key meanwhile.
        Ok(ResolveResult::Refused) => false,
        Err(error) => {
            warn!(idempotency.key_hash = %entry.key.hash(), idempotency.error = %error, "an unfinished key was not resolved; the next run retries");
            false
        }
    }
}

impl UnfinishedKeys {
    fn count(&mut self, lookup: &Lookup) {
        match lookup {
            Lookup::Found(entry) if entry.progress == Progress::Unknown => {
                self.unknown += 1;
                self.oldest_unknown = self.oldest_unknown.max(entry.lease_over_for);
            }
            Lookup::Unreadable => self.unknown += 1,
            Lookup::Found(_) | Lookup::Absent => {}
        }
    }
}

impl Payment {
    /// The id of the payment that a key of `POST /api/payments` belongs to; `None` for a key of other work.
    pub fn id_of_key(idempotency: &Idempotency, key: &RecordKey) -> Option<String> {
        (Work::of(key) == Work::Payment).then(|| id_of(&idempotency.derived_key(key)))
    }
}

impl Work {
    pub(super) fn of(key: &RecordKey) -> Self {
        let (scope, _) = key.parts();
        match scope.iter().map(String::as_str).collect::<Vec<_>>()[..] {
            ["http", "payments.create", _] => Self::Payment,
            ["http", "payments.webhook", _] => Self::Event,
            _ => Self::Other,
        }
    }
}

/// Whether the attempt was abandoned and the client has had time to retry: `settle_after` has passed since the end of the lease.
fn is_abandoned(entry: &Entry, settle_after: Duration) -> bool {
    entry.progress.is_abandoned() && entry.lease_over_for >= settle_after
}

async fn of_payment(
    idempotency: &Idempotency,
    ledger: &dyn Ledger,
    entry: &Entry,
    deadline: Deadline,
) -> Step {
    let id = id_of(&idempotency.derived_key(&entry.key));
    match ledger.read(&id, deadline).await {
        // Another request opened the row. This key's attempt only read the row.
        Ok(Some(payment)) if payment.fingerprint != entry.fingerprint.to_string() => {
            Step::Resolve(Resolution::Reopened)
        }
        Ok(Some(payment)) => match payment.final_response() {
            Some(answer) => Step::Resolve(Resolution::Completed(answer)),
            None => Step::Leave,
        },
        Ok(None) => Step::Resolve(Resolution::Reopened),
        Err(error) => {
            warn!(payment.id = id, ledger.error = %error, "an unfinished key was not resolved: its payment was not read; the next run retries");
            Step::Leave
        }
    }
}

#[cfg(test)]
mod tests {
    use idempotency::{IdempotencyKey, Scope};

    use super::*;

    #[test]
    fn a_key_belongs_to_a_payment_to_an_event_or_to_other_work() {
        let key = |scope| RecordKey::new(&scope, &IdempotencyKey::parse("k").expect("a key"));
        let http = |operation| Scope::http(operation, "jwt:alice").expect("a scope");
        let cases = [
            (http("payments.create"), Work::Payment),
            (http("payments.webhook"), Work::Event),
            (http("payments.create2"), Work::Other),
            (
                Scope::function("payments.create", "s").expect("a scope"),
                Work::Other,
            ),
            (Scope::none(), Work::Other),
        ];
        for (scope, expected) in cases {
            assert_eq!(Work::of(&key(scope)), expected);
        }
    }

    /// The work that a damaged key belongs to may have taken effect.
    #[test]
    fn a_damaged_key_is_counted_as_unknown() {
        let mut keys = UnfinishedKeys::default();
        for unknown in 1..=2 {
            keys.count(&Lookup::Unreadable);
            assert_eq!(keys.unknown, unknown);
        }
        keys.count(&Lookup::Absent);
        assert_eq!(keys.unknown, 2);
    }
}
