//! What settles payments beside those who ask for them: a schedule, which invokes the reconciler, and Stripe's events, which reach
//! the webhook.

use std::sync::Arc;
use std::time::{Duration, Instant};

use fastrand::Rng;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::between;
use crate::lambda::{Lambda, Outcome};
use crate::stripe_event::StripeEvent;

/// The schedule and the webhook; dropping it ends them.
pub(super) struct Settling {
    reconciler: Arc<Lambda>,
    webhook: Arc<Lambda>,
    _tasks: JoinSet<()>,
}

/// What events are signed with.
pub(super) const SECRET: &str = "whsec_hunt";
/// How often the schedule invokes the reconciler.
const SCHEDULE: Duration = Duration::from_millis(700);
/// How long the stage is left alone at the end, for what is still on its way.
const QUIET: Duration = Duration::from_secs(6);
/// How late an event is at most when it is first delivered.
const LATEST_EVENT: Duration = Duration::from_millis(1_500);
/// How often an event is delivered at most that is refused each time.
const DELIVERIES: u32 = 6;
/// How long an event rests that was refused.
const REDELIVERY: Duration = Duration::from_millis(500);

impl Settling {
    /// Starts to invoke the one, and to deliver events to the other.
    pub(super) fn start(
        reconciler: Lambda,
        webhook: Lambda,
        events: mpsc::UnboundedReceiver<StripeEvent>,
        rng: Rng,
    ) -> Self {
        let (reconciler, webhook) = (Arc::new(reconciler), Arc::new(webhook));
        let mut tasks = JoinSet::new();
        tasks.spawn(schedule(Arc::clone(&reconciler)));
        tasks.spawn(deliver_all(Arc::clone(&webhook), events, rng));
        Self {
            reconciler,
            webhook,
            _tasks: tasks,
        }
    }

    /// The processes, which fare no better than others.
    pub(super) fn processes(&self) -> [Arc<Lambda>; 2] {
        [Arc::clone(&self.reconciler), Arc::clone(&self.webhook)]
    }

    /// Lets the schedule go on until nothing is due, at most for so long.
    pub(super) async fn settle(&self, limit: Duration) {
        let began = Instant::now();
        sleep(QUIET).await;
        while began.elapsed() < limit {
            let report = run(&self.reconciler).await;
            if report.is_some_and(|report| report["still_open"] == 0) {
                return;
            }
            sleep(SCHEDULE).await;
        }
    }
}

async fn schedule(reconciler: Arc<Lambda>) {
    loop {
        sleep(SCHEDULE).await;
        run(&reconciler).await;
    }
}

async fn run(reconciler: &Lambda) -> Option<Value> {
    match reconciler.invoke(json!({})).await {
        Outcome::Answered(report) => Some(report),
        _ => None,
    }
}

/// Delivers events as Stripe does: late, some twice, some never, in any order, and again where they were refused.
async fn deliver_all(
    webhook: Arc<Lambda>,
    mut told: mpsc::UnboundedReceiver<StripeEvent>,
    mut rng: Rng,
) {
    let mut deliveries = JoinSet::new();
    while let Some(event) = told.recv().await {
        for _ in 0..rng.choice([0, 1, 1, 1, 1, 1, 2, 2]).unwrap_or(1) {
            let late = between(&mut rng, Duration::ZERO..LATEST_EVENT);
            deliveries.spawn(deliver(Arc::clone(&webhook), event.clone(), late));
        }
        while deliveries.try_join_next().is_some() {}
    }
}

async fn deliver(webhook: Arc<Lambda>, event: StripeEvent, late: Duration) {
    sleep(late).await;
    for _ in 0..DELIVERIES {
        let request = event.request(&[SECRET]);
        if let Outcome::Answered(answer) = webhook.invoke(request.event()).await
            && answer["statusCode"] == 200
        {
            return;
        }
        sleep(REDELIVERY).await;
    }
}
