//! Runs each step on a server and on the pure functions, and compares the results.
//!
//! A test cannot move the server's clock into the future. So the pair moves a value into the past: it changes the
//! expiry of the value, and the time in a result.

use std::sync::LazyLock;

use foundation::secret::Secrets;
use harness::RedisServer;
use http::StatusCode;
use redis::Value as Raw;
use redis_client::{Expiry, RedisConfig};

use super::super::simulated::{self, Held, Operation, Value, Verdict};
use super::super::*;
use super::parity::{Asked, Damage, Finished, Step, Until};
use crate::decision::{Start, start};
use crate::record::State;
use crate::{Fingerprint, IdempotencyKey, Policy, Request, SavedResponse, Scope};

pub(super) struct Pair {
    hints: Hints,
    redis: RedisServer,
    key: RecordKey,
    /// The server's time before the current step.
    now: StoreTime,
    expected: Option<Held>,
    claims: Vec<ClaimRequest>,
    /// A number that distinguishes the results.
    results: u32,
}

const RETENTION: Duration = Duration::from_secs(600);
/// The longest time that a step may take.
const PATIENCE: Duration = Duration::from_secs(1);
/// A moved value is at least this far from its expiry.
const DISTANCE_MS: i64 = 3_000;

static READ: LazyLock<Script> = LazyLock::new(|| {
    let lua = "
        local text = redis.call('TYPE', KEYS[1]).ok == 'list' and 'a list' or redis.call('GET', KEYS[1])
        return {text, redis.call('PEXPIRETIME', KEYS[1])}";
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
            hints: Hints::new(client, RETENTION, None),
            redis,
            key: RecordKey::new(&Scope::none(), &IdempotencyKey::parse("k").expect("a key")),
            now: StoreTime::from_ms(0),
            expected: None,
            claims: Vec::new(),
            results: 0,
        }
    }

    pub(super) async fn begin(&mut self) {
        self.delete().await;
        self.claims.clear();
    }

    /// Applies the step to the server and to the pure functions, and compares the results.
    pub(super) async fn take(&mut self, step: Step) {
        let (seconds, micros): (u64, u64) = self.redis.query(&["TIME"]).await;
        self.now = StoreTime::from_ms(seconds * 1_000 + micros / 1_000);
        match step {
            Step::Pass(until) => self.pass(until).await,
            Step::Claim(asked) => {
                let claim = claim_of(&asked);
                self.claim(&claim).await;
                self.claims.push(claim);
            }
            Step::Look(asked) => self.look(&claim_of(&asked)).await,
            Step::ClaimAgain(which) => {
                if let Some(claim) = pick(&self.claims, which) {
                    self.claim(&claim).await;
                }
            }
            Step::Keep {
                of,
                request,
                finished,
            } => {
                let finished_at = self.instant(finished);
                let claimed = pick(&self.claims, of);
                let lease_ms = 1;
                let other = claim_of(&Asked { request, lease_ms });
                self.keep(claimed.as_ref(), &other, finished_at).await;
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
        let Some(Held {
            value: Value::Whole(record, retention),
            expires,
        }) = self.expected.clone()
        else {
            return;
        };
        let (now, end) = (ms(self.now), ms(expires));
        let passed = match until {
            Until::By(passed) => passed,
            Until::TheEnd(left) => end - now - left,
            Until::AfterTheEnd => end - now + DISTANCE_MS,
        };
        let left = end - now - passed;
        if left <= -DISTANCE_MS {
            return self.delete().await;
        }
        if left < DISTANCE_MS {
            return;
        }
        let mut record = *record;
        if let State::Completed { finished_at, .. } = &mut record.state {
            *finished_at = earlier(*finished_at, passed);
        }
        let expires = earlier(expires, passed);
        let (key, text) = (self.key.as_str(), redis_text::write(&record, retention));
        let expiry = Expiry::AtMs(expires.as_ms());
        let moved = self.hints.client.set(key, text, expiry).await;
        moved.expect("moved");
        self.expected = Some(Held {
            value: Value::Whole(Box::new(record), retention),
            expires,
        });
    }

    async fn claim(&mut self, claim: &ClaimRequest) {
        let hint = self.hints.claim(&self.key, claim, Deadline::UNKNOWN).await;
        let was_absent = self.expected.is_none();
        let verdict = self.apply(Operation::Claim(claim));
        if was_absent {
            self.read_expiry_of_hint(claim).await;
        }
        self.check(claim, hint.expect("answered"), verdict);
    }

    async fn look(&mut self, claim: &ClaimRequest) {
        let hint = self.hints.look(&self.key, claim, Deadline::UNKNOWN).await;
        let verdict = self.apply(Operation::Look(claim));
        self.check(claim, hint.expect("answered"), verdict);
    }

    /// Copies the expiry that the server has computed from its own clock to the expected value.
    async fn read_expiry_of_hint(&mut self, claim: &ClaimRequest) {
        let (_, expires) = self.read().await;
        let expires = StoreTime::from_ms(expires.try_into().expect("it expires"));
        let least = self.now.after(claim.lease);
        assert!(least <= expires && expires <= least.after(PATIENCE));
        if let Some(held) = &mut self.expected {
            held.expires = expires;
        }
    }

    fn check(&self, claim: &ClaimRequest, hint: Hint, verdict: Verdict) {
        let has_hint = self
            .expected
            .as_ref()
            .is_some_and(|held| match &held.value {
                Value::Whole(record, retention) => {
                    redis_text::write(record, *retention) == rules::hint_text(claim)
                }
                _ => false,
            });
        match (hint, verdict) {
            (Hint::Stored, Verdict::Ask) => assert!(has_hint),
            (Hint::Ask, Verdict::Ask) => {}
            (Hint::Blocked(Blocked::Mismatch), Verdict::Mismatch) => {}
            (
                Hint::Blocked(Blocked::InProgress { retry_after }),
                Verdict::InProgress { lease_end },
            ) => {
                let most = lease_end.since(self.now);
                assert!(retry_after <= most && most <= retry_after + PATIENCE);
            }
            (Hint::Blocked(Blocked::Replay(response)), Verdict::Replay(record)) => {
                assert_eq!(Some(&response), record.response());
            }
            (hint, verdict) => panic!("{hint:?}, {verdict:?}: {:?}", self.expected),
        }
    }

    fn instant(&self, finished: Finished) -> StoreTime {
        let held = self.expected.as_ref().and_then(|held| match &held.value {
            Value::Whole(record, _) | Value::Truncated(record) => record.finished_at(),
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

    async fn keep(
        &mut self,
        claimed: Option<&ClaimRequest>,
        other: &ClaimRequest,
        finished_at: StoreTime,
    ) {
        self.results += 1;
        let claim = claimed.unwrap_or(other);
        let record = Record {
            state: State::Completed {
                finished_at,
                response: SavedResponse::new(StatusCode::OK, self.results.to_string()),
            },
            ..start(Start::New, None, claim, finished_at)
        };
        let (key, deadline) = (&self.key, Deadline::UNKNOWN);
        let kept = self.hints.store(key, &record, claimed, deadline).await;
        kept.expect("answered");
        let verdict = self.apply(Operation::Store(&record));
        // A result whose retention is over replaces its own hint, and expires at once.
        if verdict == Verdict::Discarded {
            let is_hint_of = |held: &mut Held| match &held.value {
                Value::Whole(record, retention) => claimed.is_some_and(|claim| {
                    redis_text::write(record, *retention) == rules::hint_text(claim)
                }),
                _ => false,
            };
            self.expected.take_if(is_hint_of);
        }
    }

    async fn remove(&mut self, owner: OwnerId) {
        let removed = self.hints.remove(&self.key, owner, Deadline::UNKNOWN).await;
        removed.expect("answered");
        self.apply(Operation::Remove(owner));
    }

    async fn damage(&mut self, damage: Damage) {
        let (value, text) = match (damage, self.expected.take().map(|held| held.value)) {
            (Damage::CutShort, Some(Value::Whole(record, retention))) => {
                let mut text = redis_text::write(&record, retention);
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
        let retention = self.hints.retention;
        simulated::apply(&mut self.expected, operation, retention, self.now)
    }

    /// The stored text and its expiry.
    async fn read(&self) -> (Raw, i64) {
        let key = [self.key.as_str()];
        let read: Result<(Raw, i64), _> = self.hints.client.run_script(&READ, &key, &[]).await;
        read.expect("read")
    }

    async fn compare(&self) {
        let (text, expires) = self.read().await;
        let Some(held) = &self.expected else {
            assert_eq!(text, Raw::Nil);
            return;
        };
        let Raw::BulkString(text) = text else {
            panic!("{held:?}: {text:?}");
        };
        let Value::Whole(record, retention) = &held.value else {
            assert!(redis_text::read(&text.into()).is_none());
            return;
        };
        assert_eq!(text, redis_text::write(record, *retention), "{held:?}");
        assert_eq!(expires, ms(held.expires));
    }

    async fn delete(&mut self) {
        let deleted = self.hints.client.delete(self.key.as_str()).await;
        deleted.expect("deleted");
        self.expected = None;
    }
}

fn ms(time: StoreTime) -> i64 {
    i64::try_from(time.as_ms()).expect("a time")
}

fn earlier(time: StoreTime, ms: i64) -> StoreTime {
    StoreTime::from_ms(time.as_ms().saturating_add_signed(-ms))
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
