//! Settles payments without a client: a schedule invokes the reconciler, and the webhook gets Stripe's events.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use fastrand::Rng;
use harness::lambda::{Lambda, Outcome};
use harness::stripe_event::StripeEvent;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::between;

/// The schedule and the webhook. Dropping this value ends the schedule and the webhook.
pub(super) struct Settling {
    processes: Vec<Arc<Lambda>>,
    counted: Arc<Counted>,
    _tasks: JoinSet<()>,
}

/// Counts the payments that the schedule settled, and the events that the webhook accepted or refused.
#[derive(Default)]
struct Counted {
    settled: AtomicU64,
    taken: AtomicU64,
    given_up: AtomicU64,
}

/// The functions of the processes that settle payments. There are two reconcilers, because runs of the schedule can
/// overlap.
pub(super) const FUNCTIONS: [&str; 5] = [
    "payments-reconcile",
    "payments-reconcile",
    "payments-webhook",
    "payments-webhook",
    "payments-webhook",
];
const RECONCILERS: usize = 2;

/// The secret that signs events.
pub(super) const SECRET: &str = "whsec_hunt";
/// The interval of the schedule.
const SCHEDULE: Duration = Duration::from_millis(700);
/// The pause at the end of a round. During this pause, requests and events that are still in flight arrive.
const QUIET: Duration = Duration::from_secs(6);
/// The longest time before the first delivery of an event.
const LATEST_EVENT: Duration = Duration::from_millis(1_500);
/// The maximum number of deliveries of an event.
const DELIVERIES: u32 = 6;
/// The pause before the next delivery of a refused event.
const REDELIVERY: Duration = Duration::from_millis(500);

impl Settling {
    /// Starts the schedule and the delivery of events. The processes run [`FUNCTIONS`], in the same order.
    pub(super) fn start(
        processes: Vec<Arc<Lambda>>,
        events: mpsc::UnboundedReceiver<StripeEvent>,
        rng: Rng,
    ) -> Self {
        let counted = Arc::new(Counted::default());
        let mut tasks = JoinSet::new();
        let (reconcilers, webhooks) = processes.split_at(RECONCILERS);
        for reconciler in reconcilers {
            tasks.spawn(schedule(Arc::clone(reconciler), Arc::clone(&counted)));
        }
        let (webhooks, counting) = (webhooks.to_vec(), Arc::clone(&counted));
        tasks.spawn(deliver_all(webhooks, counting, events, rng));
        Self {
            processes,
            counted,
            _tasks: tasks,
        }
    }

    /// The processes. Faults are injected into these processes too.
    pub(super) fn processes(&self) -> Vec<Arc<Lambda>> {
        self.processes.clone()
    }

    /// The number of payments that the schedule settled.
    pub(super) fn settled(&self) -> u64 {
        self.counted.settled.load(Relaxed)
    }

    /// Two counts of Stripe's events: the events that the webhook accepted, and the events that it refused at every
    /// delivery.
    pub(super) fn events(&self) -> (u64, u64) {
        let Counted {
            taken, given_up, ..
        } = &*self.counted;
        (taken.load(Relaxed), given_up.load(Relaxed))
    }

    /// Continues the schedule until no due payment is open or `limit` has passed.
    pub(super) async fn settle(&self, limit: Duration) {
        let began = Instant::now();
        sleep(QUIET).await;
        while began.elapsed() < limit {
            let report = run(&self.processes[0], &self.counted).await;
            if report.is_some_and(|report| report["still_open"] == 0) {
                return;
            }
            sleep(SCHEDULE).await;
        }
    }
}

async fn schedule(reconciler: Arc<Lambda>, counted: Arc<Counted>) {
    loop {
        sleep(SCHEDULE).await;
        run(&reconciler, &counted).await;
    }
}

async fn run(reconciler: &Lambda, counted: &Counted) -> Option<Value> {
    let Outcome::Answered(report) = reconciler.invoke(json!({})).await else {
        return None;
    };
    let settled = ["succeeded", "declined", "failed"].map(|end| report[end].as_u64());
    let settled = settled.into_iter().flatten().sum();
    counted.settled.fetch_add(settled, Relaxed);
    Some(report)
}

/// Delivers events as Stripe does: in any order, some late, some twice and some never. A refused event is delivered
/// again.
async fn deliver_all(
    webhooks: Vec<Arc<Lambda>>,
    counted: Arc<Counted>,
    mut sent_events: mpsc::UnboundedReceiver<StripeEvent>,
    mut rng: Rng,
) {
    let mut deliveries = JoinSet::new();
    while let Some(event) = sent_events.recv().await {
        for _ in 0..rng.choice([0, 1, 1, 1, 1, 1, 2, 2]).unwrap_or(1) {
            let late = between(&mut rng, Duration::ZERO..LATEST_EVENT);
            let webhook = Arc::clone(&webhooks[rng.usize(..webhooks.len())]);
            let counted = Arc::clone(&counted);
            deliveries.spawn(deliver(webhook, counted, event.clone(), late));
        }
        while deliveries.try_join_next().is_some() {}
    }
}

async fn deliver(webhook: Arc<Lambda>, counted: Arc<Counted>, event: StripeEvent, late: Duration) {
    sleep(late).await;
    for _ in 0..DELIVERIES {
        let request = event.request(&[SECRET]);
        if let Outcome::Answered(answer) = webhook.invoke(request.event()).await
            && answer["statusCode"] == 200
        {
            counted.taken.fetch_add(1, Relaxed);
            return;
        }
        sleep(REDELIVERY).await;
    }
    counted.given_up.fetch_add(1, Relaxed);
}
