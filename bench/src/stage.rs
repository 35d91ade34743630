//! The servers of a run, and the start of contestants.

use std::net::SocketAddr;
use std::time::Duration;

use harness::{FaultProxy, Lambda, LambdaBuilder, MongoServer, RedisServer, eventually};

use crate::contestant::{ALL, Contestant, Program, Store};
use crate::execution_counter::ExecutionCounter;
use crate::order::end_of;
use crate::server::Server;
use crate::settings::{self, Scale, Settings};

/// The settings, servers and contestants that a measure needs. All servers end when this value is dropped.
pub(crate) struct Stage {
    pub(crate) settings: Settings,
    pub(crate) redis: RedisServer,
    /// The product and the version of `redis`.
    pub(crate) server: Server,
    pub(crate) counter: ExecutionCounter,
    /// The contestants that take part, in the order of the tables.
    pub(crate) present: Vec<&'static Contestant>,
    /// The contestants that do not take part, with reasons.
    pub(crate) absent: Vec<String>,
    /// MongoDB; `None` if no contestant takes part.
    pub(crate) mongo: Option<Mongo>,
}

/// MongoDB, with a database for this run.
pub(crate) struct Mongo {
    pub(crate) server: &'static MongoServer,
    database: String,
}

/// The servers that a process of a contestant calls, and its limits.
#[derive(Clone, Copy)]
pub(crate) struct Around<'a> {
    /// The address that the process uses for Redis, for example of a proxy; `None` for the address of the server.
    pub(crate) redis: Option<SocketAddr>,
    /// The proxy through which the process calls MongoDB; `None` if it calls the server directly.
    pub(crate) mongo: Option<&'a FaultProxy>,
    /// The counter of the executions of the process; `None` if the work does not call a counter.
    pub(crate) counter: Option<&'a ExecutionCounter>,
    /// The timeout of an invocation. It is also the lease of an attempt; with this workspace's engine the lease is longer.
    pub(crate) timeout: Duration,
    /// The time between the timeout and the kill of the process.
    pub(crate) grace: Duration,
    /// The number of invocations that the process serves at once.
    pub(crate) concurrency: usize,
}

/// The time limit of a start, longer than the slowest contestant needs on a busy machine.
const START_LIMIT: Duration = Duration::from_secs(60);
/// The time limit for flushing Redis.
const LONGEST_CLEARING: Duration = Duration::from_secs(60);

impl Default for Around<'_> {
    fn default() -> Self {
        Self {
            redis: None,
            mongo: None,
            counter: None,
            timeout: Duration::from_secs(60),
            grace: Duration::ZERO,
            concurrency: 1,
        }
    }
}

impl Stage {
    /// Starts the other servers and, if contestants are needed, each contestant once, to check that it is installed.
    ///
    /// # Errors
    ///
    /// Fails if a contestant is not installed. A smoke test continues without contestants outside this workspace.
    pub(crate) async fn set(
        settings: Settings,
        redis: RedisServer,
        server: Server,
        has_contestants: bool,
    ) -> Result<Self, String> {
        let mut stage = Self {
            redis,
            server,
            mongo: match has_contestants {
                true => Some(Mongo::find().await),
                false => None,
            },
            counter: ExecutionCounter::start().await,
            present: Vec::new(),
            absent: Vec::new(),
            settings,
        };
        for contestant in ALL.iter().filter(|_| has_contestants) {
            let is_optional = stage.settings.scale == Scale::Smoke
                && !matches!(contestant.program, Program::Binary(_));
            match stage.try_start(contestant, Around::default()).await {
                Ok(_) => stage.present.push(contestant),
                // Contestants with and without idempotency are the same program, so the reason is listed once.
                Err(why) if is_optional && stage.absent.contains(&why) => {}
                Err(why) if is_optional => stage.absent.push(why),
                Err(why) => return Err(why),
            }
        }
        Ok(stage)
    }

    /// Starts a process of a contestant.
    ///
    /// # Panics
    ///
    /// Panics if the process does not run.
    pub(crate) async fn start(&self, contestant: &Contestant, around: Around<'_>) -> Lambda {
        let started = self.try_start(contestant, around).await;
        started.unwrap_or_else(|why| panic!("{why}"))
    }

    async fn try_start(
        &self,
        contestant: &Contestant,
        around: Around<'_>,
    ) -> Result<Lambda, String> {
        let mut process = process(contestant.program)
            .timeout(around.timeout)
            .grace(around.grace)
            .concurrency(around.concurrency)
            .env("BENCH_LEASE_SECONDS", &around.timeout.as_secs().to_string());
        process = match contestant.store {
            Store::Nothing => process.env("BENCH_IDEMPOTENCY", "off"),
            _ => process.env("BENCH_IDEMPOTENCY", "on"),
        };
        if let Some(counter) = around.counter {
            process = process.env("BENCH_WORK_URL", &counter.url());
        }
        if let Store::Pings(pings) = contestant.store {
            process = process.env("BENCH_PINGS", &pings.to_string());
        }
        if contestant.store.is_shared() || matches!(contestant.store, Store::Pings(_)) {
            let address = around.redis.unwrap_or_else(|| self.redis.address());
            process = process.env("REDIS_URL", &format!("redis://{address}"));
        }
        if let (Store::Tiered, Some(mongo)) = (contestant.store, &self.mongo) {
            let uri = match around.mongo {
                Some(way) => mongo.server.uri_through(way),
                None => mongo.server.uri(),
            };
            process = process
                .env("MONGODB_URI", &uri)
                .env("MONGODB_DATABASE", &mongo.database);
        }
        if contestant.program == Program::Binary("ours") {
            process = process.envs(&OURS).envs(match contestant.store {
                Store::Memory => &OURS_IN_MEMORY,
                _ => &[("ENVIRONMENT", "production")],
            });
        }
        launch(contestant.program, process).await
    }

    /// Starts a function of this workspace that is not a contestant.
    ///
    /// # Panics
    ///
    /// Panics if the process does not run.
    pub(crate) async fn start_function(&self, name: &'static str) -> Lambda {
        let program = Program::Binary(name);
        let process = process(program).env("ENVIRONMENT", "development");
        let started = launch(program, process).await;
        started.unwrap_or_else(|why| panic!("{why}"))
    }

    /// Empties Redis and MongoDB. MongoDB is emptied because mongo-java-server gets slower with more records.
    pub(crate) async fn empty_stores(&self) {
        // Redis deletes the keys in the background. The benchmark waits for the end of the deletion, which would slow measured
        // calls.
        self.redis.command(&["FLUSHALL", "ASYNC"]).await;
        eventually(LONGEST_CLEARING, async || {
            let memory: String = self.redis.query(&["INFO", "memory"]).await;
            memory.contains("lazyfree_pending_objects:0\r")
        })
        .await;
        if let Some(Mongo { server, database }) = &self.mongo {
            let records = server.collection(database, "idempotency").await;
            let all = Default::default();
            records.delete_many(all).await.expect("MongoDB runs");
        }
    }
}

impl Mongo {
    async fn find() -> Self {
        let server = MongoServer::shared().await;
        Self {
            server,
            database: server.fresh_database(),
        }
    }
}

/// The settings of this workspace's contestant, as in template.yaml with two exceptions. The retention is the same as for all
/// contestants. Bodies have no limit, because the other contestants have none.
const OURS: [(&str, &str); 4] = [
    ("REDIS_CONNECT_TIMEOUT_MS", "1000"),
    ("REDIS_RESPONSE_TIMEOUT_MS", "500"),
    ("IDEMPOTENCY_TTL_SECONDS", "3600"),
    ("IDEMPOTENCY_MAX_RESPONSE_BYTES", "6291456"),
];
const OURS_IN_MEMORY: [(&str, &str); 3] = [
    ("ENVIRONMENT", "development"),
    ("IDEMPOTENCY_MEMORY_ENTRIES", "1000000"),
    ("IDEMPOTENCY_MEMORY_BYTES", "1073741824"),
];

/// A process with the settings that all contestants have.
fn process(program: Program) -> LambdaBuilder {
    let process = Lambda::program(program.name(), program.file())
        .runs_here()
        .init_timeout(START_LIMIT)
        .env("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "512")
        // The process logs JSON, as in a deployment.
        .unset("AWS_LAMBDA_LOG_FORMAT")
        .unset("AWS_LAMBDA_LOG_LEVEL")
        .unset("ENVIRONMENT");
    let is_found = matches!(program, Program::Folder(_));
    let surroundings = settings::surroundings();
    let surroundings = surroundings.iter().filter(|_| is_found);
    surroundings.fold(process, |process, (name, value)| process.env(name, value))
}

async fn launch(program: Program, process: LambdaBuilder) -> Result<Lambda, String> {
    let (name, remedy) = (program.name(), program.remedy());
    if !program.file().is_file() {
        return Err(format!("`{name}` is not installed: {remedy}"));
    }
    process.try_start().await.map_err(|failed| {
        let log = end_of(&failed.log);
        format!("`{name}` does not run: {}; {remedy}: {log}", failed.reason)
    })
}
