//! Looks after payments that have been open for longer than their clients should need.
//!
//! A run takes the open payments one page after the other, as long as its time lasts; which ones, the ledger says: those
//! that nobody has looked at for the longest time. So a run that is cut off is continued by the next one, and payments that
//! cannot be settled keep no others waiting. Runs may overlap: every step is a compare-and-set.

use std::collections::BTreeSet;
use std::time::Duration;

use foundation::Deadline;
use futures_util::{StreamExt, stream};
use idempotency::{Authority, Idempotency};
use serde::Serialize;
use serde_json::value::RawValue;
use telemetry::metrics::{Metric, Metrics, Unit};
use tracing::{error, info, warn};

use super::ledger::{Change, Ledger, LedgerError, Queue, QueueOrder};
use super::settling::Settling;
use super::{Payment, Setup, State, Timestamp, keys};

/// Settles what stayed open.
pub struct Reconciler {
    /// `None`: there is nothing to settle with.
    settling: Option<Settling>,
    idempotency: Idempotency,
    metrics: Metrics,
    reconcile_after: Duration,
}

/// What a run did, and what it leaves.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ReconcileReport {
    /// How many payments it looked at.
    pub looked_at: u64,
    /// How many of them turned out to be charged.
    pub succeeded: u64,
    /// How many were declined.
    pub declined: u64,
    /// How many can no longer be charged.
    pub failed: u64,
    /// How many rows it found that cannot be read, and passed by.
    pub unreadable: u64,
    /// Whether every payment that was due had its turn.
    pub finished: bool,
    /// How many due payments are open now; `None`: the ledger does not say.
    pub still_open: Option<u64>,
    /// The age of the oldest of them, in seconds; `None` also where there is none.
    pub oldest_open_seconds: Option<u64>,
}

/// What a look at one payment came to.
enum ReconcileOutcome {
    /// The ledger did not let it be looked at.
    Not,
    /// The row with this id cannot be read.
    Unreadable(String),
    /// It is open, or another process has ended it.
    Still,
    /// It has ended, in this state.
    Ended(State),
}

/// How many payments are asked for, and how many settled, at a time.
const PAGE: u32 = 100;
const AT_ONCE: usize = 8;
/// The longest run, where no deadline is known.
const LONGEST_RUN: Duration = Duration::from_secs(50);
/// With less, no payment is begun.
const LEAST_TIME: Duration = Duration::from_secs(2);
/// What a run leaves for counting what is open.
const COUNTING_TIME: Duration = Duration::from_millis(500);
/// A payment that is open for longer is for a person to look at.
const DAY: Duration = Duration::from_secs(86_400);

impl Reconciler {
    /// Settles payments over `idempotency`, which signs with [`Setup::response_keys`]. Nothing is connected, and nothing here fails.
    pub fn new(setup: &Setup, idempotency: Idempotency) -> Self {
        let settling = Settling::new(setup);
        if settling.is_none() {
            error!("nothing can be settled: set MONGODB_URI, PAYMENT_PROVIDER and its key");
        }
        Self {
            settling,
            idempotency,
            metrics: setup.metrics.clone(),
            reconcile_after: setup.config.reconcile_after,
        }
    }

    /// Sees to the indexes, and settles open payments until none is due or the time is over.
    ///
    /// # Cancel safety
    ///
    /// A dropped run leaves each payment wherever it was; the next run goes on.
    pub async fn run(&self, deadline: Deadline) -> ReconcileReport {
        let deadline = deadline.within(LONGEST_RUN);
        // Keys are forgotten by an index, whether there are payments or not.
        if let Err(error) = self.idempotency.prepare(deadline).await {
            warn!(idempotency.error = %error, "the store of keys could not be prepared");
        }
        let Some(settling) = &self.settling else {
            self.finish_keys(None, deadline).await;
            return ReconcileReport::default();
        };
        if let Err(error) = settling.ledger.prepare(deadline).await {
            warn!(ledger.error = %error, "the ledger could not be prepared");
        }
        let due = Timestamp::now().before(self.reconcile_after);
        let mut reconciled = ReconcileReport::default();
        let settled = reconciled.settle_all(settling, due, deadline.reserving(COUNTING_TIME));
        if let Err(error) = settled.await {
            warn!(ledger.error = %error, "what is open could not be listed");
        }
        match what_is_open(settling, due, deadline).await {
            Ok((count, oldest)) => {
                reconciled.still_open = Some(count);
                reconciled.oldest_open_seconds = oldest.as_ref().map(|age| age.as_secs());
            }
            Err(error) => warn!(ledger.error = %error, "what is open could not be counted"),
        }
        for (dimension, metrics) in reconciled.metrics() {
            self.metrics.record(dimension, &metrics);
        }
        // After the payments, so that those which have just ended finish their keys too.
        self.finish_keys(Some(&*settling.ledger), deadline).await;
        info!(
            reconcile.looked_at = reconciled.looked_at,
            reconcile.still_open = reconciled.still_open,
            reconcile.unreadable = reconciled.unreadable,
            reconcile.finished = reconciled.finished,
            "reconciled"
        );
        reconciled
    }

    /// Finishes the keys that payments left, and says how many others are unknown. Only where MongoDB finds them by an index.
    async fn finish_keys(&self, ledger: Option<&dyn Ledger>, deadline: Deadline) {
        if !matches!(
            self.idempotency.authority(),
            Authority::Tiered | Authority::MongoDb
        ) {
            return;
        }
        let finished = keys::finish(&self.idempotency, ledger, self.reconcile_after, deadline);
        match finished.await {
            Ok(keys) => {
                let unknown = [
                    Metric {
                        name: "UnknownKeys",
                        unit: Unit::Count,
                        value: keys.unknown as f64,
                    },
                    Metric {
                        name: "OldestUnknownKeyAge",
                        unit: Unit::Seconds,
                        value: keys.oldest_unknown.as_secs() as f64,
                    },
                ];
                // A run that was cut off saw too few, and would clear the alarm.
                if keys.is_whole {
                    self.metrics.record(("job", "payments-reconcile"), &unknown);
                }
                info!(
                    reconcile.keys_finished = keys.finished,
                    reconcile.keys_unknown = keys.unknown,
                    "looked at unfinished keys"
                );
            }
            Err(error) => warn!(idempotency.error = %error, "unfinished keys could not be listed"),
        }
    }
}

async fn settle_one(settling: &Settling, payment: Payment, deadline: Deadline) -> ReconcileOutcome {
    // First of all it goes to the end of the queue, whatever becomes of it; and what the ledger says now is what counts.
    let looked = settling.ledger.change(&payment, &Change::Look, deadline);
    let payment = match looked.await {
        Ok(looked) => looked.into_payment(),
        Err(error) => {
            warn!(payment.id, ledger.error = %error, "a payment could not be looked at");
            return match error {
                LedgerError::Unavailable(_) => ReconcileOutcome::Not,
                LedgerError::Unreadable { .. } => ReconcileOutcome::Unreadable(payment.id),
            };
        }
    };
    if !payment.state.is_open() {
        return ReconcileOutcome::Still;
    }
    let settled = settling.settle(payment, deadline).await.payment;
    if settled.state.is_open() {
        let age = settled.created_at.age(Timestamp::now());
        if let Some(tried) = tried_in_vain(&settled, age, settling.is_due(&settled)) {
            error!(
                payment.id = settled.id,
                payment.state = settled.state.name(),
                payment.intent = settled.intent,
                payment.age_seconds = age.as_secs(),
                payment.tried = tried,
                "a payment is open for longer than a day"
            );
        }
        return ReconcileOutcome::Still;
    }
    ReconcileOutcome::Ended(settled.state)
}

/// What does not end an open payment that needs a person; `None`: it is younger than that.
fn tried_in_vain(payment: &Payment, age: Duration, is_due: bool) -> Option<&'static str> {
    if age < DAY {
        return None;
    }
    Some(match (payment.state, &payment.intent) {
        (State::Processing, _) => {
            "the provider is asked at every run, and says that it is still processing it"
        }
        (State::RequiresAction, _) if is_due => {
            "it is cancelled at every run, and the provider still waits for the customer"
        }
        (State::RequiresAction, _) => {
            "the customer is waited for until PAYMENT_CANCEL_AFTER_SECONDS"
        }
        (_, None) if is_due => "it is closed in the ledger at every run, which is not acknowledged",
        (_, None) => {
            "the provider has not named it; it is closed after PAYMENT_CANCEL_AFTER_SECONDS"
        }
        (_, Some(_)) => "the provider is asked at every run, and gives no answer that ends it",
    })
}

/// How many due payments are open, and the age of the oldest.
async fn what_is_open(
    settling: &Settling,
    due: Timestamp,
    deadline: Deadline,
) -> Result<(u64, Option<Duration>), LedgerError> {
    let count = settling.ledger.count_open(due, deadline).await?;
    let queue = Queue {
        created_before: due,
        order: QueueOrder::Oldest,
        limit: 1,
    };
    let oldest = settling.ledger.open_payments(queue, deadline).await?;
    let now = Timestamp::now();
    let age = oldest
        .payments
        .first()
        .map(|oldest| oldest.created_at.age(now));
    Ok((count, age))
}

impl ReconcileReport {
    /// The same as JSON.
    pub fn to_json(&self) -> Box<RawValue> {
        // Numbers and a truth value always serialise.
        serde_json::value::to_raw_value(self).unwrap_or_default()
    }

    /// The same as metrics, each group with its dimension.
    fn metrics(&self) -> Vec<((&'static str, &'static str), Vec<Metric>)> {
        let count = |name, value: u64| Metric {
            name,
            unit: Unit::Count,
            value: value as f64,
        };
        let mut run = vec![
            count("ReconcileRuns", 1),
            count("ReconcileFinished", self.finished.into()),
        ];
        // A run that was cut off has not seen every row.
        if self.finished || self.unreadable > 0 {
            run.push(count("PaymentsUnreadable", self.unreadable));
        }
        if let Some(still_open) = self.still_open {
            run.push(count("PaymentsOpen", still_open));
            run.push(Metric {
                name: "OldestOpenPaymentAge",
                unit: Unit::Seconds,
                value: self.oldest_open_seconds.unwrap_or_default() as f64,
            });
        }
        let settled = |outcome, number| {
            let settled = vec![count("PaymentsSettled", number)];
            (("outcome", outcome), settled)
        };
        vec![
            settled("succeeded", self.succeeded),
            settled("declined", self.declined),
            settled("failed", self.failed),
            (("job", "payments-reconcile"), run),
        ]
    }

    /// Settles what was first heard of before `due`, until everything has had its turn or the time is over.
    async fn settle_all(
        &mut self,
        settling: &Settling,
        due: Timestamp,
        deadline: Deadline,
    ) -> Result<(), LedgerError> {
        let queue = Queue {
            created_before: due,
            order: QueueOrder::LongestWaiting {
                looked_before: Timestamp::now(),
            },
            limit: PAGE,
        };
        let mut unreadable = BTreeSet::new();
        let is_time_left = move || deadline.clip(LEAST_TIME) == LEAST_TIME;
        loop {
            let seen = (self.looked_at, unreadable.len());
            let page = settling.ledger.open_payments(queue, deadline).await?;
            unreadable.extend(page.unreadable);
            self.unreadable = unreadable.len() as u64;
            if page.payments.is_empty() && unreadable.len() == seen.1 {
                self.finished = true;
                return Ok(());
            }
            let mut looks = stream::iter(page.payments)
                .map(|payment| async move {
                    if is_time_left() {
                        settle_one(settling, payment, deadline).await
                    } else {
                        ReconcileOutcome::Not
                    }
                })
                .buffer_unordered(AT_ONCE);
            while let Some(looked) = looks.next().await {
                self.count(&looked);
                if let ReconcileOutcome::Unreadable(id) = looked {
                    unreadable.insert(id);
                }
            }
            self.unreadable = unreadable.len() as u64;
            // A ledger that lists and does not write would be asked for the same page for ever.
            if !is_time_left() || (self.looked_at, unreadable.len()) == seen {
                return Ok(());
            }
        }
    }

    fn count(&mut self, looked: &ReconcileOutcome) {
        let is_looked_at = !matches!(
            looked,
            ReconcileOutcome::Not | ReconcileOutcome::Unreadable(_)
        );
        self.looked_at += u64::from(is_looked_at);
        match looked {
            ReconcileOutcome::Not | ReconcileOutcome::Unreadable(_) | ReconcileOutcome::Still => {}
            ReconcileOutcome::Ended(State::Succeeded) => self.succeeded += 1,
            ReconcileOutcome::Ended(State::Declined) => self.declined += 1,
            ReconcileOutcome::Ended(_) => self.failed += 1,
        }
    }
}

#[cfg(test)]
mod tests;
