//! Which settings are there, and what does each one do?
//!
//! This is the only module that reads the environment, and it reads it once, at the start. Everything else is handed
//! the part of [`Config`] it needs. A wrong value stops the start with a [`ConfigError`] that names the variable. A
//! backend that is missing or down, or whose URL cannot be parsed, does not stop it: health reports it.
//!
//! What is safe on a laptop only refuses to start where `ENVIRONMENT` is not `development`: the sandbox, memory in the place of a
//! store, a key or a login sent unencrypted to another host, a certificate that is not checked, a secret of fewer than 16
//! characters.
//!
//! A secret is given in its variable, or is kept in AWS Secrets Manager and named by the variable with `_SECRET_ARN`, as a
//! whole: its text is what the variable would hold. Both at once stop the start.
//!
//! A variable that is empty or blank counts as not set (only `HEALTH_CRITICAL` gives the empty value a meaning).
//!
//! | variable | unit, accepted | default | effect, and what happens at its extremes |
//! |---|---|---|---|
//! | `SERVICE_NAME` | 1–64 of `A–Z a–z 0–9 . _ -` | `truebond` | the name in health answers and the namespace of metrics |
//! | `ENVIRONMENT` | 1–64 of `A–Z a–z 0–9 . _ -` | `development` | everything but `development` counts as production: health details only with the token, no memory fallback; must be set where it is deployed |
//! | `REDIS_URL` | `redis://` or `rediss://`, `user:password@`, `host:port`, `/db` | not set: no Redis | the Redis (from 7.0) or Valkey (from 7.2) server; credentials percent-encoded; with a query or a fragment it counts as one that cannot be parsed |
//! | `REDIS_URL_SECRET_ARN` | ARN of a secret | not set | keeps the URL in Secrets Manager; read at the first command, and again when Redis refuses its password |
//! | `REDIS_AUTH` | `url`, `iam` | `url` | how to log in: with the URL's user and password, or as an IAM user of ElastiCache, with a token that is signed for each connection (then only `rediss://` without them) |
//! | `REDIS_USER` | 1–40 of `a–z 0–9 -` | needed for `iam` | the user's id, which is its name as well |
//! | `REDIS_CACHE_NAME` | 1–40 of `a–z 0–9 -` | needed for `iam` | the name of the serverless cache, or the id of the replication group; not its host |
//! | `REDIS_CACHE_TYPE` | `serverless`, `replication_group` | needed for `iam` | which of the two it is; the wrong one is refused at login |
//! | `REDIS_PLAINTEXT` | `allowed`, `refused` | `allowed` in development, else `refused` | whether a login (a user, a password) may go unencrypted to another host: for a Redis without TLS inside a private network; health's details show `allowed` |
//! | `REDIS_CLUSTER` | `true`, `false` | `false` | cluster mode; the URL names any node (ElastiCache Serverless needs it) and no database. `false` with a cluster of several masters, `true` with a server that is no cluster: health says so |
//! | `REDIS_CA_FILE` | path of a PEM file, at most 1 MiB | public roots | trusts only the certificates in it (for `rediss://`) |
//! | `REDIS_CONNECT_TIMEOUT_MS` | 1–900 000 ms | 5 000 | limit of TCP, TLS and handshake together; too short: never connects; always clipped to the time left in the invocation |
//! | `REDIS_RESPONSE_TIMEOUT_MS` | 1–900 000 ms | 5 000 | limit of one command, also clipped; a command that overruns it costs the connection |
//! | `REDIS_IDLE_CHECK_MS` | 0–900 000 ms | 1 000 | a connection unused for longer is pinged before use; 0 pings before every command, the maximum never within an invocation |
//! | `MONGODB_URI` | `mongodb://` or `mongodb+srv://` | not set: no MongoDB | the MongoDB deployment |
//! | `MONGODB_URI_SECRET_ARN` | ARN of a secret | not set | keeps the URI in Secrets Manager; read at the first call, and again when MongoDB refuses its user |
//! | `MONGODB_DATABASE` | 1–63 bytes without `/ \ . " $ * < > : \| ?` and blanks | `truebond` | the database |
//! | `IDEMPOTENCY_TTL_SECONDS` | 1–31 536 000 s | 86 400 | the window: for how long a result is replayed, from when it was stored; one for all stores and all versions. After it the key runs as new; shorter than an invocation, it may end while an attempt of the key still runs. MongoDB goes on forgetting by the one before until `payments-reconcile` has run |
//! | `IDEMPOTENCY_LEASE_MS` | 1–900 000 ms | 30 000 | how long an attempt has the key to itself where the invocation's deadline is not known; too short: repetitions are told `unknown`, or take over, while it is at work |
//! | `IDEMPOTENCY_LEASE_GRACE_MS` | 0–60 000 ms | 2 000 | by how much a lease outlasts the invocation's deadline |
//! | `IDEMPOTENCY_MAX_RESPONSE_BYTES` | 0–6 291 456 | 1 048 576 | the longest body that is kept whole; of a longer one length and digest are kept |
//! | `IDEMPOTENCY_FALLBACK` | `memory`, `reject` | `memory` in development, else `reject` | what stands in for Redis where there is no MongoDB: this process's memory (only in development), or nothing |
//! | `IDEMPOTENCY_MEMORY_ENTRIES` | 1–1 000 000 | 10 000 | the most keys in memory; full: claims are refused |
//! | `IDEMPOTENCY_MEMORY_BYTES` | 1 024–1 073 741 824 | 67 108 864 | the most bytes in memory, about; full: claims are refused, results kept as summaries |
//! | `PAYMENT_PROVIDER` | `stripe`; in development also `sandbox` | `sandbox` in development, else none | who charges; the sandbox charges nobody; none: payments are refused |
//! | `PAYMENT_LIVEMODE` | `true`, `false` | `false` in development, else `true` | whether real money is meant to move: an intent of the other mode is not confirmed |
//! | `PAYMENT_PROVIDER_TIMEOUT_MS` | 1–80 000 ms | 10 000 | limit of one request to the provider, clipped to the time left; too short: payments end as `unknown` and are settled by a repetition |
//! | `STRIPE_API_KEY` | text | not set | the secret key; not set with `stripe`: payments are refused |
//! | `STRIPE_API_KEY_SECRET_ARN` | ARN of a secret | not set | keeps the key in Secrets Manager; read at the first payment, and again when Stripe refuses it |
//! | `STRIPE_API_BASE` | `http://` or `https://` URL without user and password that ends with `/`; outside development `https://`, or a loopback address | `https://api.stripe.com/` | a server that speaks as Stripe does |
//! | `PAYMENT_RECONCILE_AFTER_SECONDS` | 1–604 800 s | 60 | how long an open payment is left to those who ask for it, before `payments-reconcile` looks after it |
//! | `PAYMENT_CANCEL_AFTER_SECONDS` | 1–604 800 s | 3 600 | how long a payment may stay unconfirmed, its customer's action included, before it is cancelled; too short: slow customers fail |
//! | `STRIPE_WEBHOOK_SECRETS` | one or two secrets of 16–256 characters (development: 1–256), comma between | not set: events are refused | with which Stripe signs its events; two while one is replaced |
//! | `STRIPE_WEBHOOK_SECRETS_SECRET_ARN` | ARN of a secret | not set | keeps them in Secrets Manager; read at the first event, and again when a signature is by none of them, the less often the more often in vain |
//! | `PAYMENT_MAC_KEYS` | one or two keys of 16–256 characters (development: 1–256), comma between | not set: in development saved responses are believed, elsewhere the ledger is asked | the keys of the MACs that tell a saved response of payments from one that another program wrote: the current key, then the previous one |
//! | `PAYMENT_MAC_KEYS_SECRET_ARN` | ARN of a secret | not set | keeps them in Secrets Manager; while they cannot be read, the ledger is asked |
//! | `SECRETS_TTL_SECONDS` | 1–86 400 s | 3 600 | for how long a secret of Secrets Manager is used without another look; what is refused is looked up at once |
//! | `LEDGER_DIR` | path | `target/ledger` | where payments are kept in development without MongoDB, and what the sandbox has charged |
//! | `IDEMPOTENCY_NAMESPACE` | 1–64 of `A–Z a–z 0–9 . _ -` | `default` | whose keys the function `idempotency` keeps: one deployment of it for each set of callers that trust one another; another name is another set of keys |
//! | `HEALTH_CHECK_TIMEOUT_MS` | 1–29 000 ms | 800 | limit of one check |
//! | `HEALTH_TOTAL_TIMEOUT_MS` | 1–29 000 ms | 1 000 | limit of a whole health answer; a check is cut at whichever limit is sooner |
//! | `HEALTH_MEMO_MS` | 0–60 000 ms | 1 000 | how long a result is reused; 0 probes at every request |
//! | `HEALTH_SLOW_MS` | 1–29 000 ms | 100 | a probe slower than this makes its service `degraded` |
//! | `HEALTH_MONGODB_DECIDES` | `true`, `false` | whether MongoDB is configured | whether MongoDB decides about keys: told to `health-redis`, which asks no MongoDB, so that it names the right fallback |
//! | `HEALTH_CRITICAL` | comma list of `redis`, `mongodb`, `api`, or empty | MongoDB if configured, Redis if nothing stands in for it | which services make the whole `unhealthy`; empty: none |
//! | `HEALTH_DETAILS_TOKEN` | 16–256 characters (development: 1–256), visible ASCII | not set | shows health details to whoever sends it as `Authorization: Bearer`; not set: shown in development, never elsewhere |
//! | `HEALTH_DETAILS_TOKEN_SECRET_ARN` | ARN of a secret | not set | keeps the token in AWS Secrets Manager |
//! | `AWS_LAMBDA_LOG_FORMAT` | `JSON`, `Text` | text in a terminal, else JSON | how log lines are written (set by Lambda) |
//! | `AWS_LAMBDA_LOG_LEVEL` | `TRACE`, `DEBUG`, `INFO`, `WARN`, `ERROR`, `FATAL` | `INFO` | the least level of our own log lines (set by Lambda) |
//! | `AWS_REGION` | name of a region | needed for `iam` | where the cache is (set by Lambda); a secret is where its ARN says |
//!
//! Lambda also sets `AWS_LAMBDA_INITIALIZATION_TYPE` and `LAMBDA_TASK_ROOT` (one is present: this is deployed), `AWS_LAMBDA_RUNTIME_API` (where
//! invocations come from) and `AWS_LAMBDA_MAX_CONCURRENCY` (invocations per process, 1). The credentials for AWS itself, and
//! another place than AWS (`AWS_ENDPOINT_URL`), are read by its client (`aws_client`) from where all its clients find them.

mod health;
mod idempotency;
mod logging;
mod mongo;
mod payments;
mod reader;
mod redis_client;
mod safety;
mod secret;

use std::ffi::OsString;

use ::idempotency::Available;
use ::mongo_client::MongoConfig;
use ::payments::PaymentsConfig;
use ::redis_client::RedisConfig;
use foundation::Environment;
use foundation::environment::Host;
use telemetry::logging::LogConfig;

pub(crate) use health::is_details_token;
pub(crate) use health::{HealthConfig, Service};
pub(crate) use idempotency::IdempotencySettings;
pub use reader::ConfigError;
use reader::Reader;

/// Every setting of a function, read once.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    /// The service's name in health answers and metrics.
    pub(crate) service: String,
    /// The version of this build, from Cargo.
    pub(crate) version: &'static str,
    /// Where this runs.
    pub(crate) environment: Environment,
    /// Redis or Valkey.
    pub(crate) redis: RedisConfig,
    /// MongoDB.
    pub(crate) mongo: MongoConfig,
    /// Idempotency.
    pub(crate) idempotency: IdempotencySettings,
    /// Payments.
    pub(crate) payments: PaymentsConfig,
    /// The health answers.
    pub(crate) health: HealthConfig,
    /// The log.
    pub(crate) log: LogConfig,
    /// What Lambda says of this process.
    pub(crate) lambda: LambdaConfig,
}

/// What Lambda tells a process about itself.
#[derive(Clone, Debug)]
pub(crate) struct LambdaConfig {
    /// Whether a Runtime API is there to ask for invocations.
    pub(crate) runtime_api: bool,
    /// How many invocations this process serves at a time.
    pub(crate) concurrency: usize,
}

impl Config {
    /// Reads the environment of this process.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] for the first variable that cannot be used.
    pub(crate) fn from_env() -> Result<Self, ConfigError> {
        Self::from_lookup(of_process)
    }

    /// The same with what a developer has written down for variables that this process does not have. A process of another
    /// environment reads nothing of that: its stores are not the developer's.
    ///
    /// # Errors
    ///
    /// As [`from_env`](Self::from_env).
    pub(crate) fn from_env_or(
        written: impl Fn(&str) -> Option<OsString>,
    ) -> Result<Self, ConfigError> {
        let is_development = match of_process("ENVIRONMENT") {
            Some(name) => name.is_empty() || name == "development",
            None => true,
        };
        Self::from_lookup(|variable| {
            let written = || is_development.then(|| written(variable)).flatten();
            of_process(variable).or_else(written)
        })
    }

    /// Reads variables through `lookup`.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] for the first variable that cannot be used.
    pub(crate) fn from_lookup(
        lookup: impl Fn(&str) -> Option<OsString>,
    ) -> Result<Self, ConfigError> {
        let read = Reader(&lookup);
        let environment = read_environment(&read)?;
        let config = Self {
            service: read
                .name("SERVICE_NAME")?
                .unwrap_or_else(|| "truebond".to_owned()),
            version: env!("CARGO_PKG_VERSION"),
            redis: redis_client::read(&read, &environment)?,
            mongo: mongo::read(&read, &environment)?,
            idempotency: IdempotencySettings::read(&read, &environment)?,
            payments: payments::read(&read, &environment)?,
            health: HealthConfig::read(&read)?,
            log: logging::read(&read, environment.is_deployed())?,
            lambda: LambdaConfig {
                runtime_api: read.text("AWS_LAMBDA_RUNTIME_API")?.is_some(),
                concurrency: read
                    .parsed("AWS_LAMBDA_MAX_CONCURRENCY", "a whole number", |text| {
                        text.parse().ok()
                    })?
                    .unwrap_or(1),
            },
            environment,
        };
        safety::check(&config)?;
        safety::check_endpoints(&read, &config.environment)?;
        Ok(config)
    }

    /// The stores that may decide about keys.
    pub(crate) fn available_stores(&self) -> Available {
        Available {
            mongodb: self.mongo.uri.is_some(),
            redis: self.redis.url.is_some(),
            memory: self.idempotency.memory_fallback,
        }
    }
}

/// The environment that the variables name.
fn read_environment(read: &Reader<'_>) -> Result<Environment, ConfigError> {
    // Lambda sets both. An image of a function has the second also where another container service runs it.
    let of_lambda = ["AWS_LAMBDA_INITIALIZATION_TYPE", "LAMBDA_TASK_ROOT"];
    let mut host = Host::Laptop;
    for variable in of_lambda {
        if read.text(variable)?.is_some() {
            host = Host::Deployed;
        }
    }
    match read.name("ENVIRONMENT")? {
        Some(name) => Ok(Environment::new(name, host)),
        None if host == Host::Deployed => Err(ConfigError::Missing {
            variable: "ENVIRONMENT",
            accepted: "the name of this environment, for example `production` (on Lambda there is no default)".into(),
        }),
        None => Ok(Environment::laptop()),
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the one place that reads the environment"
)]
fn of_process(variable: &str) -> Option<OsString> {
    std::env::var_os(variable)
}

#[cfg(test)]
mod tests;
