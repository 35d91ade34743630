//! Measures the cost of a claim, compared with a bare round trip. The engine runs in this process without Lambda and HTTP, and
//! is compared with redis-rs on the same `redis-server`. `make claim-cost` runs only this measure.

mod long_records;

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use harness::RedisServer;
use redis::aio::MultiplexedConnection;
use redis::{Script, Value};
use redis_client::Repeat;
use serde_json::json;
use shared::App;
use shared::deadline::Deadline;
use shared::idempotency::{
    ClaimOutcome, Fingerprint, Idempotency, IdempotencyKey, Lease, Operation, RecordKey, Request,
    Scope,
};

use super::progress;
use crate::raw::{self, RECORD};
use crate::samples::{Spread, micros, ratios};
use crate::section::{Limit, Section};
use crate::stage::Stage;

/// The number of concurrent tasks in the measurement of throughput.
const TASKS: usize = 64;

/// The engine's own script. The benchmark also sends this script with redis-rs alone.
const CLAIM: &str = include_str!("../../../shared/crates/idempotency/src/store/record.lua");
/// The arguments that the engine gives to the script.
const ARGUMENTS: [(&str, &str); 7] = [
    ("operation", "claim"),
    ("owner", "00112233445566778899aabbccddeeff"),
    (
        "fingerprint",
        "3a7b3a7b3a7b3a7b3a7b3a7b3a7b3a7b3a7b3a7b3a7b3a7b3a7b3a7b3a7b3a7b",
    ),
    ("bound", "0000000000000"),
    ("lease", "0030000"),
    ("retention", "86400000"),
    ("kept_for", "86430000"),
];

struct Bench {
    redis: RedisServer,
    engine: Idempotency,
    raw: MultiplexedConnection,
    one_set: Script,
    script: Script,
    next: usize,
    calls: usize,
    calls_of_a_task: usize,
}

/// A call to measure.
enum Call {
    /// The engine claims a fresh key.
    Claim,
    /// `EVALSHA` around one `SET`.
    OneSet,
    /// `SET NX GET` with a fresh key.
    SetNxGet,
    /// The engine claims a key that another attempt has claimed. The function checks the outcome.
    Blocked(Operation, fn(&ClaimOutcome<Lease>) -> bool),
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
            Call::OneSet,
            Limit::AtMost(2.5),
        ),
        (
            "latency of a claim / of `SET NX GET`, one at a time",
            Of::Latency,
            Call::SetNxGet,
            Limit::AtMost(1.5),
        ),
    ];
    let mut all = Vec::new();
    for (what, of, beside, limit) in one_at_a_time {
        progress(what);
        let mut compared = Compared::new(what.to_owned(), "µs", limit);
        for _ in 0..rounds {
            compared.engine.push(bench.measured(of, &Call::Claim).await);
            compared.beside.push(bench.measured(of, &beside).await);
        }
        all.push(compared);
    }
    progress("many claims at a time");
    all.push(bench.throughput(rounds).await);
    progress("long bodies");
    all.extend(bench.flatness(rounds).await);

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
            script: Script::new(redis_client::Script::new(CLAIM, Repeat::Safe).text()),
            next: 0,
            calls,
            calls_of_a_task,
        };
        for call in [Call::Claim, Call::OneSet] {
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
            Call::OneSet => {
                let key = format!("idempotency:raw:{key}");
                raw::set(&self.one_set, &mut self.raw, &key).await;
            }
            Call::SetNxGet => {
                let mut set = redis::cmd("SET");
                set.arg(format!("idempotency:plain:{key}"));
                set.arg(RECORD.as_slice());
                set.arg("NX").arg("GET").arg("PX").arg(86_400_000);
                let _: Option<Vec<u8>> = set.query_async(&mut self.raw).await.expect("set");
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
            Of::ServerTime => self.micros_per_script().await,
            Of::Latency => micros(began.elapsed()) / self.calls as f64,
        }
    }

    /// Compares the throughput of concurrent tasks that share one connection.
    async fn throughput(&mut self, rounds: usize) -> Compared {
        let what = format!(
            "claims / the same script sent by redis-rs itself, {TASKS} tasks on one connection"
        );
        let mut compared = Compared::new(what, "/s", Limit::AtLeast(0.8));
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
                    self.send_script(key).await;
                }
            });
            join_all(sent).await;
            compared.beside.push(per_second(began));
        }
        compared
    }

    /// Sends the engine's script with redis-rs.
    async fn send_script(&self, key: String) {
        let mut claim = self.script.key(key);
        for (name, value) in ARGUMENTS {
            claim.arg(name).arg(value);
        }
        let answer = claim.invoke_async(&mut self.raw.clone()).await;
        let is_started = matches!(&answer, Ok(Value::Array(parts))
            if parts.first() == Some(&Value::BulkString(b"claimed".into())));
        assert!(is_started, "a fresh key is {answer:?}");
    }

    /// The time per script that Redis's statistics report, in microseconds.
    async fn micros_per_script(&self) -> f64 {
        let stats: String = self.redis.query(&["INFO", "commandstats"]).await;
        let mut lines = stats.lines();
        let line = lines.find(|line| line.starts_with("cmdstat_evalsha:"));
        let value = line
            .and_then(|line| line.split("usec_per_call=").nth(1))
            .and_then(|rest| rest.split(',').next());
        value.and_then(|value| value.parse().ok()).expect("counted")
    }
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
