//! Keys that attempts left unfinished: they are finished, reopened or counted here.
//!
//! A client that goes away leaves the key of its payment unknown in the engine, also when the payment has ended long since:
//! the ledger knows the answer, and only the next request with that key would have asked it. So each run of the reconciler
//! looks at the unfinished keys, and gives those of ended payments the answer of the ledger.
//!
//! A key whose payment is not in the ledger is reopened, so that its record ends after a retention. So is one whose payment is
//! another request's, and one of an event. Reopening is safe: every attempt first opens or finds the payment's row, and one that
//! begins after a reopening knows that an earlier one may still go on. Following an event twice is harmless.
//!
//! The keys of other work are its owner's to resolve. Unknown ones are counted, and an alarm watches the oldest. Abandoned ones
//! that the next attempt takes over are left as they are: without a ledger, only the record tells that attempt to look first.

use std::time::Duration;

use foundation::Deadline;
use idempotency::{
    Entry, Idempotency, Lookup, Progress, RecordKey, Settled, Settlement, StoreError,
};
use tracing::warn;

use super::ledger::Ledger;
use super::payment::{Payment, id_of};

/// What a run found, and what it did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct UnfinishedKeys {
    /// Keys that this run finished or reopened.
    pub(super) finished: u64,
    /// Keys whose outcome is unknown until their owner or an operator resolves them, and those damaged ones that the store lists as
    /// unfinished.
    pub(super) unknown: u64,
    /// How long the oldest of those has been unknown: since its lease ended.
    pub(super) oldest_unknown: Duration,
    /// Whether every key was looked at: otherwise the two above say too little.
    pub(super) is_whole: bool,
}

/// What a key belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Work {
    /// A payment of `POST /api/payments`.
    Payment,
    /// An event of the provider. Following it again is harmless.
    Event,
    /// Work of which nothing is known here.
    Other,
}

/// A run looks at keys twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pass {
    /// To finish those of payments and events.
    Finish,
    /// To count all others, and damaged ones.
    Count,
}

/// What a run does with an unfinished key.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    Settle(Settlement),
    Leave,
}

/// What the name of each key of a payment or an event begins with.
const KEYS_OF_PAYMENTS: &str = "idempotency:http:payments.";
/// With less time, the run ends. The next one starts again at the first key.
const LEAST_TIME: Duration = Duration::from_millis(500);

/// Looks at every unfinished key, and finishes those of payments. `settle_after`: how long an abandoned attempt is left to
/// its client.
///
/// # Errors
///
/// [`StoreError`] when the store of keys did not answer.
///
/// # Cancel safety
///
/// A dropped call leaves the rest of the keys to the next one.
pub(super) async fn finish(
    idempotency: &Idempotency,
    ledger: Option<&dyn Ledger>,
    settle_after: Duration,
    deadline: Deadline,
) -> Result<UnfinishedKeys, StoreError> {
    let mut keys = UnfinishedKeys::default();
    // Those of payments first: any number of others may be unfinished.
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
    keys.is_whole = true;
    Ok(keys)
}

/// Finishes or reopens the key of an abandoned attempt, where that is safe; whether it did.
async fn finish_one(
    idempotency: &Idempotency,
    ledger: Option<&dyn Ledger>,
    work: Work,
    entry: &Entry,
    deadline: Deadline,
) -> bool {
    let step = match (work, ledger) {
        (Work::Payment, Some(ledger)) => of_payment(idempotency, ledger, entry, deadline).await,
        (Work::Event, Some(_)) => Step::Settle(Settlement::Reopened),
        (Work::Other, _) | (_, None) => Step::Leave,
    };
    let Step::Settle(settlement) = step else {
        return false;
    };
    match idempotency.settle(entry, settlement, deadline).await {
        Ok(Settled::Done) => true,
        // Its client came back meanwhile.
        Ok(Settled::Refused) => false,
        Err(error) => {
            warn!(idempotency.key_hash = %entry.key.hash(), idempotency.error = %error, "an unfinished key was not settled");
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

/// Whether the attempt was abandoned, and its client had the time to come back.
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
        // Another request than the one that opened the row: its attempt did nothing but to read that.
        Ok(Some(payment)) if payment.fingerprint != entry.fingerprint.to_string() => {
            Step::Settle(Settlement::Reopened)
        }
        Ok(Some(payment)) => match payment.final_response() {
            Some(answer) => Step::Settle(Settlement::Completed(answer)),
            None => Step::Leave,
        },
        Ok(None) => Step::Settle(Settlement::Reopened),
        Err(error) => {
            warn!(payment.id = id, ledger.error = %error, "the payment of an unfinished key could not be read");
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

    /// A damaged key may be of work that took effect.
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
