//! Reconciles payments that stayed open: the client has abandoned the payment, or the payment waits for the customer or the provider.
//!
//! A run takes open payments page by page until its time is over. The ledger lists first the payments that the reconciler has not looked
//! at for the longest time. So the next run continues where this run stopped, and payments that do not end do not delay other payments.
//! Runs may overlap, because every step is a compare-and-set.
//!
//! A run also finishes the idempotency keys that abandoned requests left ([`keys`]).

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
use super::service::PaymentService;
use super::{Payment, Setup, State, Timestamp, keys};

/// Reconciles open payments on a schedule.
pub struct Reconciler {
    /// The service that reconciles. `None`: no ledger or no provider is configured. Then a run does nothing except read
    /// idempotency keys.
    service: Option<PaymentService>,
    idempotency: Idempotency,
    metrics: Metrics,
    /// The age from which a payment is reconciled. The client of a younger payment may still be working on it.
    reconcile_after: Duration,
}

/// The result of a run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ReconcileReport {
    /// The number of payments that the run looked at.
    pub looked_at: u64,
    /// The number of payments that ended as charged.
    pub succeeded: u64,
    /// The number of payments that ended as declined.
    pub declined: u64,
    /// The number of payments that ended as failed: they can no longer be charged.
    pub failed: u64,
    /// The number of rows that the run skipped because it could not read them.
    pub unreadable: u64,
    /// Whether the run looked at every payment that was due.
    pub finished: bool,
    /// The number of payments that were due and are still open after the run; `None`: the ledger did not answer.
    pub still_open: Option<u64>,
    /// The age in seconds of the oldest payment that was due and is still open after the run. `None`: no payment is open, or the ledger
    /// did not answer.
    pub oldest_open_seconds: Option<u64>,
}

/// What a run did with one payment.
enum ReconcileOutcome {
    /// The run skipped the payment, because the ledger did not answer or no time was left.
    Skipped,
    /// The row with this id cannot be read.
    Unreadable(String),
    /// The payment is still open, or another process ended it.
    Unchanged,
    /// The run ended the payment. This is its final state.
    Ended(State),
}

/// The most payments that one query of the ledger returns.
const PAGE: u32 = 100;
/// The most payments that a run reconciles concurrently.
const CONCURRENCY: usize = 8;
/// The time limit of a run. If the invocation ends earlier, the run ends earlier too.
const LONGEST_RUN: Duration = Duration::from_secs(50);
/// The least time for a payment. If a run has less time left, it does not start another payment.
const LEAST_TIME: Duration = Duration::from_secs(2);
/// The time that a run reserves for counting the open payments.
const COUNTING_TIME: Duration = Duration::from_millis(500);
/// How long a payment may be open before an operator has to look at it.
const DAY: Duration = Duration::from_secs(86_400);

impl Reconciler {
    /// A reconciler with the engine `idempotency`. That engine has to sign its saved responses with [`Setup::response_keys`]. This call
    /// opens no connection.
    pub fn new(setup: &Setup, idempotency: Idempotency) -> Self {
        Self {
            service: PaymentService::or_log(setup, |part| {
                error!("open payments are not reconciled: {part}");
            }),
            idempotency,
            metrics: setup.metrics.clone(),
            reconcile_after: setup.config.reconcile_after,
        }
    }

    /// Creates missing indexes, and reconciles open payments until none is due or the time is over.
    ///
    /// # Cancel safety
    ///
    /// A dropped run leaves payments open; the next run continues.
    pub async fn run(&self, deadline: Deadline) -> ReconcileReport {
        let deadline = deadline.within(LONGEST_RUN);
        // The TTL index of the keys is needed even if payments are not configured.
        if let Err(error) = self.idempotency.prepare(deadline).await {
            warn!(idempotency.error = %error, "the indexes of the idempotency store were not created; the next run retries");
        }
        let Some(service) = &self.service else {
            self.finish_keys(None, deadline).await;
            return ReconcileReport::default();
        };
        if let Err(error) = service.ledger.prepare(deadline).await {
            warn!(ledger.error = %error, "the index of the ledger was not created; the next run retries");
        }
        let due = Timestamp::now().before(self.reconcile_after);
        let mut report = ReconcileReport::default();
        let reconciled = report.reconcile_all(service, due, deadline.reserving(COUNTING_TIME));
        if let Err(error) = reconciled.await {
            warn!(ledger.error = %error, "open payments were not listed and stay open; the next run retries");
        }
        match count_open(service, due, deadline).await {
            Ok((count, oldest)) => {
                report.still_open = Some(count);
                report.oldest_open_seconds = oldest.as_ref().map(|age| age.as_secs());
            }
            Err(error) => {
                warn!(ledger.error = %error, "open payments were not counted; this run reports no age of the oldest one, and the next run retries");
            }
        }
        for (dimension, metrics) in report.metrics() {
            self.metrics.record(dimension, &metrics);
        }
        // Keys are finished after the payments. So the keys of payments that ended in this run are finished too.
        self.finish_keys(Some(&*service.ledger), deadline).await;
        info!(
            reconcile.looked_at = report.looked_at,
            reconcile.still_open = report.still_open,
            reconcile.unreadable = report.unreadable,
            reconcile.finished = report.finished,
            "reconciled"
        );
        report
    }

    /// Finishes abandoned keys of payments, and counts the other unknown keys. Only MongoDB is searched, because the other stores have
    /// no index of unfinished keys.
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
                // An incomplete run reports no counts, because counts that are too low would end the alarm.
                if keys.is_complete {
                    self.metrics.record(("job", "payments-reconcile"), &unknown);
                }
                info!(
                    reconcile.keys_finished = keys.finished,
                    reconcile.keys_unknown = keys.unknown,
                    "looked at unfinished keys"
                );
            }
            Err(error) => {
                warn!(idempotency.error = %error, "unfinished keys were not listed; the next run retries");
            }
        }
    }
}

async fn reconcile_one(
    service: &PaymentService,
    payment: Payment,
    deadline: Deadline,
) -> ReconcileOutcome {
    // This first write moves the payment to the end of the queue, even if a later step fails. The write also returns the current row.
    let looked = service.ledger.change(&payment, &Change::Look, deadline);
    let payment = match looked.await {
        Ok(looked) => looked.into_payment(),
        Err(error) => {
            warn!(payment.id, ledger.error = %error, "a payment was not reconciled and stays open; the next run retries");
            return match error {
                LedgerError::Unavailable(_) => ReconcileOutcome::Skipped,
                LedgerError::Unreadable { .. } => ReconcileOutcome::Unreadable(payment.id),
            };
        }
    };
    if !payment.state.is_open() {
        return ReconcileOutcome::Unchanged;
    }
    let reconciled = service.reconcile(payment, deadline).await.payment;
    if reconciled.state.is_open() {
        let age = reconciled.created_at.age(Timestamp::now());
        let is_due = service.is_due_for_closing(&reconciled);
        if let Some(tried) = tried_in_vain(&reconciled, age, is_due) {
            error!(
                payment.id = reconciled.id,
                payment.state = reconciled.state.name(),
                payment.intent = reconciled.intent,
                payment.age_seconds = age.as_secs(),
                payment.tried = tried,
                "a payment is open for longer than a day; never charge it again under another key; see docs/runbook.md, A payment is open for days"
            );
        }
        return ReconcileOutcome::Unchanged;
    }
    ReconcileOutcome::Ended(reconciled.state)
}

/// What was tried on a payment that needs an operator; `None`: the payment was created less than a day ago.
fn tried_in_vain(payment: &Payment, age: Duration, is_due: bool) -> Option<&'static str> {
    if age < DAY {
        return None;
    }
    Some(match (payment.state, &payment.intent) {
        (State::Processing, _) => {
            "each run asks the provider, which is still processing the charge"
        }
        (State::RequiresAction, _) if is_due => {
            "each run cancels the intent, but the provider still waits for the customer"
        }
        (State::RequiresAction, _) => {
            "none yet: the customer has until PAYMENT_CANCEL_AFTER_SECONDS"
        }
        (_, None) if is_due => {
            "each run tries to close the payment, but the ledger does not acknowledge it"
        }
        (_, None) => {
            "none yet: the payment has no intent and is closed after PAYMENT_CANCEL_AFTER_SECONDS"
        }
        (_, Some(_)) => "each run asks the provider, but no answer ends the payment",
    })
}

/// The number of due payments that are still open, and the age of the oldest of them.
async fn count_open(
    service: &PaymentService,
    due: Timestamp,
    deadline: Deadline,
) -> Result<(u64, Option<Duration>), LedgerError> {
    let count = service.ledger.count_open(due, deadline).await?;
    let queue = Queue {
        created_before: due,
        order: QueueOrder::Oldest,
        limit: 1,
    };
    let oldest = service.ledger.open_payments(queue, deadline).await?;
    let now = Timestamp::now();
    let age = oldest
        .payments
        .first()
        .map(|oldest| oldest.created_at.age(now));
    Ok((count, age))
}

impl ReconcileReport {
    /// The report as JSON.
    pub fn to_json(&self) -> Box<RawValue> {
        // Numbers and booleans always serialise.
        serde_json::value::to_raw_value(self).unwrap_or_default()
    }

    /// The report as metrics. Each group of metrics has one dimension.
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
        // An incomplete run does not report zero, because the run has not seen every row.
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

    /// Reconciles payments that were created before `due`. Stops when the run has looked at each of these payments, or the
    /// time is over.
    async fn reconcile_all(
        &mut self,
        service: &PaymentService,
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
            let page = service.ledger.open_payments(queue, deadline).await?;
            unreadable.extend(page.unreadable);
            self.unreadable = unreadable.len() as u64;
            if page.payments.is_empty() && unreadable.len() == seen.1 {
                self.finished = true;
                return Ok(());
            }
            let mut outcomes = stream::iter(page.payments)
                .map(|payment| async move {
                    if is_time_left() {
                        reconcile_one(service, payment, deadline).await
                    } else {
                        ReconcileOutcome::Skipped
                    }
                })
                .buffer_unordered(CONCURRENCY);
            while let Some(outcome) = outcomes.next().await {
                self.count(&outcome);
                if let ReconcileOutcome::Unreadable(id) = outcome {
                    unreadable.insert(id);
                }
            }
            self.unreadable = unreadable.len() as u64;
            // The run ends if a page brought no progress. A ledger that answers reads but rejects writes would return the same page
            // forever.
            if !is_time_left() || (self.looked_at, unreadable.len()) == seen {
                return Ok(());
            }
        }
    }

    fn count(&mut self, outcome: &ReconcileOutcome) {
        let is_looked_at = !matches!(
            outcome,
            ReconcileOutcome::Skipped | ReconcileOutcome::Unreadable(_)
        );
        self.looked_at += u64::from(is_looked_at);
        match outcome {
            ReconcileOutcome::Skipped
            | ReconcileOutcome::Unreadable(_)
            | ReconcileOutcome::Unchanged => {}
            ReconcileOutcome::Ended(State::Succeeded) => self.succeeded += 1,
            ReconcileOutcome::Ended(State::Declined) => self.declined += 1,
            ReconcileOutcome::Ended(_) => self.failed += 1,
        }
    }
}

#[cfg(test)]
mod tests;
