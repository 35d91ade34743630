//! Delayed messages to the Redis cache in front of MongoDB, on a real server.

mod pair;
mod parity;

use foundation::secret::Secrets;
use harness::RedisServer;
use http::StatusCode;
use redis_client::RedisConfig;

use super::*;
use crate::decision::{Start, start};
use crate::record::State;
use crate::{Fingerprint, IdempotencyKey, Policy, Request, SavedResponse, Scope};

struct Front {
    redis: RedisServer,
    hints: Hints,
    key: RecordKey,
}

const RETENTION: Duration = Duration::from_secs(600);

impl Front {
    async fn new() -> Self {
        let redis = RedisServer::start().await;
        let client = RedisClient::new(&RedisConfig::at(redis.url()), &Secrets::without_store());
        Self {
            hints: Hints::new(client, RETENTION, None),
            key: RecordKey::new(&Scope::none(), &IdempotencyKey::parse("k").expect("a key")),
            redis,
        }
    }

    /// The server's time in milliseconds.
    async fn now(&self) -> u64 {
        let (seconds, micros): (u64, u64) = self.redis.query(&["TIME"]).await;
        seconds * 1_000 + micros / 1_000
    }

    async fn keep(&self, record: &Record) {
        self.keep_for(record, None).await;
    }

    /// Stores a result that most likely replaces the hint of this claim.
    async fn keep_for(&self, record: &Record, replaces: Option<&ClaimRequest>) {
        let (key, deadline) = (&self.key, Deadline::UNKNOWN);
        let kept = self.hints.store(key, record, replaces, deadline).await;
        kept.expect("answered");
    }

    async fn claim(&self, claim: &ClaimRequest) -> Hint {
        let hint = self.hints.claim(&self.key, claim, Deadline::UNKNOWN).await;
        hint.expect("answered")
    }

    async fn answer(&self) -> Option<String> {
        let text: Option<String> = self.redis.query(&["GET", self.key.as_str()]).await;
        let stored = redis_text::read(&text?.into()).expect("a record");
        let response = stored.record.into_response()?;
        let body = response.whole_body().expect("whole");
        Some(String::from_utf8_lossy(body).into_owned())
    }
}

fn claim() -> ClaimRequest {
    ClaimRequest {
        owner: OwnerId::fresh(),
        fingerprint: Fingerprint::of(&Request::default()).expect("unambiguous"),
        policy: Policy::AtMostOnce,
        lease: Duration::from_secs(30),
        retention: RETENTION,
    }
}

fn result(answer: &'static str, finished_at: u64) -> Record {
    let finished_at = StoreTime::from_ms(finished_at);
    let state = State::Completed {
        finished_at,
        response: SavedResponse::new(StatusCode::OK, answer),
    };
    Record {
        state,
        ..start(Start::New, None, &claim(), finished_at)
    }
}

#[tokio::test]
async fn a_delayed_older_result_is_discarded() {
    let front = Front::new().await;
    let now = front.now().await;
    front.keep(&result("newer", now)).await;
    front.keep(&result("older", now - 1_000)).await;
    assert_eq!(front.answer().await.as_deref(), Some("newer"));
    front.keep(&result("newest", now + 1)).await;
    assert_eq!(front.answer().await.as_deref(), Some("newest"));
}

#[tokio::test]
async fn a_result_expires_a_minute_before_its_retention_ends() {
    let front = Front::new().await;
    let now = front.now().await;
    let retention = whole_ms(RETENTION);
    front.keep(&result("over", now - retention + 59_000)).await;
    assert_eq!(front.answer().await, None);
    front
        .keep(&result("not over", now - retention + 70_000))
        .await;
    let left: u64 = front.redis.query(&["PTTL", front.key.as_str()]).await;
    assert!((5_000..=10_000).contains(&left), "{left}");

    // Another program stored the expired result without an expiry, or with a longer expiry. Redis replays neither
    // result.
    let over = redis_text::write(&result("over", now - retention), front.hints.retention);
    let over = String::from_utf8(over).expect("text");
    let key = front.key.as_str();
    front.redis.command(&["SET", key, &over]).await;
    assert!(matches!(front.claim(&claim()).await, Hint::Ask));
    let too_long = (retention + 1_000).to_string();
    front.redis.command(&["PEXPIRE", key, &too_long]).await;
    assert!(matches!(front.claim(&claim()).await, Hint::Ask));
}

#[tokio::test]
async fn a_claim_replaces_nothing() {
    let front = Front::new().await;
    let (first, second) = (claim(), claim());
    assert!(matches!(front.claim(&first).await, Hint::Stored));
    assert!(matches!(front.claim(&first).await, Hint::Stored), "again");
    assert!(matches!(
        front.claim(&second).await,
        Hint::Blocked(Blocked::InProgress { .. })
    ));
    let other = ClaimRequest {
        fingerprint: Fingerprint::of(&Request {
            payload: b"other",
            ..Request::default()
        })
        .expect("unambiguous"),
        ..claim()
    };
    assert!(matches!(front.claim(&other).await, Hint::Ask));
    front.keep(&result("result", front.now().await)).await;
    for claim in [&first, &second] {
        assert!(matches!(
            front.claim(claim).await,
            Hint::Blocked(Blocked::Replay(_))
        ));
    }
    assert!(matches!(
        front.claim(&other).await,
        Hint::Blocked(Blocked::Mismatch)
    ));
    let removed = front
        .hints
        .remove(&front.key, first.owner, Deadline::UNKNOWN);
    removed.await.expect("answered");
    assert_eq!(front.answer().await.as_deref(), Some("result"));
}

/// The first result replaces the hint of its claim. At the second result, the key already has a result.
#[tokio::test]
async fn a_result_replaces_its_hint_and_no_newer_result() {
    let front = Front::new().await;
    let claim = claim();
    let now = front.now().await;
    assert!(matches!(front.claim(&claim).await, Hint::Stored));
    front.keep_for(&result("first", now), Some(&claim)).await;
    assert_eq!(front.answer().await.as_deref(), Some("first"));
    front
        .keep_for(&result("older", now - 1), Some(&claim))
        .await;
    assert_eq!(front.answer().await.as_deref(), Some("first"));
    let left: u64 = front.redis.query(&["PTTL", front.key.as_str()]).await;
    let retention = whole_ms(front.hints.retention);
    assert!((retention - 10_000..=retention).contains(&left), "{left}");
}

/// The retention of the result is over before the result is copied. The hint of the claim is removed.
#[tokio::test]
async fn a_result_that_is_over_is_not_stored() {
    let front = Front::new().await;
    let claim = claim();
    let over = front.now().await - whole_ms(RETENTION);
    assert!(matches!(front.claim(&claim).await, Hint::Stored));
    front.keep_for(&result("over", over), Some(&claim)).await;
    assert_eq!(front.answer().await, None);
}

/// An older version, without plain commands, wrote the hint and the result.
#[tokio::test]
async fn values_of_an_older_version_are_left_to_mongodb() {
    let front = Front::new().await;
    let now = front.now().await;
    let older = |record: Record| String::from_utf8(record.to_text()).expect("text");
    let newer_result = older(result("newer", now));
    let hint = older(start(Start::New, None, &claim(), StoreTime::from_ms(now)));
    let key = front.key.as_str();
    for value in [&hint, &newer_result] {
        front
            .redis
            .command(&["SET", key, value, "PX", "500000"])
            .await;
        assert!(matches!(front.claim(&claim()).await, Hint::Ask));
    }
    front.keep(&result("older", now - 1_000)).await;
    let kept: String = front.redis.query(&["GET", key]).await;
    assert_eq!(kept, newer_result);
    front.keep(&result("newest", now + 1)).await;
    assert_eq!(front.answer().await.as_deref(), Some("newest"));
}
