//! The settings of a function, read from the environment once at the start.
//!
//! This is the only module that reads the environment. Every other module gets the part of [`Config`] that it needs. If a
//! value is unusable, the process does not start, and the [`ConfigError`] contains the name of the variable. If a store is
//! missing or down, or its URL is invalid, the process starts, and health reports the problem.
//!
//! Some settings are safe only in development. If `ENVIRONMENT` has another value, the process does not start with any
//! of these settings:
//!
//! - the sandbox,
//! - memory instead of a store,
//! - a secret with fewer than 16 characters,
//! - a key or credentials that are sent unencrypted to another host,
//! - a certificate that is not verified.
//!
//! A secret is either the value of an environment variable, or is stored in AWS Secrets Manager. The ARN of a stored
//! secret is in the variable with the suffix `_SECRET_ARN`. The stored secret has the text that the other variable
//! would contain. If both variables are set, the process does not start.
//!
//! A variable that is empty or blank counts as not set. `HEALTH_CRITICAL` differs: an empty value means "none".
//!
//! `docs/configuration.md` lists the accepted values, the default and the effect of every variable. A test compares that page
//! with this module.

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
    /// The environment of the process: development, production or another name.
    pub(crate) environment: Environment,
    /// The settings of the Redis client.
    pub(crate) redis: RedisConfig,
    /// The settings of the MongoDB client.
    pub(crate) mongo: MongoConfig,
    /// The settings of the idempotency engine and its stores.
    pub(crate) idempotency: IdempotencySettings,
    /// The settings of payments.
    pub(crate) payments: PaymentsConfig,
    /// The settings of the health endpoints.
    pub(crate) health: HealthConfig,
    /// The settings of the log.
    pub(crate) log: LogConfig,
    /// The variables that Lambda sets for this process.
    pub(crate) lambda: LambdaConfig,
}

/// The settings that Lambda gives to a process.
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

    /// Reads the settings from the environment of this process. Variables that are not set there are read from
    /// `written`. Outside development, `written` is ignored, because it contains a developer's stores.
    ///
    /// # Errors
    ///
    /// See [`from_env`](Self::from_env).
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
    // Lambda sets both variables. In another container service, an image of a function has only the second variable.
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
