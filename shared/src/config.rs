//! The settings of a function, read from the environment once at the start.
//!
//! This is the only module that reads the environment. Every other module gets the part of [`Config`] that it needs. An
//! unusable value stops the start with a [`ConfigError`] that names the variable. A store that is missing or down, or whose
//! URL is invalid, does not stop the start: health reports it.
//!
//! Some settings are safe only in development, and stop the start if `ENVIRONMENT` has another value. They are the
//! sandbox, memory instead of a store, and a secret with fewer than 16 characters. A key or credentials sent
//! unencrypted to another host, and a certificate that is not verified, are unsafe too.
//!
//! A secret is either the value of its variable, or is stored in AWS Secrets Manager under the ARN in the variable with the
//! suffix `_SECRET_ARN`. The text of the stored secret is what the variable would contain. If both variables are set, the
//! start stops.
//!
//! A variable that is empty or blank counts as not set. `HEALTH_CRITICAL` is the exception: its empty value means "none".
//!
//! | variable | unit, accepted | default | effect, and what happens at its extremes |
//! |---|---|---|---|
//! | `SERVICE_NAME` | 1–64 of `A–Z a–z 0–9 . _ -` | `truebond` | the service name in health responses and the namespace of metrics |
//! | `ENVIRONMENT` | 1–64 of `A–Z a–z 0–9 . _ -` | `development` | any value except `development` counts as production: health details need the token, memory is no fallback; required on Lambda |
//! | `REDIS_URL` | `redis://` or `rediss://`, `user:password@`, `host:port`, `/db` | not set: no Redis | the Redis (7.0 or newer) or Valkey (7.2 or newer) server; user and password percent-encoded; a query or a fragment makes it invalid |
//! | `REDIS_URL_SECRET_ARN` | ARN of a secret | not set | the secret with the URL; read at the first command, and again when Redis rejects the password |
//! | `REDIS_AUTH` | `url`, `iam` | `url` | the login: user and password of the URL, or an IAM user of ElastiCache with a token signed for each connection (needs a `rediss://` URL without user and password) |
//! | `REDIS_USER` | 1–40 of `a–z 0–9 -` | required for `iam` | the user's id, which must also be its name |
//! | `REDIS_CACHE_NAME` | 1–40 of `a–z 0–9 -` | required for `iam` | the name of the serverless cache, or the id of the replication group; not its host |
//! | `REDIS_CACHE_TYPE` | `serverless`, `replication_group` | required for `iam` | the type of the cache; ElastiCache rejects the login if it is the wrong one |
//! | `REDIS_PLAINTEXT` | `allowed`, `refused` | `allowed` in development, else `refused` | whether user and password may be sent unencrypted to another host: for a Redis without TLS in a private network; health details show `allowed` |
//! | `REDIS_CLUSTER` | `true`, `false` | `false` | cluster mode: the URL names any node and no database; ElastiCache Serverless needs it. If the value does not fit the server, health reports it |
//! | `REDIS_CA_FILE` | path of a PEM file, at most 1 MiB | public roots | the only CA certificates to trust (for `rediss://`) |
//! | `REDIS_CONNECT_TIMEOUT_MS` | 1–900 000 ms | 5 000 | limit of TCP, TLS and handshake together, or the time left in the invocation if that is shorter; too short: every connect fails |
//! | `REDIS_RESPONSE_TIMEOUT_MS` | 1–900 000 ms | 5 000 | limit of one command, or the time left if that is shorter; a command that times out closes the connection |
//! | `REDIS_IDLE_CHECK_MS` | 0–900 000 ms | 1 000 | a connection that was idle for longer is pinged before use; 0: a ping before every command; the maximum: no ping within an invocation |
//! | `MONGODB_URI` | `mongodb://` or `mongodb+srv://` | not set: no MongoDB | the MongoDB deployment |
//! | `MONGODB_URI_SECRET_ARN` | ARN of a secret | not set | the secret with the URI; read at the first call, and again when MongoDB rejects the user |
//! | `MONGODB_DATABASE` | 1–63 bytes without `/ \ . " $ * < > : \| ?` and blanks | `truebond` | the database |
//! | `IDEMPOTENCY_TTL_SECONDS` | 1–31 536 000 s | 86 400 | the retention: how long a saved response is replayed, from when it was stored; the same for all stores and versions. Afterwards the key runs as new. If it is shorter than an invocation, it may end while an attempt is still running. MongoDB keeps expiring keys by the previous value until `payments-reconcile` has run |
//! | `IDEMPOTENCY_LEASE_MS` | 1–900 000 ms | 30 000 | how long a lease lasts if the invocation's deadline is unknown; too short: a repeated request gets `unknown`, or takes over, while the attempt is still running |
//! | `IDEMPOTENCY_LEASE_GRACE_MS` | 0–60 000 ms | 2 000 | how long a lease lasts beyond the invocation's deadline |
//! | `IDEMPOTENCY_MAX_RESPONSE_BYTES` | 0–6 291 456 | 1 048 576 | the longest response body that is saved whole; of a longer one only length and digest are saved |
//! | `IDEMPOTENCY_FALLBACK` | `memory`, `reject` | `memory` in development, else `reject` | what replaces Redis if there is no MongoDB: the memory of this process (development only), or rejecting requests |
//! | `IDEMPOTENCY_MEMORY_ENTRIES` | 1–1 000 000 | 10 000 | the most keys in memory; when full, claims are rejected |
//! | `IDEMPOTENCY_MEMORY_BYTES` | 1 024–1 073 741 824 | 67 108 864 | the most bytes in memory, approximately; when full, claims are rejected, and saved responses keep only length and digest |
//! | `PAYMENT_PROVIDER` | `stripe`; in development also `sandbox` | `sandbox` in development, else none | the payment provider; the sandbox charges no customer; none: payments are rejected |
//! | `PAYMENT_LIVEMODE` | `true`, `false` | `false` in development, else `true` | whether payments move real money; a payment intent of the other mode is not confirmed |
//! | `PAYMENT_PROVIDER_TIMEOUT_MS` | 1–80 000 ms | 10 000 | limit of one request to the provider, or the time left if that is shorter; too short: payments become `unknown` until a repeated request or `payments-reconcile` resolves them |
//! | `STRIPE_API_KEY` | text | not set | the secret key; if it is not set with `stripe`, payments are rejected |
//! | `STRIPE_API_KEY_SECRET_ARN` | ARN of a secret | not set | the secret with the key; read at the first payment, and again when Stripe rejects the key |
//! | `STRIPE_API_BASE` | `http://` or `https://` URL without user and password that ends with `/`; outside development `https://`, or a loopback address | `https://api.stripe.com/` | a server with the API of Stripe |
//! | `PAYMENT_RECONCILE_AFTER_SECONDS` | 1–604 800 s | 60 | the age at which `payments-reconcile` takes up an open payment; before, only requests for it do |
//! | `PAYMENT_CANCEL_AFTER_SECONDS` | 1–604 800 s | 3 600 | how long a payment may stay unconfirmed, including the customer's action, before it is cancelled; too short: slow customers fail |
//! | `STRIPE_WEBHOOK_SECRETS` | one or two secrets of 16–256 characters (development: 1–256), comma between | not set: events are rejected | the signing secrets of Stripe events; two during a rotation |
//! | `STRIPE_WEBHOOK_SECRETS_SECRET_ARN` | ARN of a secret | not set | the secret with them; read at the first event, and again when no secret matches a signature, with growing pauses |
//! | `PAYMENT_MAC_KEYS` | one or two keys of 16–256 characters (development: 1–256), comma between | not set: in development saved responses are trusted, elsewhere the ledger is read | the keys of the MACs that prove that payments wrote a saved response: the current key, then the previous one |
//! | `PAYMENT_MAC_KEYS_SECRET_ARN` | ARN of a secret | not set | the secret with them; while it cannot be read, the ledger is read |
//! | `SECRETS_TTL_SECONDS` | 1–86 400 s | 3 600 | how long a value from Secrets Manager is used before it is read again; a rejected value is read again at once |
//! | `LEDGER_DIR` | path | `target/ledger` | the directory of the ledger in development without MongoDB, and of the charges of the sandbox |
//! | `IDEMPOTENCY_NAMESPACE` | 1–64 of `A–Z a–z 0–9 . _ -` | `default` | the namespace of the keys of the function `idempotency`: one deployment for each group of callers that trust each other |
//! | `HEALTH_CHECK_TIMEOUT_MS` | 1–29 000 ms | 800 | limit of one check |
//! | `HEALTH_TOTAL_TIMEOUT_MS` | 1–29 000 ms | 1 000 | limit of a whole health response; the sooner of the two limits ends a check |
//! | `HEALTH_MEMO_MS` | 0–60 000 ms | 1 000 | how long a result is reused; 0: a probe at every request |
//! | `HEALTH_SLOW_MS` | 1–29 000 ms | 100 | a slower probe makes its service `degraded` |
//! | `HEALTH_MONGODB_DECIDES` | `true`, `false` | whether MongoDB is configured | whether MongoDB decides about keys; for `health-redis`, which has no MongoDB URI, so that it reports the right fallback |
//! | `HEALTH_CRITICAL` | comma list of `redis`, `mongodb`, `api`, or empty | MongoDB if configured, Redis if nothing replaces it | the services that make the overall status `unhealthy`; empty: none |
//! | `HEALTH_DETAILS_TOKEN` | 16–256 characters (development: 1–256), visible ASCII | not set | a client that sends it as `Authorization: Bearer` sees health details; not set: every client does in development, no client elsewhere |
//! | `HEALTH_DETAILS_TOKEN_SECRET_ARN` | ARN of a secret | not set | the secret with the token |
//! | `AWS_LAMBDA_LOG_FORMAT` | `JSON`, `Text` | text in a terminal, else JSON | the format of log lines (set by Lambda) |
//! | `AWS_LAMBDA_LOG_LEVEL` | `TRACE`, `DEBUG`, `INFO`, `WARN`, `ERROR`, `FATAL` | `INFO` | the minimum level of our own log lines (set by Lambda) |
//! | `AWS_REGION` | name of a region | required for `iam` | the region of the cache (set by Lambda); the region of a secret is in its ARN |
//!
//! Lambda also sets `AWS_LAMBDA_INITIALIZATION_TYPE` and `LAMBDA_TASK_ROOT` (either of them: this is a deployment),
//! `AWS_LAMBDA_RUNTIME_API` (the source of invocations) and `AWS_LAMBDA_MAX_CONCURRENCY` (invocations per process, default
//! 1). The AWS SDK (`aws_client`) reads AWS credentials and `AWS_ENDPOINT_URL` by itself, from the usual places.

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

/// All settings of a function.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    /// The service name in health responses and metrics.
    pub(crate) service: String,
    /// The version of this build, from Cargo.
    pub(crate) version: &'static str,
    /// The environment that the process runs in.
    pub(crate) environment: Environment,
    /// The Redis client.
    pub(crate) redis: RedisConfig,
    /// MongoDB.
    pub(crate) mongo: MongoConfig,
    /// Idempotency.
    pub(crate) idempotency: IdempotencySettings,
    /// Payments.
    pub(crate) payments: PaymentsConfig,
    /// The health endpoints.
    pub(crate) health: HealthConfig,
    /// The log.
    pub(crate) log: LogConfig,
    /// What Lambda sets for this process.
    pub(crate) lambda: LambdaConfig,
}

/// What Lambda sets for a process.
#[derive(Clone, Debug)]
pub(crate) struct LambdaConfig {
    /// Whether there is a Runtime API to get invocations from.
    pub(crate) runtime_api: bool,
    /// How many invocations the process serves at a time.
    pub(crate) concurrency: usize,
}

impl Config {
    /// Reads the settings from the environment of this process.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] for the first unusable variable.
    pub(crate) fn from_env() -> Result<Self, ConfigError> {
        Self::from_lookup(process_variable)
    }

    /// Reads the settings from the environment of this process, and from `written` for variables that are not set.
    /// Outside development, `written` is ignored: it belongs to a developer, whose stores are not those of that
    /// environment.
    ///
    /// # Errors
    ///
    /// As [`from_env`](Self::from_env).
    pub(crate) fn from_env_or(
        written: impl Fn(&str) -> Option<OsString>,
    ) -> Result<Self, ConfigError> {
        let is_development = match process_variable("ENVIRONMENT") {
            Some(name) => name.is_empty() || name == "development",
            None => true,
        };
        Self::from_lookup(|variable| {
            let written = || is_development.then(|| written(variable)).flatten();
            process_variable(variable).or_else(written)
        })
    }

    /// Reads the settings from the variables that `lookup` returns.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] for the first unusable variable.
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

    /// The stores that are configured for idempotency keys.
    pub(crate) fn available_stores(&self) -> Available {
        Available {
            mongodb: self.mongo.uri.is_some(),
            redis: self.redis.url.is_some(),
            memory: self.idempotency.memory_fallback,
        }
    }
}

/// The environment according to the variables.
fn read_environment(read: &Reader<'_>) -> Result<Environment, ConfigError> {
    // Lambda sets both. In another container service, an image of a function has only the second one.
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
            accepted: "the name of this environment, for example `production` (there is no default on Lambda)".into(),
        }),
        None => Ok(Environment::laptop()),
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the only place that reads the environment"
)]
fn process_variable(variable: &str) -> Option<OsString> {
    std::env::var_os(variable)
}

#[cfg(test)]
mod tests;
