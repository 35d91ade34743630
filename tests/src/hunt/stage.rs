//! Everything that a hunt is made of, started and led back to health.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use fastrand::Rng;
use jiff::SignedDuration;
use serde_json::{Value, json};
use shared::config::Config;
use shared::deadline::Deadline;
use shared::payments::Desk;
use tempfile::TempDir;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::faults::{Fault, Targets};
use super::pool::Pool;
use super::provider::Provider;
use super::round::Round;
use super::{Mode, Work};
use crate::fault_proxy::FaultProxy;
use crate::lambda::{Lambda, LambdaBuilder, Outcome};
use crate::mongo_server::MongoServer;
use crate::redis_server::RedisServer;
use crate::stripe_event::StripeEvent;

/// What a hunt takes place on. Its parts end with it.
pub(super) struct Stage {
    pub(super) targets: Targets,
    variables: Vec<(&'static str, String)>,
    /// What settles payments beside those who ask for them; `None` where there is no ledger.
    settling: Option<Settling>,
    _folder: TempDir,
}

/// The schedule and the webhook.
struct Settling {
    reconciler: Arc<Lambda>,
    _tasks: JoinSet<()>,
}

/// How long an attempt has its key where it knows no deadline. A frozen process stands still for longer.
pub(super) const LEASE: Duration = Duration::from_millis(1_000);
/// Half of them know their deadline; the other half has a lease that a freeze outlasts.
const PROCESSES: usize = 24;
/// How long they wait for the provider: the other half hears of what it has done when the lease is over.
const PATIENCE: [Duration; 2] = [Duration::from_millis(300), Duration::from_millis(5_000)];
/// By how much the clocks of some of them are off.
const SKEW: [SignedDuration; 3] = [
    SignedDuration::ZERO,
    SignedDuration::from_secs(3),
    SignedDuration::from_secs(-3),
];
const SECRET: &str = "whsec_hunt";
/// How often the schedule invokes the reconciler.
const SCHEDULE: Duration = Duration::from_millis(700);
/// How late requests, events, customers and skewed clocks are at most.
const LATE: Duration = Duration::from_secs(6);
const LATEST_EVENT: u64 = 1_500;
const DELIVERIES: u32 = 6;
/// How many open payments are listed at the end.
const LISTED: u32 = 10_000;

impl Stage {
    pub(super) async fn build(round: &Round<'_>) -> Self {
        let hunt = round.hunt;
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
            ("STRIPE_API_KEY", "sk_test_hunt".to_owned()),
            ("STRIPE_WEBHOOK_SECRETS", SECRET.to_owned()),
            ("REDIS_CONNECT_TIMEOUT_MS", "200".to_owned()),
            ("REDIS_RESPONSE_TIMEOUT_MS", "150".to_owned()),
            ("IDEMPOTENCY_LEASE_MS", LEASE.as_millis().to_string()),
            ("IDEMPOTENCY_LEASE_GRACE_MS", "100".to_owned()),
            ("PAYMENT_RECONCILE_AFTER_SECONDS", "1".to_owned()),
            ("PAYMENT_CANCEL_AFTER_SECONDS", "4".to_owned()),
            ("AWS_LAMBDA_LOG_LEVEL", "ERROR".to_owned()),
        ];
        let to_mongo = match hunt.mode {
            Mode::Redis => None,
            Mode::Tiered => {
                let server = MongoServer::shared().await;
                let proxy = FaultProxy::in_front_of(server.address());
                variables.push(("MONGODB_URI", server.uri_through(&proxy)));
                variables.push(("MONGODB_DATABASE", server.fresh_database()));
                Some(proxy)
            }
        };
        let with = |builder: LambdaBuilder, number: usize| {
            let patience = PATIENCE[number % PATIENCE.len()].as_millis();
            let builder = builder
                .env("STRIPE_API_BASE", &provider.url(number))
                .env("PAYMENT_PROVIDER_TIMEOUT_MS", &patience.to_string());
            let variables = variables.iter();
            variables.fold(builder, |builder, (name, value)| builder.env(name, value))
        };
        let (program, policy): (fn() -> LambdaBuilder, _) = match hunt.work {
            Work::Payments => (|| Lambda::function("payments-create"), None),
            Work::Once => (|| Lambda::example("charges"), Some("at-most-once")),
            Work::Rerun => (|| Lambda::example("charges"), Some("rerun")),
        };
        let are_off = hunt.faults.contains(&Fault::ClockSkew);
        let mut processes = Vec::new();
        for number in 0..PROCESSES {
            let builder = with(program(), number);
            let builder = match number % 2 {
                0 => builder.timeout(Duration::from_secs(4)),
                _ => builder.local_deadlines().timeout(Duration::from_secs(60)),
            };
            let builder = match SKEW[number % SKEW.len()] {
                skew if are_off && !skew.is_zero() => builder.clock_off_by(skew),
                _ => builder,
            };
            processes.push(builder.start().await);
        }
        let mut beside = Vec::new();
        let settling = match hunt.work {
            Work::Payments => {
                let reconciler = with(Lambda::function("payments-reconcile"), PROCESSES);
                let webhook = with(Lambda::function("payments-webhook"), PROCESSES + 1);
                let reconciler = Arc::new(reconciler.start().await);
                let webhook = Arc::new(webhook.start().await);
                beside.extend([Arc::clone(&reconciler), Arc::clone(&webhook)]);
                Some(Settling::start(reconciler, webhook, told, round.seed))
            }
            Work::Once | Work::Rerun => None,
        };
        Self {
            targets: Targets {
                pool: Pool::new(processes, policy, round.seed),
                beside,
                redis,
                to_redis,
                to_mongo,
                provider,
                second_redis: AtomicBool::new(false),
            },
            variables,
            settling,
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

    /// Lets the schedule go on until nothing is due, at most for so long.
    pub(super) async fn settle(&self, limit: Duration) {
        let Some(settling) = &self.settling else {
            return;
        };
        let began = Instant::now();
        sleep(LATE).await;
        while began.elapsed() < limit {
            let report = run(&settling.reconciler).await;
            if report.is_some_and(|report| report["still_open"] == 0) {
                return;
            }
            sleep(SCHEDULE).await;
        }
    }

    /// How many payments are open in the ledger; `None`: it does not say.
    pub(super) async fn count_open(&self) -> Option<usize> {
        if self.settling.is_none() {
            return Some(0);
        }
        let variables = |name: &str| {
            let (_, value) = self.variables.iter().find(|(known, _)| *known == name)?;
            Some(value.into())
        };
        let config = Config::from_lookup(variables).expect("the functions start with it");
        let deadline = Deadline::after(Duration::from_secs(10));
        let open = Desk::new(&config).open(LISTED, deadline).await.ok()?;
        Some(open.len())
    }
}

impl Settling {
    fn start(
        reconciler: Arc<Lambda>,
        webhook: Arc<Lambda>,
        events: mpsc::UnboundedReceiver<StripeEvent>,
        seed: u64,
    ) -> Self {
        let mut tasks = JoinSet::new();
        tasks.spawn(schedule(Arc::clone(&reconciler)));
        let rng = Rng::with_seed(seed);
        tasks.spawn(deliver_all(webhook, events, rng));
        Self {
            reconciler,
            _tasks: tasks,
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
