//! The servers of a run, and contestants in front of them.

use std::net::SocketAddr;
use std::time::Duration;

use harness::{FaultProxy, MongoServer, RedisServer, eventually};
use tempfile::TempDir;

use crate::contestant::{ALL, Contestant, Program, Store};
use crate::function::{Function, Launch};
use crate::settings::{Scale, Settings};
use crate::till::Till;

/// Everything that a measure needs; dropping it ends it.
pub(crate) struct Stage {
    pub(crate) settings: Settings,
    pub(crate) redis: RedisServer,
    /// A way to Redis on which traffic is counted.
    pub(crate) counter: FaultProxy,
    /// A way to MongoDB on which it is counted too.
    pub(crate) mongo_counter: FaultProxy,
    pub(crate) till: Till,
    /// Who takes part, in the order of the tables.
    pub(crate) present: Vec<&'static Contestant>,
    /// Who does not, and why.
    pub(crate) absent: Vec<String>,
    /// `None` where nobody needs it.
    mongo: Option<Mongo>,
    logs: TempDir,
}

/// MongoDB, with a database for this run.
struct Mongo {
    server: &'static MongoServer,
    database: String,
}

/// What surrounds a process.
#[derive(Clone, Copy)]
pub(crate) struct Around<'a> {
    /// Where it finds Redis; `None`: at the server itself.
    pub(crate) redis: Option<SocketAddr>,
    /// The way on which it finds MongoDB; `None`: the server itself.
    pub(crate) mongo: Option<&'a FaultProxy>,
    /// Who is told of its work; `None`: its work is nothing.
    pub(crate) till: Option<&'a Till>,
    /// The time that an invocation has, and how long an attempt has its key to itself.
    pub(crate) timeout: Duration,
    /// How many invocations it takes at a time.
    pub(crate) concurrency: usize,
}

/// How long Redis may take to forget everything.
const LONGEST_CLEARING: Duration = Duration::from_secs(60);

impl Default for Around<'_> {
    fn default() -> Self {
        Self {
            redis: None,
            mongo: None,
            till: None,
            timeout: Duration::from_secs(60),
            concurrency: 1,
        }
    }
}

impl Stage {
    /// Starts the servers, and each contestant once, if they are needed, to see whether it is there.
    ///
    /// # Errors
    ///
    /// Who is not. The smoke goes on without those that are not of this workspace.
    pub(crate) async fn set(settings: Settings, has_contestants: bool) -> Result<Self, String> {
        let redis = RedisServer::start().await;
        let mongo = match has_contestants {
            true => Some(Mongo::find().await),
            false => None,
        };
        let mut stage = Self {
            counter: FaultProxy::in_front_of(redis.address()),
            mongo_counter: match &mongo {
                Some(mongo) => FaultProxy::in_front_of(mongo.server.address()),
                None => FaultProxy::silent(),
            },
            redis,
            till: Till::start().await,
            present: Vec::new(),
            absent: Vec::new(),
            mongo,
            logs: tempfile::tempdir().map_err(|error| format!("no temporary folder: {error}"))?,
            settings,
        };
        for contestant in ALL.iter().filter(|_| has_contestants) {
            let is_optional = stage.settings.scale == Scale::Smoke
                && !matches!(contestant.program, Program::Binary(_));
            match stage.start(contestant, Around::default()).await {
                Ok(_) => stage.present.push(contestant),
                // Those with and without idempotency are one program.
                Err(why) if is_optional && stage.absent.contains(&why) => {}
                Err(why) if is_optional => stage.absent.push(why),
                Err(why) => return Err(why),
            }
        }
        Ok(stage)
    }

    /// Starts a process of a contestant.
    ///
    /// # Errors
    ///
    /// Why it does not run.
    pub(crate) async fn start(
        &self,
        contestant: &Contestant,
        around: Around<'_>,
    ) -> Result<Function, String> {
        let mut variables = vec![("BENCH_LEASE_SECONDS", around.timeout.as_secs().to_string())];
        let mut set = |name, value: &str| variables.push((name, value.to_owned()));
        match contestant.store {
            Store::Nothing => set("BENCH_IDEMPOTENCY", "off"),
            _ => set("BENCH_IDEMPOTENCY", "on"),
        }
        if contestant.store.is_shared() {
            let address = around.redis.unwrap_or_else(|| self.redis.address());
            set("REDIS_URL", &format!("redis://{address}"));
        }
        if let Some(mongo) = self
            .mongo
            .as_ref()
            .filter(|_| contestant.store == Store::Tiered)
        {
            let uri = match around.mongo {
                Some(way) => mongo.server.uri_through(way),
                None => mongo.server.uri(),
            };
            set("MONGODB_URI", &uri);
            set("MONGODB_DATABASE", &mongo.database);
        }
        if contestant.program == Program::Binary("ours") {
            // As template.yaml has it.
            set("REDIS_CONNECT_TIMEOUT_MS", "1000");
            set("REDIS_RESPONSE_TIMEOUT_MS", "500");
            // But for the window, which is everybody's, and for the length of bodies, which the others do not bound.
            set("IDEMPOTENCY_TTL_SECONDS", "3600");
            set("IDEMPOTENCY_MAX_RESPONSE_BYTES", "6291456");
            match contestant.store {
                Store::Memory => {
                    set("ENVIRONMENT", "development");
                    set("IDEMPOTENCY_MEMORY_ENTRIES", "1000000");
                    set("IDEMPOTENCY_MEMORY_BYTES", "1073741824");
                }
                _ => set("ENVIRONMENT", "production"),
            }
        }
        if around.concurrency > 1 {
            set(
                "AWS_LAMBDA_MAX_CONCURRENCY",
                &around.concurrency.to_string(),
            );
        }
        if let Some(till) = around.till {
            set("BENCH_WORK_URL", &till.url());
        }
        Function::start(Launch {
            program: contestant.program,
            variables,
            timeout: around.timeout,
            logs: self.logs.path(),
        })
        .await
    }

    /// Starts a function of this workspace that has no part in the benchmark's work.
    ///
    /// # Errors
    ///
    /// Why it does not run.
    pub(crate) async fn start_function(&self, name: &'static str) -> Result<Function, String> {
        Function::start(Launch {
            program: Program::Binary(name),
            variables: vec![("ENVIRONMENT", "development".to_owned())],
            timeout: Duration::from_secs(60),
            logs: self.logs.path(),
        })
        .await
    }

    /// MongoDB, where anybody needs it.
    pub(crate) fn mongo_server(&self) -> Option<&'static MongoServer> {
        self.mongo.as_ref().map(|mongo| mongo.server)
    }

    /// Empties Redis and MongoDB, whose stand-in takes the longer for a call the more records it has.
    pub(crate) async fn empty_stores(&self) {
        // A million records go in the background, and are awaited: nobody shall pay for that.
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

    /// The microseconds that Redis says to have spent so far on commands that clients sent, as the counting way has seen them.
    /// What a script runs is in the time of its script.
    pub(crate) async fn server_micros(&self) -> f64 {
        let sent = self.counter.commands();
        let stats: String = self.redis.query(&["INFO", "commandstats"]).await;
        let spent = stats.lines().filter_map(|line| {
            let (name, numbers) = line.strip_prefix("cmdstat_")?.split_once(':')?;
            let name = name.split('|').next()?.to_uppercase();
            let spent = numbers
                .split(',')
                .find_map(|pair| pair.strip_prefix("usec="))?;
            sent.contains(&name).then(|| spent.parse::<f64>().ok())?
        });
        spent.sum()
    }

    /// Sets every count to zero.
    pub(crate) async fn count_anew(&self) {
        self.counter.reset_counters();
        self.mongo_counter.reset_counters();
        self.redis.command(&["CONFIG", "RESETSTAT"]).await;
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
