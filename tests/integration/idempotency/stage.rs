//! A store, and engines that use it. To the store, each engine looks like a separate process.

use std::sync::{Arc, OnceLock, Weak};

use harness::{CacheUser, MongoServer, RedisCluster, RedisServer};
use shared::App;
use shared::idempotency::conformance::Subject;
pub(crate) use shared::idempotency::conformance::payment::{
    Provider, a_payment, a_resumable_payment, answer, charged, claim, patience, paying, started,
};
use shared::idempotency::{Idempotency, IdempotencyConfig};
use tokio::sync::Mutex;

/// The stores of one test.
pub(crate) struct Stage {
    variables: Vec<(String, String)>,
    /// The Redis server, if Redis takes part. Dropping the stage ends the server.
    pub(crate) redis: Option<RedisServer>,
    /// The Redis cluster, if a cluster takes part.
    pub(crate) cluster: Option<Arc<RedisCluster>>,
    /// The name of the MongoDB database, if MongoDB takes part.
    pub(crate) database: Option<String>,
    /// The only engine of a stage without servers. A second engine would have its own memory.
    in_memory: OnceLock<Idempotency>,
}

impl Stage {
    pub(crate) async fn memory() -> Self {
        Self::with_variables(&[])
    }

    pub(crate) async fn redis() -> Self {
        let redis = RedisServer::start().await;
        let stage = Self::with_variables(&[
            ("REDIS_URL", &redis.url()),
            ("IDEMPOTENCY_FALLBACK", "reject"),
        ]);
        Self {
            redis: Some(redis),
            ..stage
        }
    }

    pub(crate) async fn redis_behind_memory() -> Self {
        Self::redis().await.with("IDEMPOTENCY_FALLBACK", "memory")
    }

    /// A cluster, with a Redis user that has the permissions in template.yaml.
    pub(crate) async fn redis_cluster() -> Self {
        let cluster = shared_cluster().await;
        let stage = Self::with_variables(&[
            ("REDIS_URL", &cluster.url_as(CacheUser::Payments).await),
            ("REDIS_CLUSTER", "true"),
            ("IDEMPOTENCY_FALLBACK", "reject"),
        ]);
        Self {
            cluster: Some(cluster),
            ..stage
        }
    }

    pub(crate) async fn mongodb() -> Self {
        let server = MongoServer::shared().await;
        let database = server.fresh_database();
        let stage = Self::with_variables(&[
            ("MONGODB_URI", &server.uri()),
            ("MONGODB_DATABASE", &database),
        ]);
        Self {
            database: Some(database),
            ..stage
        }
    }

    /// MongoDB with Redis in front of it. The Redis user has the permissions in template.yaml.
    pub(crate) async fn tiered() -> Self {
        let user = CacheUser::Payments;
        let redis = RedisServer::builder()
            .user(user.name(), user.name(), &user.rules())
            .start()
            .await;
        let stage = Self::mongodb().await.with("REDIS_URL", &redis.url());
        Self {
            redis: Some(redis),
            ..stage
        }
    }

    /// Returns this stage with one more environment variable for its engines.
    pub(crate) fn with(mut self, variable: &str, value: &str) -> Self {
        self.variables.push((variable.to_owned(), value.to_owned()));
        self
    }

    /// A subject for the conformance suite. It uses these stores, with the lease and the retention that each test of
    /// the suite sets.
    pub(crate) fn into_subject(self) -> Subject {
        Subject::new(move |config: &IdempotencyConfig| {
            let lease_ms = config.lease.as_millis().to_string();
            let retention_seconds = config.retention.as_secs().to_string();
            self.engine_with(&[
                ("IDEMPOTENCY_LEASE_MS", &lease_ms),
                ("IDEMPOTENCY_TTL_SECONDS", &retention_seconds),
            ])
        })
    }

    /// Whether the stage has no server, so that the memory of one process is the only store.
    pub(crate) fn is_memory(&self) -> bool {
        self.redis.is_none() && self.cluster.is_none() && self.database.is_none()
    }

    /// The engine of another process. A stage without servers has only one engine, which is returned
    /// each time.
    pub(crate) fn engine(&self) -> Idempotency {
        self.engine_with(&[])
    }

    fn engine_with(&self, more: &[(&str, &str)]) -> Idempotency {
        if self.is_memory() {
            let engine = self.in_memory.get_or_init(|| self.new_engine_with(more));
            return engine.clone();
        }
        self.new_engine_with(more)
    }

    /// A stage with the same settings. The new stage does not own the servers. Dropping `self` ends them.
    pub(crate) fn clone_settings(&self) -> Self {
        Self {
            variables: self.variables.clone(),
            ..Self::with_variables(&[])
        }
    }

    /// The engine of another process, even if the stage has no servers. Each engine then has its own
    /// memory.
    pub(crate) fn new_engine(&self) -> Idempotency {
        self.new_engine_with(&[])
    }

    fn new_engine_with(&self, more: &[(&str, &str)]) -> Idempotency {
        let more = more.iter().copied();
        let variables = self.variables.iter();
        let set: Vec<(&str, &str)> = variables
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .chain(more)
            .collect();
        // If a variable is set several times, the engine gets the last value.
        let lookup = |variable: &str| {
            let found = set.iter().rev().find(|(name, _)| *name == variable);
            found.map(|(_, value)| (*value).into())
        };
        App::from_lookup(lookup).expect("usable").idempotency()
    }

    fn with_variables(variables: &[(&str, &str)]) -> Self {
        let stage = Self {
            variables: Vec::new(),
            redis: None,
            cluster: None,
            database: None,
            in_memory: OnceLock::new(),
        };
        variables
            .iter()
            .fold(stage, |stage, (name, value)| stage.with(name, value))
    }
}

/// One cluster for all concurrent tests. The tests use different keys. They share the cluster because the start of a
/// cluster takes seconds.
async fn shared_cluster() -> Arc<RedisCluster> {
    static SHARED: Mutex<Weak<RedisCluster>> = Mutex::const_new(Weak::new());
    let mut shared = SHARED.lock().await;
    if let Some(cluster) = shared.upgrade() {
        return cluster;
    }
    let cluster = Arc::new(RedisCluster::start().await);
    *shared = Arc::downgrade(&cluster);
    cluster
}
