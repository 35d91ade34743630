//! What does a claim cost, beside what the same round trip costs without idempotency? The engine in this process, with neither
//! Lambda nor HTTP around it, side by side with redis-rs against one `redis-server`. Also `make claim-cost`.

mod long_records;

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use harness::RedisServer;
use redis::aio::MultiplexedConnection;
use serde_json::{Map, Value, json};
use shared::App;
use shared::deadline::Deadline;
use shared::idempotency::{
    Fingerprint, Idempotency, IdempotencyKey, Lease, Operation, Outcome, RecordKey, Request, Scope,
};

use super::progress;
use crate::raw::{self, Loaded, RECORD};
use crate::report::{Goal, Limit, Section};
use crate::sample::{Spread, micros, ratios};
use crate::stage::Stage;

const TASKS: usize = 64;

/// The engine's own script, for a client that has nothing to do but to send it.
const CLAIM: &str = include_str!("../../../shared/crates/idempotency/src/store/record.lua");
/// What the engine sends with it.
const ARGUMENTS: [&[u8]; 7] = [
    b"claim",
    b"00112233445566778899aabbccddeeff",
    b"86400000",
    b"3a7b3a7b3a7b3a7b3a7b3a7b3a7b3a7b3a7b3a7b3a7b3a7b3a7b3a7b3a7b3a7b",
    b"0000000000000",
    b"0030000",
    b"86430000",
];

struct Bench {
    redis: RedisServer,
    engine: Idempotency,
    raw: MultiplexedConnection,
    one_set: Loaded,
    claim: Loaded,
    next: usize,
    rounds: usize,
    calls: usize,
    calls_of_a_task: usize,
}

/// One comparison, round by round.
struct Compared {
    what: String,
    unit: &'static str,
    limit: Limit,
    engine: Vec<f64>,
    beside: Vec<f64>,
}

pub(super) async fn measure(stage: &Stage) -> Section {
    let mut bench = Bench::start(stage).await;
    let mut all = Vec::new();
    progress("the time of Redis");
    all.push(bench.server_time().await);
    progress("one claim at a time");
    all.push(bench.latency().await);
    progress("many claims at a time");
    all.push(bench.throughput().await);
    progress("long bodies");
    all.extend(bench.flatness().await);

    let mut section = Section::new("claim", "A claim beside a bare round trip");
    section.notes.push(format!(
        "The engine alone, in the benchmark's process; median of {} rounds of {} calls (least–most).",
        bench.rounds, bench.calls
    ));
    section.columns(["", "claim", "beside", "ratio"]);
    let mut data = Map::new();
    for compared in all {
        let [engine, beside] =
            [&compared.engine, &compared.beside].map(|rounds| Spread::of(rounds));
        let ratio = Spread::of(&ratios(&compared.engine, &compared.beside));
        section.rows.push(vec![
            compared.what.clone(),
            format!("{engine} {}", compared.unit),
            format!("{beside} {}", compared.unit),
            ratio.in_words(),
        ]);
        let is_sensible = engine.least > 0.0 && beside.least > 0.0;
        section.hold_that(is_sensible, &format!("{} takes time", compared.what));
        let numbers = json!({
            "unit": compared.unit,
            "claim": engine.to_json(),
            "beside": beside.to_json(),
            "ratio": ratio.to_json(),
        });
        data.insert(compared.what.clone(), numbers);
        section.goals.push(Goal {
            what: compared.what,
            limit: compared.limit,
            measured: ratio,
        });
    }
    section.data = Value::Object(data);
    section
}

impl Bench {
    async fn start(stage: &Stage) -> Self {
        let redis = RedisServer::start().await;
        let url = redis.url();
        let lookup = |variable: &str| match variable {
            "REDIS_URL" => Some(url.clone().into()),
            "IDEMPOTENCY_FALLBACK" => Some("reject".into()),
            "IDEMPOTENCY_MAX_RESPONSE_BYTES" => Some("6291456".into()),
            _ => None,
        };
        let engine = App::from_lookup(lookup).expect("usable").idempotency();
        let raw = raw::connect(&url).await;
        let one_set = Loaded::one_set(&raw).await;
        let claim = Loaded::new(&raw, CLAIM).await;
        let (calls, calls_of_a_task) = stage.settings.claim_calls;
        let mut bench = Self {
            redis,
            engine,
            raw,
            one_set,
            claim,
            next: 0,
            rounds: stage.settings.claim_rounds,
            calls,
            calls_of_a_task,
        };
        for _ in 0..calls {
            bench.claim().await;
            bench.one_set().await;
        }
        bench
    }

    fn fresh_key(&mut self) -> String {
        self.next += 1;
        format!("key-{}", self.next)
    }

    async fn claim(&mut self) {
        let payment = operation(&self.fresh_key(), 10);
        started(&self.engine, &payment).await;
    }

    async fn one_set(&mut self) {
        let key = format!("idempotency:raw:{}", self.fresh_key());
        self.one_set.set(&key).await;
    }

    async fn set_nx_get(&mut self) {
        let key = format!("idempotency:plain:{}", self.fresh_key());
        let mut set = redis::cmd("SET");
        set.arg(key).arg(RECORD.as_slice());
        set.arg("NX").arg("GET").arg("PX").arg(86_400_000);
        let _: Option<Vec<u8>> = set.query_async(&mut self.raw).await.expect("set");
    }

    /// What the server spends, by its own account.
    async fn server_time(&mut self) -> Compared {
        let (mut engine, mut beside) = (Vec::new(), Vec::new());
        for _ in 0..self.rounds {
            self.reset().await;
            for _ in 0..self.calls {
                self.claim().await;
            }
            engine.push(self.micros_per_call().await);
            self.reset().await;
            for _ in 0..self.calls {
                self.one_set().await;
            }
            beside.push(self.micros_per_call().await);
        }
        Compared {
            what: "server time of a claim / of `EVALSHA` around one `SET`".to_owned(),
            unit: "µs",
            limit: Limit::AtMost(2.5),
            engine,
            beside,
        }
    }

    async fn latency(&mut self) -> Compared {
        let (mut engine, mut beside) = (Vec::new(), Vec::new());
        for _ in 0..self.rounds {
            let began = Instant::now();
            for _ in 0..self.calls {
                self.claim().await;
            }
            engine.push(micros(began.elapsed()) / self.calls as f64);
            let began = Instant::now();
            for _ in 0..self.calls {
                self.set_nx_get().await;
            }
            beside.push(micros(began.elapsed()) / self.calls as f64);
        }
        Compared {
            what: "latency of a claim / of `SET NX GET`, one at a time".to_owned(),
            unit: "µs",
            limit: Limit::AtMost(1.5),
            engine,
            beside,
        }
    }

    /// As many tasks on one connection.
    async fn throughput(&mut self) -> Compared {
        let (mut engine, mut beside) = (Vec::new(), Vec::new());
        let calls = self.calls_of_a_task;
        for round in 0..self.rounds {
            let began = Instant::now();
            let claims = (0..TASKS).map(|task| {
                let engine = self.engine.clone();
                async move {
                    for call in 0..calls {
                        let key = format!("task-{round}-{task}-{call}");
                        started(&engine, &operation(&key, 10)).await;
                    }
                }
            });
            join_all(claims).await;
            engine.push((TASKS * calls) as f64 / began.elapsed().as_secs_f64());
            let began = Instant::now();
            let sent = (0..TASKS).map(|task| {
                let mut script = self.claim.clone();
                async move {
                    for call in 0..calls {
                        let key = format!("idempotency:raw:{round}-{task}-{call}");
                        let answer = script.run(&key, &ARGUMENTS).await;
                        let is_started = matches!(&answer, redis::Value::Array(parts)
                            if matches!(&parts[..], [redis::Value::BulkString(verdict), ..] if verdict == b"started"));
                        assert!(is_started, "a fresh key is {answer:?}");
                    }
                }
            });
            join_all(sent).await;
            beside.push((TASKS * calls) as f64 / began.elapsed().as_secs_f64());
        }
        Compared {
            what: format!(
                "claims / the same script sent by redis-rs itself, {TASKS} tasks on one connection"
            ),
            unit: "/s",
            limit: Limit::AtLeast(0.8),
            engine,
            beside,
        }
    }

    async fn reset(&self) {
        self.redis.command(&["CONFIG", "RESETSTAT"]).await;
    }

    /// What the server spends on a script, by its own account.
    async fn micros_per_call(&self) -> f64 {
        let stats: String = self.redis.query(&["INFO", "commandstats"]).await;
        let line = stats
            .lines()
            .find(|line| line.starts_with("cmdstat_evalsha:"));
        let value = line
            .and_then(|line| line.split("usec_per_call=").nth(1))
            .and_then(|rest| rest.split(',').next());
        value.and_then(|value| value.parse().ok()).expect("counted")
    }
}

async fn claim(engine: &Idempotency, payment: &Operation) -> Outcome {
    let claimed = engine.claim(payment, patience()).await;
    claimed.expect("decided").outcome
}

/// Claims a key that nobody has used.
async fn started(engine: &Idempotency, payment: &Operation) -> Lease {
    match claim(engine, payment).await {
        Outcome::Started(lease) => lease,
        other => panic!("a fresh key is {other:?}"),
    }
}

fn operation(key: &str, amount: u64) -> Operation {
    let key = IdempotencyKey::parse(key).expect("a key");
    let scope = Scope::http("payments.create", "jwt:alice").expect("a scope");
    Operation::new(RecordKey::new(&scope, &key), paying(amount))
}

fn paying(amount: u64) -> Fingerprint {
    let payload = format!("{{\"amount\":{amount},\"currency\":\"EUR\"}}");
    let request = Request {
        method: "POST",
        route: "/api/payments",
        tenant: "jwt:alice",
        payload: payload.as_bytes(),
    };
    Fingerprint::of(&request).expect("unambiguous")
}

fn patience() -> Deadline {
    Deadline::after(Duration::from_secs(60))
}
