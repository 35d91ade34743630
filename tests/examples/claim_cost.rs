//! What does a claim cost, beside what the same round trip costs without idempotency? Ratios, measured side by side in one
//! run against one `redis-server`: the machine's mood is in both. `make claim-cost`.

#![expect(clippy::print_stdout, reason = "the table is the result")]

use std::time::{Duration, Instant};

use http::StatusCode;
use redis::aio::MultiplexedConnection;
use shared::config::Config;
use shared::deadline::Deadline;
use shared::idempotency::{
    Fingerprint, Idempotency, IdempotencyKey, Operation, Outcome, RecordKey, Request,
    SavedResponse, Scope,
};
use tests::RedisServer;

const ROUNDS: usize = 15;
const CALLS: usize = 400;
const TASKS: usize = 64;
const CALLS_PER_TASK: usize = 150;

/// The engine's own script, for a client that has nothing to do but to send it.
const CLAIM: &str = include_str!("../../shared/src/idempotency/store/record.lua");
/// A script of the same shape, which does the least that one can do: one `SET`.
const ONE_SET: &str =
    "redis.call('SET', KEYS[1], ARGV[9], 'PX', ARGV[3]) return {'started', 1, ARGV[9]}";

struct Bench {
    redis: RedisServer,
    engine: Idempotency,
    raw: MultiplexedConnection,
    one_set: String,
    claim: String,
    next: usize,
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let mut bench = Bench::start().await;
    println!("| measured | claim | beside | ratio (median of {ROUNDS}, spread) | goal |");
    println!("|---|---|---|---|---|");
    bench.server_time().await;
    bench.latency().await;
    bench.throughput().await;
    bench.flatness().await;
}

impl Bench {
    async fn start() -> Self {
        let redis = RedisServer::start().await;
        let url = redis.url();
        let lookup = |variable: &str| match variable {
            "REDIS_URL" => Some(url.clone().into()),
            "IDEMPOTENCY_FALLBACK" => Some("reject".into()),
            "IDEMPOTENCY_MAX_RESPONSE_BYTES" => Some("6291456".into()),
            _ => None,
        };
        let engine = Idempotency::new(&Config::from_lookup(lookup).expect("usable"));
        let client = redis::Client::open(url.clone()).expect("a URL");
        let mut raw = client
            .get_multiplexed_async_connection()
            .await
            .expect("connected");
        let mut load = async |script: &str| -> String {
            let mut load = redis::cmd("SCRIPT");
            load.arg("LOAD").arg(script);
            load.query_async(&mut raw).await.expect("loaded")
        };
        let (one_set, claim) = (load(ONE_SET).await, load(CLAIM).await);
        let mut bench = Self {
            redis,
            engine,
            raw,
            one_set,
            claim,
            next: 0,
        };
        for _ in 0..CALLS {
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
        claim(&self.engine, &payment).await;
    }

    async fn one_set(&mut self) {
        let key = self.fresh_key();
        send(&mut self.raw, &self.one_set, &key).await;
    }

    async fn set_nx_get(&mut self) {
        let key = format!("idempotency:plain:{}", self.fresh_key());
        let mut set = redis::cmd("SET");
        set.arg(key).arg([b'x'; 211].as_slice());
        set.arg("NX").arg("GET").arg("PX").arg(86_400_000);
        let _: Option<Vec<u8>> = set.query_async(&mut self.raw).await.expect("set");
    }

    /// What the server spends, by its own account.
    async fn server_time(&mut self) {
        let mut pairs = Vec::new();
        for _ in 0..ROUNDS {
            self.reset().await;
            for _ in 0..CALLS {
                self.claim().await;
            }
            let ours = self.usec_per_call("evalsha").await;
            self.reset().await;
            for _ in 0..CALLS {
                self.one_set().await;
            }
            pairs.push((ours, self.usec_per_call("evalsha").await));
        }
        row(
            "server time of a claim / of `EVALSHA` around one `SET`",
            "µs",
            &pairs,
            "≤ 2.5",
        );
    }

    async fn latency(&mut self) {
        let mut pairs = Vec::new();
        for _ in 0..ROUNDS {
            let began = Instant::now();
            for _ in 0..CALLS {
                self.claim().await;
            }
            let ours = micros(began.elapsed(), CALLS);
            let began = Instant::now();
            for _ in 0..CALLS {
                self.set_nx_get().await;
            }
            pairs.push((ours, micros(began.elapsed(), CALLS)));
        }
        row(
            "latency of a claim / of `SET NX GET`, one at a time",
            "µs",
            &pairs,
            "≤ 1.5",
        );
    }

    /// As many tasks on one connection.
    async fn throughput(&mut self) {
        let mut pairs = Vec::new();
        for round in 0..ROUNDS {
            let began = Instant::now();
            let ours = (0..TASKS).map(|task| {
                let engine = self.engine.clone();
                async move {
                    for call in 0..CALLS_PER_TASK {
                        let key = format!("task-{round}-{task}-{call}");
                        claim(&engine, &operation(&key, 10)).await;
                    }
                }
            });
            futures_util::future::join_all(ours).await;
            let claims = per_second(began.elapsed());
            let began = Instant::now();
            let theirs = (0..TASKS).map(|task| {
                let (mut raw, digest) = (self.raw.clone(), self.claim.clone());
                async move {
                    for call in 0..CALLS_PER_TASK {
                        let key = format!("raw-{round}-{task}-{call}");
                        send(&mut raw, &digest, &key).await;
                    }
                }
            });
            futures_util::future::join_all(theirs).await;
            pairs.push((claims, per_second(began.elapsed())));
        }
        row(
            "claims / the same script sent by redis-rs itself, 64 tasks on one connection",
            "/s",
            &pairs,
            "≥ 0.8",
        );
    }

    /// What a conflict costs the server over a long checkpoint, and a mismatch over a long result, beside short ones.
    async fn flatness(&mut self) {
        for (what, long) in [("conflict", 65_000), ("mismatch", 5_000_000)] {
            let mut keys = Vec::new();
            for size in [long, 100] {
                let payment = operation(&self.fresh_key(), 10);
                let claimed = self.engine.claim(&payment, patience()).await;
                let Outcome::Started(mut lease) = claimed.expect("decided").outcome else {
                    panic!("the key is fresh");
                };
                let body = vec![b'x'; size];
                if what == "conflict" {
                    lease.checkpoint(body).await;
                } else {
                    let response = SavedResponse::new(StatusCode::OK, body);
                    lease.complete(response).await;
                }
                keys.push(Operation {
                    fingerprint: if what == "conflict" {
                        paying(10)
                    } else {
                        paying(20)
                    },
                    ..payment
                });
            }
            let mut pairs = Vec::new();
            for _ in 0..ROUNDS {
                let mut costs = Vec::new();
                for payment in &keys {
                    self.reset().await;
                    for _ in 0..CALLS {
                        claim(&self.engine, payment).await;
                    }
                    costs.push(self.usec_per_call("evalsha").await);
                }
                pairs.push((costs[0], costs[1]));
            }
            let title = format!("server time of a {what} over {long} bytes / over 100");
            row(&title, "µs", &pairs, "≈ 1");
        }
    }

    async fn reset(&self) {
        self.redis.command(&["CONFIG", "RESETSTAT"]).await;
    }

    async fn usec_per_call(&self, command: &str) -> f64 {
        let stats: String = self.redis.query(&["INFO", "commandstats"]).await;
        let line = stats
            .lines()
            .find(|line| line.starts_with(&format!("cmdstat_{command}:")));
        let value = line
            .and_then(|line| line.split("usec_per_call=").nth(1))
            .and_then(|rest| rest.split(',').next());
        value.and_then(|value| value.parse().ok()).expect("counted")
    }
}

async fn claim(engine: &Idempotency, payment: &Operation) {
    engine.claim(payment, patience()).await.expect("decided");
}

/// Sends a script with the arguments of a claim, and as many bytes as a record has.
async fn send(raw: &mut MultiplexedConnection, digest: &str, key: &str) {
    let mut call = redis::cmd("EVALSHA");
    call.arg(digest)
        .arg(1)
        .arg(format!("idempotency:raw:{key}"));
    let owner = "00112233445566778899aabbccddeeff";
    call.arg("claim").arg(owner).arg(86_400_000);
    call.arg("3a7b".repeat(16))
        .arg(0)
        .arg(30_000)
        .arg(0)
        .arg("");
    call.arg([b'x'; 211].as_slice());
    let _: redis::Value = call.query_async(raw).await.expect("answered");
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

fn micros(elapsed: Duration, calls: usize) -> f64 {
    elapsed.as_secs_f64() * 1e6 / calls as f64
}

fn per_second(elapsed: Duration) -> f64 {
    (TASKS * CALLS_PER_TASK) as f64 / elapsed.as_secs_f64()
}

fn row(what: &str, unit: &str, pairs: &[(f64, f64)], goal: &str) {
    let median = |mut values: Vec<f64>| {
        values.sort_by(f64::total_cmp);
        (
            values[values.len() / 2],
            values[0],
            values[values.len() - 1],
        )
    };
    let (ours, ..) = median(pairs.iter().map(|pair| pair.0).collect());
    let (theirs, ..) = median(pairs.iter().map(|pair| pair.1).collect());
    let (ratio, least, most) = median(pairs.iter().map(|pair| pair.0 / pair.1).collect());
    println!(
        "| {what} | {ours:.1} {unit} | {theirs:.1} {unit} | {ratio:.2} ({least:.2}–{most:.2}) | {goal} |"
    );
}
