//! What is a function made of?
//!
//! Of one [`App`]: the settings, read once, and each client, built at its first use and once per process. A function asks it for the
//! one service that it serves, and the service is given the clients that it needs. So a process has one connection to Redis and one
//! pool for MongoDB, whatever of it uses them, and a function links only the clients that its service can reach.

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

/// A URL that no connection can be opened to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnusableUrl {
    /// That of Redis.
    #[error("REDIS_URL cannot be used: {0}")]
    Redis(#[source] redis_client::Reason),
    /// That of MongoDB.
    #[error("MONGODB_URI cannot be used: {0}")]
    MongoDb(#[source] mongo_client::Error),
}

/// A process: its settings, and each client once.
pub struct App {
    config: Config,
    secrets: OnceLock<Secrets>,
    redis: OnceLock<RedisClient>,
    mongodb: OnceLock<Mongo>,
    metrics: OnceLock<Metrics>,
}

impl App {
    /// The process that the variables of `lookup` describe. Nothing is connected.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] for the first variable that cannot be used.
    pub fn from_lookup(lookup: impl Fn(&str) -> Option<OsString>) -> Result<Self, ConfigError> {
        Config::from_lookup(lookup).map(Self::new)
    }

    /// The process of an operator's tool: the environment, and in development what the developer has `written` down for variables
    /// that are not set. What would stand in for Redis is the memory of this process, which holds nothing of the functions', so it
    /// never does.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] for the first variable that cannot be used.
    pub fn of_operator(written: impl Fn(&str) -> Option<OsString>) -> Result<Self, ConfigError> {
        let mut config = Config::from_env_or(written)?;
        config.idempotency.memory_fallback = false;
        Ok(Self::new(config))
    }

    /// Looks for a URL that no connection can be opened to. The functions start with such a URL, and each use of it fails. No server
    /// and no DNS is asked.
    ///
    /// # Errors
    ///
    /// [`UnusableUrl`] for the first one, and why.
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
        // As constants, so that nothing is called here that could unwind and would drop, and link, every client.
        Self {
            config,
            secrets: const { OnceLock::new() },
            redis: const { OnceLock::new() },
            mongodb: const { OnceLock::new() },
            metrics: const { OnceLock::new() },
        }
    }

    /// The secrets of this process, those of AWS Secrets Manager among them.
    pub fn secrets(&self) -> &Secrets {
        self.secrets
            .get_or_init(|| Secrets::new(Arc::new(SecretsManager)))
    }

    /// The client of Redis. Without a URL, every command says that none is configured.
    pub fn redis(&self) -> &RedisClient {
        self.redis
            .get_or_init(|| RedisClient::new(&self.config.redis, self.secrets()))
    }

    /// The client of MongoDB. Without a URI, every call says that none is configured.
    pub fn mongodb(&self) -> &Mongo {
        self.mongodb
            .get_or_init(|| Mongo::new(&self.config.mongo, self.secrets()))
    }

    /// Where this process counts.
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

    /// The engine over the stores that are configured. It believes any saved response.
    pub fn idempotency(&self) -> Idempotency {
        self.idempotency_signing(None)
    }

    /// The engine for callers in other languages.
    pub fn remote(&self) -> Remote {
        let settings = &self.config.idempotency;
        Remote::new(
            self.idempotency(),
            settings.namespace.clone(),
            settings.keys.lease,
        )
    }

    /// Creates payments.
    pub fn payments(&self) -> Payments {
        let setup = self.payment_setup();
        Payments::new(&setup, self.idempotency_signing(setup.response_keys()))
    }

    /// Shows payments to their tenants.
    pub fn payment_view(&self) -> PaymentView {
        PaymentView::new(&self.payment_setup())
    }

    /// Receives the provider's events.
    pub fn webhook(&self) -> Webhook {
        let setup = self.payment_setup();
        Webhook::new(&setup, self.idempotency_signing(setup.response_keys()))
    }

    /// Reconciles payments that stayed open.
    pub fn reconciler(&self) -> Reconciler {
        let setup = self.payment_setup();
        Reconciler::new(&setup, self.idempotency_signing(setup.response_keys()))
    }

    /// Lists, shows and reconciles payments for an operator.
    pub fn payment_admin(&self) -> PaymentAdmin {
        PaymentAdmin::new(&self.payment_setup())
    }

    /// Whether this process lives.
    pub fn liveness(&self) -> Liveness {
        Liveness::new(self.identity())
    }

    /// How Redis is.
    pub fn redis_health(&self) -> RedisHealth {
        RedisHealth::new(&self.config.health, self.redis_check(), self.access())
    }

    /// How everything is.
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
        let told = self.config.health.mongodb_decides;
        let available = Available {
            mongodb: told.unwrap_or(configured.mongodb),
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
