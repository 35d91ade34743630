//! Runs each step on a server and on the rules, and compares the two.
//!
//! The script reads its clock from a key, so that a history can reach the exact millisecond at which something ends.
//! That clock is far in the future, so Redis itself expires nothing; the pair removes expired values by the clock that
//! it sets.

use foundation::secret::Secrets;
use harness::RedisServer;
use http::StatusCode;
use redis::Value as Raw;
use redis_client::{Expiry, RedisConfig};

use super::super::rules::{self, Held, Operation, Value, Verdict};
use super::super::*;
use super::parity::{Asked, Damage, Finished, Step, Until};
use crate::decision::{Start, start};
use crate::record::State;
use crate::{Fingerprint, IdempotencyKey, Policy, Request, SavedResponse, Scope};

pub(super) struct Pair {
    hints: Hints,
    _redis: RedisServer,
    key: RecordKey,
    now: StoreTime,
    expected: Option<Held>,
    claims: Vec<ClaimRequest>,
    /// A number that distinguishes the results.
    results: u32,
}

const BEGINNING: StoreTime = StoreTime::from_ms(4_102_444_800_000);
const RETENTION: Duration = Duration::from_secs(600);
/// The longest a history may take by the real clock.
const PATIENCE_MS: u64 = 60_000;

static ON_A_SET_CLOCK: LazyLock<Script> = LazyLock::new(|| {
    let real = include_str!("../../hints.lua");
    let set = real.replace(
        "redis.call('TIME')",
        "redis.call('MGET', 'seconds', 'micros')",
    );
    assert_ne!(set, real);
    Script::new(&set, Repeat::Safe)
});
static READ: LazyLock<Script> = LazyLock::new(|| {
    let lua = "
        local text = redis.call('TYPE', KEYS[1]).ok == 'list' and 'a list' or redis.call('GET', KEYS[1])
        return {text, redis.call('PEXPIRETIME', KEYS[1]), redis.call('PTTL', KEYS[1])}";
    Script::new(lua, Repeat::Safe)
});
static MAKE_A_LIST: LazyLock<Script> = LazyLock::new(|| {
    let lua = "redis.call('DEL', KEYS[1]) return redis.call('RPUSH', KEYS[1], 'x')";
    Script::new(lua, Repeat::Safe)
});

impl Pair {
    pub(super) async fn new(redis: RedisServer) -> Self {
        let client = RedisClient::new(&RedisConfig::at(redis.url()), &Secrets::without_store());
        Self {
            hints: Hints {
                script: &ON_A_SET_CLOCK,
                ..Hints::new(client, RETENTION, None)
            },
            _redis: redis,
            key: RecordKey::new(&Scope::none(), &IdempotencyKey::parse("k").expect("a key")),
            now: BEGINNING,
            expected: None,
            claims: Vec::new(),
            results: 0,
        }
    }

    pub(super) async fn begin(&mut self) {
        self.delete().await;
        self.claims.clear();
        self.set_clock(BEGINNING).await;
    }

    /// Applies the step to both, and compares.
    pub(super) async fn take(&mut self, step: Step) {
        match step {
            Step::Pass(until) => self.pass(until).await,
            Step::Claim(asked) => {
                let claim = claim_of(&asked);
                self.ask("claim", &claim).await;
                self.claims.push(claim);
            }
            Step::Look(asked) => self.ask("look", &claim_of(&asked)).await,
            Step::ClaimAgain(which) => {
                if let Some(claim) = pick(&self.claims, which) {
                    self.ask("claim", &claim).await;
                }
            }
            Step::Keep {
                of,
                request,
                finished,
            } => {
                let finished_at = self.instant(finished);
                let claim = pick(&self.claims, of).unwrap_or_else(|| {
                    claim_of(&Asked {
                        request,
                        lease_ms: 1,
                    })
                });
                self.keep(&claim, finished_at).await;
            }
            Step::Remove(which) => {
                if let Some(claim) = pick(&self.claims, which) {
                    self.remove(claim.owner).await;
                }
            }
            Step::Damage(damage) => self.damage(damage).await,
        }
        self.compare().await;
    }

    async fn pass(&mut self, until: Until) {
        let now = match (until, self.held_end()) {
            (Until::By(ms), _) => self.now.as_ms().saturating_add_signed(ms),
            (Until::TheEnd(ms), Some(end)) => end.as_ms().saturating_add_signed(ms),
            (Until::TheEnd(_), None) => return,
        };
        self.set_clock(StoreTime::from_ms(now)).await;
        if self
            .expected
            .as_ref()
            .is_some_and(|held| held.expires < self.now)
        {
            self.delete().await;
        }
    }

    async fn ask(&mut self, operation: &'static str, claim: &ClaimRequest) {
        let reply = self
            .hints
            .ask(operation, &self.key, claim, Deadline::UNKNOWN)
            .await
            .expect("answered");
        let asked = match operation {
            "claim" => Operation::Claim(claim),
            _ => Operation::Look(claim),
        };
        let verdict = self.apply(asked);
        let expected_verdict = match &verdict {
            Verdict::Ask => "ask",
            Verdict::Mismatch => "mismatch",
            Verdict::InProgress { .. } => "in_progress",
            Verdict::Replay(_) => "replay",
            Verdict::Discarded | Verdict::Stored | Verdict::Removed => "no answer to a claim",
        };
        assert_eq!(reply.verdict, expected_verdict, "{:?}", self.expected);
        assert_eq!(reply.now, self.now);
        match verdict {
            Verdict::InProgress { lease_end } => assert_eq!(reply.lease_end(), Some(lease_end)),
            Verdict::Replay(record) => assert_eq!(reply.record(), record.map(|record| *record)),
            _ => {}
        }
    }

    fn instant(&self, finished: Finished) -> StoreTime {
        let held = self.expected.as_ref().and_then(|held| match &held.value {
            Value::Whole(record) | Value::Truncated(record) => record.finished_at(),
            Value::Unreadable => None,
        });
        let (from, ms) = match finished {
            Finished::Now(ms) => (self.now, ms),
            Finished::Held(ms) => (held.unwrap_or(self.now), ms),
            Finished::TheEnd(ms) => {
                let retention = i64::try_from(whole_ms(self.hints.retention)).expect("short");
                (self.now, ms - retention)
            }
        };
        StoreTime::from_ms(from.as_ms().saturating_add_signed(ms))
    }

    async fn keep(&mut self, claim: &ClaimRequest, finished_at: StoreTime) {
        self.results += 1;
        let record = Record {
            state: State::Completed {
                finished_at,
                response: SavedResponse::new(StatusCode::OK, self.results.to_string()),
            },
            ..start(Start::New, None, claim, finished_at)
        };
        let kept = self
            .hints
            .store(&self.key, &record, Deadline::UNKNOWN)
            .await;
        kept.expect("answered");
        self.apply(Operation::Store(&record));
    }

    async fn remove(&mut self, owner: OwnerId) {
        let removed = self.hints.remove(&self.key, owner, Deadline::UNKNOWN).await;
        removed.expect("answered");
        self.apply(Operation::Remove(owner));
    }

    async fn damage(&mut self, damage: Damage) {
        let (value, text) = match (damage, self.expected.take().map(|held| held.value)) {
            (Damage::CutShort, Some(Value::Whole(record))) => {
                let mut text = record.to_text();
                text.pop();
                // A claim is only a header: without its last byte it is unreadable.
                let value = match record.state {
                    State::Completed { .. } => Value::Truncated(record),
                    _ => Value::Unreadable,
                };
                (value, text)
            }
            (Damage::CutShort | Damage::NotARecord, _) => {
                (Value::Unreadable, b"not a record".to_vec())
            }
            (Damage::Empty, _) => (Value::Unreadable, Vec::new()),
            (Damage::WrongType, _) => {
                let key = [self.key.as_str()];
                let made: Result<i64, _> =
                    self.hints.client.run_script(&MAKE_A_LIST, &key, &[]).await;
                made.expect("made");
                self.expected = Some(forever(Value::Unreadable));
                return;
            }
        };
        let set = self
            .hints
            .client
            .set(self.key.as_str(), text, Expiry::Never);
        set.await.expect("damaged");
        self.expected = Some(forever(value));
    }

    fn apply(&mut self, operation: Operation<'_>) -> Verdict {
        rules::apply(
            &mut self.expected,
            operation,
            self.hints.retention,
            self.now,
        )
    }

    async fn compare(&self) {
        let key = [self.key.as_str()];
        let read: Result<(Raw, i64, i64), _> = self.hints.client.run_script(&READ, &key, &[]).await;
        let (text, expires, left) = read.expect("read");
        let Some(held) = &self.expected else {
            assert_eq!(text, Raw::Nil);
            return;
        };
        let Raw::BulkString(text) = text else {
            panic!("{held:?}: {text:?}");
        };
        let Value::Whole(record) = &held.value else {
            assert!(Record::from_text(&text.into()).is_err());
            return;
        };
        assert_eq!(text, record.to_text(), "{held:?}");
        match record.state {
            State::Completed { .. } => assert_eq!(u64::try_from(expires), Ok(held.expires.as_ms())),
            _ => {
                let retention = whole_ms(self.hints.retention);
                let left = u64::try_from(left).expect("it expires");
                assert!(
                    (retention - PATIENCE_MS..=retention).contains(&left),
                    "{left}"
                );
            }
        }
    }

    async fn set_clock(&mut self, now: StoreTime) {
        self.now = now;
        let ms = now.as_ms();
        for (key, part) in [("seconds", ms / 1_000), ("micros", ms % 1_000 * 1_000)] {
            let set = self.hints.client.set(key, part.to_string(), Expiry::Never);
            set.await.expect("set");
        }
    }

    async fn delete(&mut self) {
        let deleted = self.hints.client.delete(self.key.as_str()).await;
        deleted.expect("deleted");
        self.expected = None;
    }

    /// The first instant at which the stored value answers no claim any more.
    fn held_end(&self) -> Option<StoreTime> {
        match &self.expected.as_ref()?.value {
            Value::Whole(record) | Value::Truncated(record) => Some(match record.finished_at() {
                Some(finished_at) => finished_at.after(self.hints.retention),
                None => record.lease_end(),
            }),
            Value::Unreadable => None,
        }
    }
}

fn claim_of(asked: &Asked) -> ClaimRequest {
    let request = Request {
        payload: &[asked.request],
        ..Request::default()
    };
    ClaimRequest {
        owner: OwnerId::fresh(),
        fingerprint: Fingerprint::of(&request).expect("unambiguous"),
        policy: Policy::AtMostOnce,
        lease: Duration::from_millis(asked.lease_ms),
        retention: RETENTION,
    }
}

/// A value that a test wrote never expires.
fn forever(value: Value) -> Held {
    Held {
        value,
        expires: StoreTime::from_ms(u64::MAX),
    }
}

fn pick(claims: &[ClaimRequest], which: usize) -> Option<ClaimRequest> {
    claims.get(which.checked_rem(claims.len())?).cloned()
}
