//! Everything that a hunt is made of, started and led back to health.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use fastrand::Rng;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::Mode;
use super::faults::Targets;
use super::pool::Pool;
use super::provider::Provider;
use super::round::Round;
use crate::fault_proxy::FaultProxy;
use crate::lambda::{Lambda, LambdaBuilder, Outcome};
use crate::mongo_server::MongoServer;
use crate::redis_server::RedisServer;
use crate::stripe_event::StripeEvent;

/// What a hunt takes place on. Its parts end with it.
pub(super) struct Stage {
    pub(super) targets: Targets,
    reconciler: Arc<Lambda>,
    /// The schedule and the delivery of events.
    _beside: JoinSet<()>,
    _folder: TempDir,
}

/// How long an attempt has its key where it knows no deadline. A frozen process stands still for longer.
pub(super) const LEASE: Duration = Duration::from_millis(1_000);
/// Half of them know their deadline; the other half has a lease that a freeze outlasts.
const PROCESSES: usize = 8;
const SECRET: &str = "whsec_hunt";
/// How often the schedule invokes the reconciler.
const SCHEDULE: Duration = Duration::from_millis(700);
const LATEST_EVENT: u64 = 1_500;
const DELIVERIES: u32 = 6;

impl Stage {
    pub(super) async fn build(round: &Round<'_>) -> Self {
        let (events, told) = mpsc::unbounded_channel();
        let provider = Provider::start(round.seed, events).await;
        let redis = [durable_redis().await, durable_redis().await];
        let to_redis = FaultProxy::in_front_of(redis[0].address());
        let folder = TempDir::new().expect("a folder");
        let mut variables = vec![
            ("REDIS_URL", redis[0].url_through(&to_redis)),
            ("IDEMPOTENCY_FALLBACK", "reject".to_owned()),
            ("LEDGER_DIR", folder.path().to_string_lossy().into_owned()),
            ("PAYMENT_PROVIDER", "stripe".to_owned()),
            ("PAYMENT_PROVIDER_TIMEOUT_MS", "300".to_owned()),
            ("STRIPE_API_KEY", "sk_test_hunt".to_owned()),
            ("STRIPE_API_BASE", format!("http://{}/", provider.address)),
            ("STRIPE_WEBHOOK_SECRETS", SECRET.to_owned()),
            ("REDIS_CONNECT_TIMEOUT_MS", "200".to_owned()),
            ("REDIS_RESPONSE_TIMEOUT_MS", "150".to_owned()),
            ("IDEMPOTENCY_LEASE_MS", LEASE.as_millis().to_string()),
            ("IDEMPOTENCY_LEASE_GRACE_MS", "100".to_owned()),
            ("PAYMENT_RECONCILE_AFTER_SECONDS", "1".to_owned()),
            ("PAYMENT_CANCEL_AFTER_SECONDS", "4".to_owned()),
            ("AWS_LAMBDA_LOG_LEVEL", "ERROR".to_owned()),
        ];
        let to_mongo = match round.hunt.mode {
            Mode::Redis => None,
            Mode::Tiered => {
                let server = MongoServer::shared().await;
                let proxy = FaultProxy::in_front_of(server.address());
                variables.push(("MONGODB_URI", server.uri_through(&proxy)));
                variables.push(("MONGODB_DATABASE", server.fresh_database()));
                Some(proxy)
            }
        };
        let function = |name: &str| {
            variables
                .iter()
                .fold(Lambda::function(name), |builder, (name, value)| {
                    builder.env(name, value)
                })
        };
        let mut processes = Vec::new();
        for number in 0..PROCESSES {
            let builder: LambdaBuilder = function("payments-create");
            let builder = match number % 2 {
                0 => builder.timeout(Duration::from_secs(4)),
                _ => builder.local_deadlines().timeout(Duration::from_secs(60)),
            };
            processes.push(builder.start().await);
        }
        let reconciler = Arc::new(function("payments-reconcile").start().await);
        let webhook = Arc::new(function("payments-webhook").start().await);
        let mut beside = JoinSet::new();
        beside.spawn(schedule(Arc::clone(&reconciler)));
        beside.spawn(deliver_all(webhook, told, Rng::with_seed(round.seed)));
        Self {
            targets: Targets {
                pool: Pool::new(processes, round.seed),
                redis,
                to_redis,
                to_mongo,
                provider,
                second_redis: AtomicBool::new(false),
            },
            reconciler,
            _beside: beside,
            _folder: folder,
        }
    }

    /// Lets everything be well.
    pub(super) fn heal(&self) {
        self.targets.provider.set_faulty(false);
        self.targets.to_redis.heal();
        if let Some(proxy) = &self.targets.to_mongo {
            proxy.heal();
        }
    }

    /// Reconciles until nothing is open, at most for so long; how many payments then are.
    pub(super) async fn settle(&self, limit: Duration) -> Option<u64> {
        let began = Instant::now();
        // Late requests, late events and customers first.
        sleep(Duration::from_secs(4)).await;
        loop {
            let open = match run(&self.reconciler).await {
                Some(report) => report["still_open"].as_u64(),
                None => None,
            };
            if open == Some(0) || began.elapsed() > limit {
                return open;
            }
            sleep(SCHEDULE).await;
        }
    }
}

async fn durable_redis() -> RedisServer {
    RedisServer::builder()
        .setting("appendonly", "yes")
        .setting("appendfsync", "always")
        .start()
        .await
}

async fn run(reconciler: &Lambda) -> Option<Value> {
    match reconciler.invoke(json!({})).await {
        Outcome::Answered(report) => Some(report),
        _ => None,
    }
}

async fn schedule(reconciler: Arc<Lambda>) {
    loop {
        sleep(SCHEDULE).await;
        run(&reconciler).await;
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
            let late = Duration::from_millis(rng.u64(..LATEST_EVENT));
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
        sleep(Duration::from_millis(500)).await;
    }
}
