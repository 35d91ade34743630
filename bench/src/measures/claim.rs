//! Measures the cost of a claim, compared with a bare round trip. The engine runs in this process without Lambda and HTTP, and
//! is compared with redis-rs on the same server. `make claim-cost` runs only this measure.

mod long_records;

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use harness::RedisServer;
use http::StatusCode;
use redis::Script;
use redis::aio::MultiplexedConnection;
use serde_json::json;
use shared::App;
use shared::deadline::Deadline;
use shared::idempotency::{
    ClaimOutcome, Fingerprint, Idempotency, IdempotencyKey, Lease, Operation, RecordKey, Request,
    SavedResponse, Scope, WriteResult,
};

use super::progress;
use crate::raw::{self, RECORD};
use crate::samples::{Spread, micros, ratios};
use crate::section::{Limit, Section};
use crate::stage::Stage;

/// The number of concurrent tasks in the measurement of throughput.
const TASKS: usize = 64;

struct Bench {
    redis: RedisServer,
    engine: Idempotency,
    raw: MultiplexedConnection,
    one_set: Script,
    next: usize,
    calls: usize,
    calls_of_a_task: usize,
}

/// A call to measure.
enum Call {
    /// The engine claims a fresh key.
    Claim,
    /// The engine claims a fresh key and stores its result.
    Run,
    /// `EVALSHA` around one `SET`.
    OneSet,
    /// `SET NX GET` with a fresh key.
    SetNxGet,
    /// Two `SET` commands with one fresh key.
    TwoSets,
    /// The engine claims a key that another attempt has claimed. The function checks the outcome.
    Blocked(Operation, fn(&ClaimOutcome<Lease>) -> bool),
    /// `GET` of the record of this operation.
    Get(Operation),
}

/// The quantity that is measured.
#[derive(Clone, Copy)]
enum Of {
    /// The time that Redis's statistics report.
    ServerTime,
    /// The latency of calls that are sent one at a time.
    Latency,
}

/// The comparison of two quantities, with one result per round.
struct Compared {
    what: String,
    unit: &'static str,
    limit: Limit,
    engine: Vec<f64>,
    beside: Vec<f64>,
}

pub(super) async fn measure(stage: &Stage) -> Section {
    let rounds = stage.settings.claim_rounds;
    let mut bench = Bench::start(stage.settings.claim_calls).await;
    let one_at_a_time = [
        (
            "server time of a claim / of `EVALSHA` around one `SET`",
            Of::ServerTime,
            Call::Claim,
            Call::OneSet,
            Limit::AtMost(1.0),
        ),
        (
            "server time of a claim and its result / of two `SET`s",
            Of::ServerTime,
            Call::Run,
            Call::TwoSets,
            Limit::AtMost(4.0),
        ),
        (
            "latency of a claim / of `SET NX GET`, one at a time",
            Of::Latency,
            Call::Claim,
            Call::SetNxGet,
            Limit::AtMost(1.5),
        ),
    ];
    let mut all = Vec::new();
    for (what, of, call, beside, limit) in one_at_a_time {
        progress(what);
        let mut compared = Compared::new(what.to_owned(), "µs", limit);
        for _ in 0..rounds {
            compared.engine.push(bench.measured(of, &call).await);
            compared.beside.push(bench.measured(of, &beside).await);
        }
        all.push(compared);
    }
    progress("many claims at a time");
    all.push(bench.throughput(rounds).await);
    progress("long records");
    all.extend(bench.long_records(rounds).await);

    let mut section = Section::new("claim", "A claim beside a bare round trip");
    section.notes.push(format!(
        "The engine alone, in the benchmark's process; median of {rounds} rounds of {} calls (least–most).",
        bench.calls
    ));
    section.columns(" | claim | beside | ratio");
    for compared in all {
        compared.add_to(&mut section);
    }
    section
}

impl Compared {
    fn new(what: String, unit: &'static str, limit: Limit) -> Self {
        Self {
            what,
            unit,
            limit,
            engine: Vec::new(),
            beside: Vec::new(),
        }
    }

    fn add_to(self, section: &mut Section) {
        let (what, unit) = (self.what, self.unit);
        let [engine, beside] = [&self.engine, &self.beside].map(|rounds| Spread::of(rounds));
        let ratio = Spread::of(&ratios(&self.engine, &self.beside));
        let cells = format!("{engine} {unit} | {beside} {unit} | {ratio}");
        let numbers = json!({
            "unit": unit,
            "claim": engine,
            "beside": beside,
            "ratio": ratio,
        });
        section.row((&what, &what), &cells, numbers);
        let is_sensible = engine.least > 0.0 && beside.least > 0.0;
        section.hold_that(is_sensible, &format!("{what} takes time"));
        section.goal(what, self.limit, ratio);
    }
}

impl Bench {
    async fn start((calls, calls_of_a_task): (usize, usize)) -> Self {
        let redis = RedisServer::start().await;
        let url = redis.url();
        let lookup = |variable: &str| match variable {
            "REDIS_URL" => Some(url.clone().into()),
            "IDEMPOTENCY_FALLBACK" => Some("reject".into()),
            "IDEMPOTENCY_MAX_RESPONSE_BYTES" => Some("6291456".into()),
            _ => None,
        };
        let mut bench = Self {
            engine: App::from_lookup(lookup).expect("usable").idempotency(),
            raw: raw::connect(&url).await,
            redis,
            one_set: raw::one_set(),
            next: 0,
            calls,
            calls_of_a_task,
        };
        for call in [Call::Run, Call::OneSet] {
            bench.measured(Of::Latency, &call).await;
        }
        bench
    }

    fn fresh_key(&mut self) -> String {
        self.next += 1;
        format!("key-{}", self.next)
    }

    async fn call(&mut self, call: &Call) {
        let key = self.fresh_key();
        match call {
            Call::Claim => drop(started(&self.engine, &operation(&key, 10)).await),
            Call::Run => {
                let lease = started(&self.engine, &operation(&key, 10)).await;
                let completed = lease
                    .complete(SavedResponse::new(StatusCode::OK, "done"))
                    .await;
                assert!(matches!(completed, WriteResult::Stored(_)), "{completed:?}");
            }
            Call::TwoSets => {
                for _ in 0..2 {
                    let mut set = redis::cmd("SET");
                    set.arg(format!("idempotency:plain:{key}"))
                        .arg(RECORD.as_slice());
                    set.arg("PX").arg(86_400_000);
                    let _: () = set.query_async(&mut self.raw).await.expect("set");
                }
            }
            Call::OneSet => {
                let key = format!("idempotency:raw:{key}");
                raw::set(&self.one_set, &mut self.raw, &key).await;
            }
            Call::SetNxGet => {
                let set = set_nx_get(&format!("idempotency:plain:{key}"));
                let _: Option<Vec<u8>> = set.query_async(&mut self.raw).await.expect("set");
            }
            Call::Get(operation) => {
                let get = redis::cmd("GET").arg(operation.key.as_str()).to_owned();
                let _: Vec<u8> = get.query_async(&mut self.raw).await.expect("stored");
            }
            Call::Blocked(operation, is_so) => {
                let outcome = claim(&self.engine, operation).await;
                assert!(is_so(&outcome), "a blocked claim is {outcome:?}");
            }
        }
    }

    /// Measures one round of calls. Returns the mean of the quantity for one call, in microseconds.
    async fn measured(&mut self, of: Of, call: &Call) -> f64 {
        self.redis.command(&["CONFIG", "RESETSTAT"]).await;
        let began = Instant::now();
        for _ in 0..self.calls {
            self.call(call).await;
        }
        match of {
            Of::ServerTime => self.server_micros(call.commands()).await / self.calls as f64,
            Of::Latency => micros(began.elapsed()) / self.calls as f64,
        }
    }

    /// Compares the throughput of concurrent tasks that share one connection.
    async fn throughput(&mut self, rounds: usize) -> Compared {
        let what = format!(
            "claims / the same commands sent by redis-rs itself, {TASKS} tasks on one connection"
        );
        let mut compared = Compared::new(what, "/s", Limit::AtLeast(0.9));
        let calls = self.calls_of_a_task;
        let per_second = |began: Instant| (TASKS * calls) as f64 / began.elapsed().as_secs_f64();
        for round in 0..rounds {
            let began = Instant::now();
            let claims = (0..TASKS).map(async |task| {
                for call in 0..calls {
                    let key = format!("task-{round}-{task}-{call}");
                    started(&self.engine, &operation(&key, 10)).await;
                }
            });
            join_all(claims).await;
            compared.engine.push(per_second(began));
            let began = Instant::now();
            let sent = (0..TASKS).map(async |task| {
                for call in 0..calls {
                    let key = format!("idempotency:raw:{round}-{task}-{call}");
                    self.send_commands(&key).await;
                }
            });
            join_all(sent).await;
            compared.beside.push(per_second(began));
        }
        compared
    }

    /// Sends the commands of a claim with redis-rs.
    async fn send_commands(&self, key: &str) {
        let mut claim = redis::pipe();
        claim.add_command(set_nx_get(key)).cmd("PTTL").arg(key);
        let replies: (Option<Vec<u8>>, i64) = claim
            .query_async(&mut self.raw.clone())
            .await
            .expect("sent");
        assert!(replies.0.is_none(), "the key is fresh");
    }

    /// The time that Redis's statistics report for these commands since the last reset, in microseconds.
    async fn server_micros(&self, commands: &[&str]) -> f64 {
        let stats: String = self.redis.query(&["INFO", "commandstats"]).await;
        let spent = stats.lines().filter_map(|line| {
            let (name, numbers) = line.strip_prefix("cmdstat_")?.split_once(':')?;
            let mut numbers = numbers.split(',');
            let spent = numbers.find_map(|number| number.strip_prefix("usec="))?;
            commands
                .contains(&name)
                .then(|| spent.parse::<f64>().ok())?
        });
        spent.sum()
    }
}

impl Call {
    /// The Redis commands of the call. The time of a script includes the commands inside the script.
    fn commands(&self) -> &'static [&'static str] {
        match self {
            Self::Claim | Self::Blocked(..) => &["set", "pttl"],
            // Servers without `IFEQ` run a script for the result. Its `SET` is counted twice.
            Self::Run => &["set", "pttl", "evalsha"],
            Self::OneSet => &["evalsha"],
            Self::SetNxGet | Self::TwoSets => &["set"],
            Self::Get(_) => &["get"],
        }
    }
}

/// The first command of a claim.
fn set_nx_get(key: &str) -> redis::Cmd {
    let mut set = redis::cmd("SET");
    set.arg(key).arg(RECORD.as_slice());
    set.arg("NX").arg("GET").arg("PX").arg(86_400_000);
    set
}

async fn claim(engine: &Idempotency, payment: &Operation) -> ClaimOutcome<Lease> {
    let patience = Deadline::after(Duration::from_secs(60));
    let claimed = engine.claim(payment, patience).await;
    claimed.expect("decided").value
}

/// Claims an unused key.
async fn started(engine: &Idempotency, payment: &Operation) -> Lease {
    match claim(engine, payment).await {
        ClaimOutcome::Claimed(lease) => lease,
        other => panic!("a fresh key is {other:?}"),
    }
}

fn operation(key: &str, amount: u64) -> Operation {
    let key = IdempotencyKey::parse(key).expect("a key");
    let scope = Scope::http("payments.create", "jwt:alice").expect("a scope");
    let payload = format!("{{\"amount\":{amount},\"currency\":\"EUR\"}}");
    let request = Request {
        method: "POST",
        route: "/api/payments",
        tenant: "jwt:alice",
        payload: payload.as_bytes(),
    };
    let fingerprint = Fingerprint::of(&request).expect("unambiguous");
    Operation::new(RecordKey::new(&scope, &key), fingerprint)
}
