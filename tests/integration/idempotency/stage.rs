//! A store, and engines over it: each engine is another process as far as the store can tell.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use harness::{CacheUser, MongoServer, RedisCluster, RedisServer};
use http::StatusCode;
use shared::App;
use shared::deadline::Deadline;
use shared::idempotency::{
    End, Fingerprint, Idempotency, IdempotencyKey, Lease, Operation, Outcome, Policy, RecordKey,
    Request, SavedResponse, Scope,
};
use tokio::sync::Mutex;

use super::own_store::OwnStore;

/// The stores of one test.
pub(crate) struct Stage {
    variables: Vec<(String, String)>,
    /// Ends with the stage.
    pub(crate) redis: Option<RedisServer>,
    pub(crate) cluster: Option<Arc<RedisCluster>>,
    /// The database, where MongoDB takes part.
    pub(crate) database: Option<String>,
    /// Where a store of the test's own decides.
    own: Option<OwnStore>,
    /// Memory is one process's, so there is one engine.
    in_memory: OnceLock<Idempotency>,
}

impl Stage {
    pub(crate) async fn memory() -> Self {
        Self::with_variables(&[])
    }

    pub(crate) async fn own() -> Self {
        Self {
            own: Some(OwnStore::new()),
            ..Self::with_variables(&[])
        }
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

    /// As it is deployed: the user may do what template.yaml says.
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

    /// As it is deployed, too.
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

    /// The same stores, with another setting.
    pub(crate) fn with(mut self, variable: &str, value: &str) -> Self {
        self.variables.push((variable.to_owned(), value.to_owned()));
        self
    }

    /// Whether one process's memory decides, so that there is no second one.
    pub(crate) fn is_memory(&self) -> bool {
        self.own.is_none()
            && self.redis.is_none()
            && self.cluster.is_none()
            && self.database.is_none()
    }

    /// The engine of another process.
    pub(crate) fn engine(&self) -> Idempotency {
        if self.is_memory() {
            return self.in_memory.get_or_init(|| self.new_engine()).clone();
        }
        self.new_engine()
    }

    /// The settings alone: the servers stay with this stage.
    pub(crate) fn clone_settings(&self) -> Self {
        Self {
            variables: self.variables.clone(),
            own: self.own.clone(),
            ..Self::with_variables(&[])
        }
    }

    /// The engine of another process, whatever is known of the stores.
    pub(crate) fn new_engine(&self) -> Idempotency {
        // The last one set wins.
        let lookup = |variable: &str| {
            let set = self.variables.iter().rev();
            set.into_iter()
                .find(|(name, _)| name == variable)
                .map(|(_, value)| value.into())
        };
        let app = App::from_lookup(lookup).expect("usable");
        match &self.own {
            Some(store) => app.idempotency_over(Box::new(store.clone())),
            None => app.idempotency(),
        }
    }

    fn with_variables(variables: &[(&str, &str)]) -> Self {
        let stage = Self {
            variables: Vec::new(),
            redis: None,
            cluster: None,
            database: None,
            own: None,
            in_memory: OnceLock::new(),
        };
        variables
            .iter()
            .fold(stage, |stage, (name, value)| stage.with(name, value))
    }
}

/// A cluster takes seconds to start, so tests that run at the same time share one: their keys differ.
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

/// Plenty of time.
pub(crate) fn patience() -> Deadline {
    Deadline::after(Duration::from_secs(20))
}

/// A key that no other test uses.
pub(crate) fn fresh_key() -> RecordKey {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    key_of("alice", &format!("key-{number}"))
}

pub(crate) fn key_of(tenant: &str, key: &str) -> RecordKey {
    let scope = Scope::http("charge", tenant).expect("a scope");
    RecordKey::new(&scope, &IdempotencyKey::parse(key).expect("a key"))
}

pub(crate) fn paying(amount: u64) -> Fingerprint {
    asking(&format!("{{\"amount\":{amount}}}"))
}

pub(crate) fn asking(payload: &str) -> Fingerprint {
    let request = Request {
        method: "POST",
        route: "/charge",
        tenant: "alice",
        payload: payload.as_bytes(),
    };
    Fingerprint::of(&request).expect("unambiguous")
}

/// Ten euros, under a fresh key, at most once.
pub(crate) fn a_payment() -> Operation {
    Operation::new(fresh_key(), paying(10))
}

/// The same, which a later attempt may take over.
pub(crate) fn a_resumable_payment() -> Operation {
    a_payment().with_policy(Policy::RerunAlways)
}

pub(crate) fn charged() -> SavedResponse {
    answer("charged")
}

pub(crate) fn answer(body: impl Into<bytes::Bytes>) -> SavedResponse {
    SavedResponse::new(StatusCode::CREATED, body)
}

/// The lease of a claim that has to start.
pub(crate) async fn started(engine: &Idempotency, operation: &Operation) -> Lease {
    match claim(engine, operation).await {
        Outcome::Started(lease) => lease,
        other => panic!("did not start: {other:?}"),
    }
}

/// What becomes of a claim that has to be decided. Its lease lasts as the configuration says.
pub(crate) async fn claim(engine: &Idempotency, operation: &Operation) -> Outcome {
    let claimed = engine.claim(operation, Deadline::UNKNOWN).await;
    claimed.expect("decided").outcome
}

/// The provider that is charged.
#[derive(Default)]
pub(crate) struct Provider {
    charges: AtomicUsize,
}

impl Provider {
    pub(crate) fn charges(&self) -> usize {
        self.charges.load(Ordering::SeqCst)
    }

    pub(crate) fn charge(&self) {
        self.charges.fetch_add(1, Ordering::SeqCst);
    }

    /// Runs a payment that charges once and answers with `response`.
    pub(crate) async fn pay(
        &self,
        engine: &Idempotency,
        operation: &Operation,
        response: SavedResponse,
    ) -> End<()> {
        let ran = engine
            .run(operation, patience(), async |_: &mut Lease| {
                self.charge();
                Ok(response)
            })
            .await;
        ran.expect("decided").end
    }
}
