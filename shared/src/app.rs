//! The composition root of a process: its settings and its clients.
//!
//! [`App`] reads the settings once. It builds each client once per process, at the first use of the client. A function
//! gets one service from the app, and the app gives that service its clients. So a process has one connection to Redis
//! and one pool for MongoDB. A function links only the clients that its service uses.

use std::ffi::OsString;
use std::sync::{Arc, OnceLock};

use aws_client::SecretsManager;
use foundation::secret::Secrets;
use idempotency::invoke::Remote;
use idempotency::{Authority, Available, Fallback, Idempotency, ResponseKeys, Stores};
use mongo_client::Mongo;
use payments::{PaymentAdmin, PaymentView, Payments, PaymentsConfig, Reconciler, Webhook};
use redis_client::RedisClient;
use telemetry::metrics::Metrics;

use crate::config::{Config, ConfigError};
use crate::health::{
    Access, Checks, DetailedHealth, Identity, Liveness, MongoCheck, RedisCheck, RedisHealth, Rules,
};

/// An unusable URL: every attempt to connect would fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnusableUrl {
    /// The URL of Redis.
    #[error("REDIS_URL cannot be used: {0}")]
    Redis(#[source] redis_client::Reason),
    /// The URI of MongoDB.
    #[error("MONGODB_URI cannot be used: {0}")]
    MongoDb(#[source] mongo_client::Error),
}

/// The settings and clients of a process.
pub struct App {
    config: Config,
    secrets: OnceLock<Secrets>,
    redis: OnceLock<RedisClient>,
    mongodb: OnceLock<Mongo>,
    metrics: OnceLock<Metrics>,
}

impl App {
    /// Creates the app from the environment variables that `lookup` returns. Opens no connection.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] for the first unusable variable.
    pub fn from_lookup(lookup: impl Fn(&str) -> Option<OsString>) -> Result<Self, ConfigError> {
        Config::from_lookup(lookup).map(Self::new)
    }

    /// Creates the app for the operator's tool. Reads the environment variables. In development, `written` gives the
    /// values of variables that are not set. The memory of this process never replaces Redis, because that memory has
    /// no keys of the functions.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] for the first unusable variable.
    pub fn of_operator(written: impl Fn(&str) -> Option<OsString>) -> Result<Self, ConfigError> {
        let mut config = Config::from_env_or(written)?;
        config.idempotency.memory_fallback = false;
        Ok(Self::new(config))
    }

    /// Checks the URLs of Redis and MongoDB. Sends no request to a server or to DNS. A function with an invalid URL
    /// starts, but each use of the URL fails.
    ///
    /// # Errors
    ///
    /// [`UnusableUrl`] for the first unusable URL, with the reason.
    pub fn check_urls(&self) -> Result<(), UnusableUrl> {
        match self.redis().fault() {
            None | Some(redis_client::Reason::NotConfigured) => {}
            Some(reason) => return Err(UnusableUrl::Redis(reason)),
        }
        match self.mongodb().fault() {
            None | Some(mongo_client::Error::NotConfigured) => Ok(()),
            Some(reason) => Err(UnusableUrl::MongoDb(reason)),
        }
    }

    pub(crate) fn new(config: Config) -> Self {
        // The values of the fields are constants, because a call could panic. The code after a panic drops the other
        // fields. That code would link every client into every function.
        Self {
            config,
            secrets: const { OnceLock::new() },
            redis: const { OnceLock::new() },
            mongodb: const { OnceLock::new() },
            metrics: const { OnceLock::new() },
        }
    }

    /// The secrets of this process, including those in AWS Secrets Manager.
    pub fn secrets(&self) -> &Secrets {
        self.secrets
            .get_or_init(|| Secrets::new(Arc::new(SecretsManager)))
    }

    /// The Redis client. Without a URL, every command returns an error.
    pub fn redis(&self) -> &RedisClient {
        self.redis
            .get_or_init(|| RedisClient::new(&self.config.redis, self.secrets()))
    }

    /// The MongoDB client. Without a URI, every call returns an error.
    pub fn mongodb(&self) -> &Mongo {
        self.mongodb
            .get_or_init(|| Mongo::new(&self.config.mongo, self.secrets()))
    }

    /// The metrics of this process.
    pub fn metrics(&self) -> &Metrics {
        let Config {
            service,
            environment,
            log,
            ..
        } = &self.config;
        self.metrics
            .get_or_init(|| Metrics::new(service, environment, log.level))
    }

    /// The settings of payments.
    pub fn payments_config(&self) -> &PaymentsConfig {
        &self.config.payments
    }

    /// The idempotency engine with the configured stores. It accepts saved responses with and without a signature.
    pub fn idempotency(&self) -> Idempotency {
        self.idempotency_signing(None)
    }

    /// The idempotency engine for callers in other languages.
    pub fn remote(&self) -> Remote {
        let settings = &self.config.idempotency;
        Remote::new(
            self.idempotency(),
            settings.namespace.clone(),
            settings.keys.lease,
        )
    }

    /// The service that creates payments.
    pub fn payments(&self) -> Payments {
        let setup = self.payment_setup();
        Payments::new(&setup, self.idempotency_signing(setup.response_keys()))
    }

    /// The service that shows payments.
    pub fn payment_view(&self) -> PaymentView {
        PaymentView::new(&self.payment_setup())
    }

    /// The service that handles the provider's webhook events.
    pub fn webhook(&self) -> Webhook {
        let setup = self.payment_setup();
        Webhook::new(&setup, self.idempotency_signing(setup.response_keys()))
    }

    /// The service that reconciles open payments on a schedule.
    pub fn reconciler(&self) -> Reconciler {
        let setup = self.payment_setup();
        Reconciler::new(&setup, self.idempotency_signing(setup.response_keys()))
    }

    /// Lists, shows and reconciles payments for an operator.
    pub fn payment_admin(&self) -> PaymentAdmin {
        PaymentAdmin::new(&self.payment_setup())
    }

    /// The liveness endpoint.
    pub fn liveness(&self) -> Liveness {
        Liveness::new(self.identity())
    }

    /// The Redis health endpoint.
    pub fn redis_health(&self) -> RedisHealth {
        RedisHealth::new(&self.config.health, self.redis_check(), self.access())
    }

    /// The detailed health endpoint.
    pub fn detailed_health(&self) -> DetailedHealth {
        let health = &self.config.health;
        let checks = Checks {
            redis: self.redis_check(),
            mongodb: MongoCheck::new(health, self.mongodb().clone(), self.metrics().clone()),
        };
        DetailedHealth::new(health, checks, self.identity(), self.access())
    }

    fn identity(&self) -> Identity {
        let Config {
            service,
            version,
            environment,
            ..
        } = &self.config;
        Identity::new(service, version, environment)
    }

    fn redis_check(&self) -> RedisCheck {
        let configured = self.config.available_stores();
        let mongodb_decides = self.config.health.mongodb_decides;
        let available = Available {
            mongodb: mongodb_decides.unwrap_or(configured.mongodb),
            ..configured
        };
        let rules = Rules {
            slow: self.config.health.slow,
            fallback: Fallback::for_redis(Authority::of(available)),
            is_sole_store: !available.mongodb,
            plaintext: self.config.redis.plaintext,
        };
        let (client, metrics) = (self.redis().clone(), self.metrics().clone());
        RedisCheck::new(&self.config.health, client, metrics, rules)
    }

    fn access(&self) -> Access {
        let token = self.config.health.details_token.as_ref();
        let token = token.map(|source| self.secrets().cell(source));
        Access::new(token, &self.config.environment)
    }

    fn idempotency_signing(&self, response_keys: Option<ResponseKeys>) -> Idempotency {
        Idempotency::new(idempotency::Setup {
            response_keys,
            ..self.idempotency_setup()
        })
    }

    fn idempotency_setup(&self) -> idempotency::Setup {
        let available = self.config.available_stores();
        idempotency::Setup {
            stores: Stores {
                mongodb: available.mongodb.then(|| self.mongodb().clone()),
                redis: available.redis.then(|| self.redis().clone()),
                memory: available.memory,
                own: None,
            },
            config: self.config.idempotency.keys.clone(),
            environment: self.config.environment.name().to_owned(),
            metrics: self.metrics().clone(),
            response_keys: None,
        }
    }

    fn payment_setup(&self) -> payments::Setup {
        let available = self.config.available_stores();
        payments::Setup {
            config: self.config.payments.clone(),
            environment: self.config.environment.clone(),
            mongodb: available.mongodb.then(|| self.mongodb().clone()),
            secrets: self.secrets().clone(),
            metrics: self.metrics().clone(),
        }
    }
}
