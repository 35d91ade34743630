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
//! `docs/configuration.md` lists every variable with what it accepts, its default and its effect. A test compares that page with
//! this module.

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
