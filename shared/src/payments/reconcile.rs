//! Looks after payments that have been open for longer than their clients should need.
//!
//! A run takes the open payments one page after the other, as long as its time lasts; which ones, the ledger says: those
//! that nobody has looked at for the longest time. So a run that is cut off is continued by the next one, and payments that
//! cannot be settled keep no others waiting. Runs may overlap: every step is a compare-and-set.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use futures_util::{StreamExt, stream};
use serde::Serialize;
use serde_json::value::RawValue;
use tracing::{error, info, warn};

use super::ledger::{Change, Queue, QueueOrder, Unavailable};
use super::settling::Settling;
use super::steps::Reached;
use super::{Moment, Payment, State};
use crate::config::Config;
use crate::deadline::Deadline;
use crate::idempotency::Idempotency;
use crate::metrics::{Metric, Metrics, Unit};

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
pub struct Reconciled {
    /// How many payments it looked at.
    pub looked_at: u64,
    /// How many of them turned out to be charged.
    pub succeeded: u64,
    /// How many were declined.
    pub declined: u64,
    /// How many can no longer be charged.
    pub failed: u64,
    /// Whether every payment that was due had its turn.
    pub finished: bool,
    /// How many due payments are open now; `None`: the ledger does not say.
    pub still_open: Option<u64>,
    /// The age of the oldest of them, in seconds; `None` also where there is none.
    pub oldest_open_seconds: Option<u64>,
}

/// What a run has counted, from several payments at a time.
#[derive(Default)]
struct Tally {
    looked_at: AtomicU64,
    succeeded: AtomicU64,
    declined: AtomicU64,
    failed: AtomicU64,
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
    /// As configured. Nothing is connected, and nothing here fails.
    pub fn new(config: &Config) -> Self {
        let settling = Settling::new(config);
        if settling.is_none() {
            error!("nothing can be settled: set MONGODB_URI, PAYMENT_PROVIDER and its key");
        }
        Self {
            settling,
            idempotency: Idempotency::new(config),
            metrics: Metrics::new(config),
            reconcile_after: config.payments.reconcile_after,
        }
    }

    /// Settles open payments until none is due or the time is over.
    ///
    /// # Cancel safety
    ///
    /// A dropped run leaves each payment wherever it was; the next run goes on.
    pub async fn run(&self, deadline: Deadline) -> Reconciled {
        let Some(settling) = &self.settling else {
            return Reconciled::default();
        };
        let deadline = deadline.within(LONGEST_RUN);
        self.prepare(settling, deadline).await;
        let due = Moment::now().before(self.reconcile_after);
        let tally = Tally::default();
        let finished = settle_all(settling, due, &tally, deadline.reserving(COUNTING_TIME)).await;
        let mut reconciled = tally.reconciled(finished.unwrap_or_else(|error| {
            warn!(ledger.error = %error, "what is open could not be listed");
            false
        }));
        match what_is_open(settling, due, deadline).await {
            Ok((count, oldest)) => {
                reconciled.still_open = Some(count);
                reconciled.oldest_open_seconds = oldest.as_ref().map(|age| age.as_secs());
            }
            Err(error) => warn!(ledger.error = %error, "what is open could not be counted"),
        }
        self.record(&reconciled);
        info!(
            reconcile.looked_at = reconciled.looked_at,
            reconcile.still_open = reconciled.still_open,
            reconcile.finished = reconciled.finished,
            "reconciled"
        );
        reconciled
    }

    /// Indexes: the ledger's, and the one that lets the engine's store forget. Without them all works, but slower.
    async fn prepare(&self, settling: &Settling, deadline: Deadline) {
        if let Err(error) = settling.ledger.prepare(deadline).await {
            warn!(ledger.error = %error, "the ledger could not be prepared");
        }
        if let Err(error) = self.idempotency.prepare(deadline).await {
            warn!(idempotency.error = %error, "the store of keys could not be prepared");
        }
    }

    fn record(&self, reconciled: &Reconciled) {
        let count = |name, value: u64| Metric {
            name,
            unit: Unit::Count,
            value: value as f64,
        };
        for (outcome, settled) in [
            ("succeeded", reconciled.succeeded),
            ("declined", reconciled.declined),
            ("failed", reconciled.failed),
        ] {
            let settled = count("PaymentsSettled", settled);
            self.metrics.record(("outcome", outcome), &[settled]);
        }
        let mut run = vec![
            count("ReconcileRuns", 1),
            count("ReconcileFinished", reconciled.finished.into()),
        ];
        if let Some(still_open) = reconciled.still_open {
            run.push(count("PaymentsOpen", still_open));
            run.push(Metric {
                name: "OldestOpenPaymentAge",
                unit: Unit::Seconds,
                value: reconciled.oldest_open_seconds.unwrap_or_default() as f64,
            });
        }
        self.metrics.record(("job", "payments-reconcile"), &run);
    }
}

/// Settles what was first heard of before `due`; returns whether everything had its turn.
async fn settle_all(
    settling: &Settling,
    due: Moment,
    tally: &Tally,
    deadline: Deadline,
) -> Result<bool, Unavailable> {
    let queue = Queue {
        created_before: due,
        order: QueueOrder::Unseen {
            looked_before: Moment::now(),
        },
        limit: PAGE,
    };
    let is_time_left = || deadline.clip(LEAST_TIME) == LEAST_TIME;
    loop {
        let seen = tally.looked_at.load(Relaxed);
        let page = settling.ledger.open_payments(queue, deadline).await?;
        if page.is_empty() {
            return Ok(true);
        }
        stream::iter(page)
            .for_each_concurrent(AT_ONCE, async |payment| {
                if is_time_left() {
                    settle_one(settling, &payment, tally, deadline).await;
                }
            })
            .await;
        // A ledger that lists and does not write would be asked for the same page for ever.
        if !is_time_left() || tally.looked_at.load(Relaxed) == seen {
            return Ok(false);
        }
    }
}

async fn settle_one(settling: &Settling, payment: &Payment, tally: &Tally, deadline: Deadline) {
    // First of all it goes to the end of the queue, whatever becomes of it; and what the ledger says now is what counts.
    let looked = settling.ledger.change(payment, &Change::Look, deadline);
    let payment = match looked.await {
        Ok(payment) => payment,
        Err(error) => {
            warn!(payment.id, ledger.error = %error, "a payment could not be looked at");
            return;
        }
    };
    tally.looked_at.fetch_add(1, Relaxed);
    if !payment.state.is_open() {
        return;
    }
    match settling.settle(payment, deadline).await {
        Reached::End(ended) => tally.count(ended.state),
        Reached::OnItsWay(open, _) => tell_of_old(&open),
        Reached::Nothing => {}
    }
}

/// Calls for a person where time does not help.
fn tell_of_old(payment: &Payment) {
    let age = payment.created_at.age(Moment::now());
    if age < DAY {
        return;
    }
    let tried = match payment.state {
        State::Processing => "the provider is asked at every run, and says that it is still at it",
        State::RequiresAction => "it was cancelled, and the provider still waits for the customer",
        _ if payment.intent.is_none() => "closing it in the ledger was not acknowledged",
        _ => "the provider is asked at every run, and gives no answer that ends it",
    };
    error!(
        payment.id,
        payment.state = payment.state.name(),
        payment.intent,
        payment.age_seconds = age.as_secs(),
        payment.tried = tried,
        "a payment is open for longer than a day"
    );
}

/// How many due payments are open, and the age of the oldest.
async fn what_is_open(
    settling: &Settling,
    due: Moment,
    deadline: Deadline,
) -> Result<(u64, Option<Duration>), Unavailable> {
    let count = settling.ledger.count_open(due, deadline).await?;
    let queue = Queue {
        created_before: due,
        order: QueueOrder::Oldest,
        limit: 1,
    };
    let oldest = settling.ledger.open_payments(queue, deadline).await?;
    let now = Moment::now();
    let age = oldest.first().map(|oldest| oldest.created_at.age(now));
    Ok((count, age))
}

impl Reconciled {
    /// The same as JSON.
    pub fn to_json(&self) -> Box<RawValue> {
        // Numbers and a truth value always serialise.
        serde_json::value::to_raw_value(self).unwrap_or_default()
    }
}

impl Tally {
    fn count(&self, state: State) {
        let counter = match state {
            State::Succeeded => &self.succeeded,
            State::Declined => &self.declined,
            _ => &self.failed,
        };
        counter.fetch_add(1, Relaxed);
    }

    fn reconciled(&self, finished: bool) -> Reconciled {
        Reconciled {
            looked_at: self.looked_at.load(Relaxed),
            succeeded: self.succeeded.load(Relaxed),
            declined: self.declined.load(Relaxed),
            failed: self.failed.load(Relaxed),
            finished,
            still_open: None,
            oldest_open_seconds: None,
        }
    }
}
