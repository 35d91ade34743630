//! The environment of a round: its stores, its provider and its processes. This module starts them and ends their faults.

use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;
use harness::fault_proxy::FaultProxy;
use harness::lambda::{Lambda, LambdaBuilder};
use harness::mongo_server::MongoServer;
use harness::redis_server::RedisServer;
use jiff::SignedDuration;
use shared::App;
use shared::deadline::Deadline;
use tempfile::TempDir;
use tokio::sync::mpsc;

use super::faults::{Fault, RedisPair, Targets};
use super::pool::Pool;
use super::provider::Provider;
use super::settling::{self, Settling};
use super::ttl_monitor::TtlMonitor;
use super::{LEASE, Mode, Round, Work};

/// The environment of a round. Dropping this value ends the stores, the provider and the processes of the round.
pub(super) struct Stage {
    pub(super) targets: Targets,
    environment: Environment,
    /// The schedule and the webhook, which settle payments without a client. `None` if the function has no ledger.
    settling: Option<Settling>,
    /// Deletes expired records from MongoDB. `None` without MongoDB or without a retention.
    ttl_monitor: Option<TtlMonitor>,
    _folder: TempDir,
}

/// The environment variables of all processes.
struct Environment(Vec<(&'static str, String)>);

/// The timeout of a request to the provider, in processes that have a deadline, in reconcilers and in webhooks.
const HURRY: Duration = Duration::from_millis(300);
/// The timeout of a request to the provider, in processes without a deadline. Such a process can get a late response after the
/// end of its lease.
const PATIENCE: Duration = Duration::from_secs(5);
/// The time from the deadline of an invocation to the kill of its process. Even on a busy machine, a process without a fault
/// answers within this time.
const GRACE: Duration = Duration::from_secs(4);
/// The possible differences between a process's clock and the machine's clock.
const SKEW: [SignedDuration; 3] = [
    SignedDuration::ZERO,
    SignedDuration::from_secs(3),
    SignedDuration::from_secs(-3),
];
/// The maximum number of open payments that the hunt lists at the end.
const LISTED: u32 = 10_000;

impl Stage {
    pub(super) async fn build(round: &Round<'_>) -> Self {
        let Round { hunt, seed, .. } = *round;
        let (events, sent_events) = mpsc::unbounded_channel();
        let provider = Provider::start(seed, round.began, events).await;
        let folder = TempDir::new().expect("a folder");
        let mut environment = Environment::of_payments(&folder);
        if let Some(retention) = hunt.retention {
            let seconds = retention.as_secs().to_string();
            environment.add("IDEMPOTENCY_TTL_SECONDS", seconds);
        }
        let redis = match hunt.mode {
            Mode::Tiered | Mode::Redis => Some(redis(&mut environment).await),
            Mode::MongoDb => None,
        };
        let (to_mongo, ttl_monitor) = match hunt.mode {
            Mode::Tiered | Mode::MongoDb => {
                let (proxy, monitor) = mongodb(&mut environment, hunt.retention).await;
                (Some(proxy), monitor)
            }
            Mode::Redis => (None, None),
        };
        let processes = processes(round, &environment, &provider).await;
        let settling = match hunt.work {
            Work::Payments => {
                let mut beside = Vec::new();
                for name in settling::FUNCTIONS {
                    let number = processes.len() + beside.len();
                    let builder = Lambda::function(name);
                    let builder = environment.with_provider(builder, &provider, number, HURRY);
                    beside.push(Arc::new(builder.start().await));
                }
                Some(Settling::start(beside, sent_events, Rng::with_seed(seed)))
            }
            Work::Once | Work::Rerun => None,
        };
        let beside = settling.as_ref().map(Settling::processes);
        let beside = beside.unwrap_or_default();
        Self {
            targets: Targets {
                pool: Pool::new(processes, seed, round.began),
                beside,
                redis,
                to_mongo,
                provider,
            },
            environment,
            settling,
            ttl_monitor,
            _folder: folder,
        }
    }

    /// Ends all faults.
    pub(super) fn heal(&self) {
        self.targets.provider.set_faulty(false);
        if let Some(redis) = &self.targets.redis {
            redis.proxy.heal();
        }
        if let Some(proxy) = &self.targets.to_mongo {
            proxy.heal();
        }
    }

    /// Continues the schedule until no due payment is open or `limit` has passed.
    pub(super) async fn settle(&self, limit: Duration) {
        if let Some(settling) = &self.settling {
            settling.settle(limit).await;
        }
    }

    /// The number of payments that the schedule settled.
    pub(super) fn settled_by_schedule(&self) -> u64 {
        self.settling.as_ref().map_or(0, Settling::settled)
    }

    /// Two counts of Stripe's events: the events that the webhook accepted, and the events that it refused at every delivery.
    pub(super) fn events(&self) -> (u64, u64) {
        self.settling
            .as_ref()
            .map(Settling::events)
            .unwrap_or_default()
    }

    /// The number of expired records that were deleted from MongoDB.
    pub(super) fn expired(&self) -> u64 {
        self.ttl_monitor.as_ref().map_or(0, TtlMonitor::deleted)
    }

    /// The number of payments that are open in the ledger; `None` if the ledger does not answer.
    pub(super) async fn count_open(&self) -> Option<usize> {
        if self.settling.is_none() {
            return Some(0);
        }
        let deadline = Deadline::after(Duration::from_secs(10));
        let open = self
            .environment
            .app()
            .payment_admin()
            .open(LISTED, deadline)
            .await
            .ok()?;
        Some(open.payments.len() + open.unreadable.len())
    }
}

impl Environment {
    /// The variables of all functions: timeouts that are shorter than most faults, and the folder of the ledger. Without MongoDB,
    /// the ledger is in this folder.
    fn of_payments(folder: &TempDir) -> Self {
        Self(vec![
            ("IDEMPOTENCY_FALLBACK", "reject".to_owned()),
            ("LEDGER_DIR", folder.path().to_string_lossy().into_owned()),
            ("PAYMENT_PROVIDER", "stripe".to_owned()),
            ("STRIPE_API_KEY", "sk_test_hunt".to_owned()),
            ("STRIPE_WEBHOOK_SECRETS", settling::SECRET.to_owned()),
            ("REDIS_CONNECT_TIMEOUT_MS", "200".to_owned()),
            ("REDIS_RESPONSE_TIMEOUT_MS", "150".to_owned()),
            ("IDEMPOTENCY_LEASE_MS", LEASE.as_millis().to_string()),
            ("IDEMPOTENCY_LEASE_GRACE_MS", "100".to_owned()),
            ("PAYMENT_RECONCILE_AFTER_SECONDS", "1".to_owned()),
            ("PAYMENT_CANCEL_AFTER_SECONDS", "4".to_owned()),
            ("AWS_LAMBDA_LOG_LEVEL", "ERROR".to_owned()),
        ])
    }

    fn add(&mut self, name: &'static str, value: String) {
        self.0.push((name, value));
    }

    /// Adds this environment and the URL of the provider to a function. The URL contains the number of the process.
    fn with_provider(
        &self,
        builder: LambdaBuilder,
        provider: &Provider,
        number: usize,
        patience: Duration,
    ) -> LambdaBuilder {
        let patience = patience.as_millis().to_string();
        let builder = builder
            .env("STRIPE_API_BASE", &provider.url(number))
            .env("PAYMENT_PROVIDER_TIMEOUT_MS", &patience);
        let variables = self.0.iter();
        variables.fold(builder, |builder, (name, value)| builder.env(name, value))
    }

    fn app(&self) -> App {
        let variable = |name: &str| {
            let (_, value) = self.0.iter().find(|(known, _)| *known == name)?;
            Some(value.into())
        };
        App::from_lookup(variable).expect("the settings of the functions are valid")
    }
}

async fn durable_redis() -> RedisServer {
    RedisServer::builder()
        .setting("appendonly", "yes")
        .setting("appendfsync", "always")
        .start()
        .await
}

async fn redis(environment: &mut Environment) -> RedisPair {
    let pair = RedisPair::new([durable_redis().await, durable_redis().await]);
    environment.add("REDIS_URL", pair.url());
    pair
}

/// Adds MongoDB to the environment. Returns the proxy in front of MongoDB and, if the hunt has a retention, a TTL monitor.
async fn mongodb(
    environment: &mut Environment,
    retention: Option<Duration>,
) -> (FaultProxy, Option<TtlMonitor>) {
    let server = MongoServer::shared().await;
    let proxy = FaultProxy::in_front_of(server.address());
    let database = server.fresh_database();
    let monitor = match retention {
        Some(retention) => Some(TtlMonitor::start(server, &database, retention).await),
        None => None,
    };
    environment.add("MONGODB_URI", server.uri_through(&proxy));
    environment.add("MONGODB_DATABASE", database);
    (proxy, monitor)
}

/// The processes that clients call.
async fn processes(
    round: &Round<'_>,
    environment: &Environment,
    provider: &Provider,
) -> Vec<Lambda> {
    let hunt = round.hunt;
    let skew = match hunt.faults.contains(&Fault::ClockSkew) {
        true => SKEW,
        false => [SignedDuration::ZERO; SKEW.len()],
    };
    let mut processes = Vec::new();
    for number in 0..round.processes() {
        let builder = match hunt.work {
            Work::Payments => Lambda::function("payments-create"),
            Work::Once | Work::Rerun => Lambda::example("charges"),
        };
        // Half of the processes have a deadline. The others have a short lease, which can end during a freeze or before a
        // late response.
        let knows_deadline = number % 2 == 0;
        let patience = if knows_deadline { HURRY } else { PATIENCE };
        let builder = environment
            .with_provider(builder, provider, number, patience)
            .clock_off_by(skew[number % skew.len()]);
        let builder = if knows_deadline {
            builder.timeout(Duration::from_secs(4)).grace(GRACE)
        } else {
            builder.local_deadlines().timeout(Duration::from_secs(60))
        };
        processes.push(builder.start().await);
    }
    processes
}
