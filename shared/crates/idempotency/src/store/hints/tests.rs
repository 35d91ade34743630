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
        let kept = self.hints.store(&self.key, record, Deadline::UNKNOWN).await;
        kept.expect("answered");
    }

    async fn claim(&self, claim: &ClaimRequest) -> Hint {
        let hint = self.hints.claim(&self.key, claim, Deadline::UNKNOWN).await;
        hint.expect("answered")
    }

    async fn answer(&self) -> Option<String> {
        let text: Option<String> = self.redis.query(&["GET", self.key.as_str()]).await;
        let record = Record::from_text(&text?.into()).expect("a record");
        let response = record.into_response()?;
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

    // Another program stored the expired result for longer; Redis does not replay that result
    // either.
    let over = result("over", now - retention + 59_000).to_text();
    let over = String::from_utf8(over).expect("text");
    let set = ["SET", front.key.as_str(), &over];
    front.redis.command(&set).await;
    assert!(matches!(front.claim(&claim()).await, Hint::Ask));
}

#[tokio::test]
async fn a_claim_replaces_nothing() {
    let front = Front::new().await;
    let (first, second) = (claim(), claim());
    assert!(matches!(front.claim(&first).await, Hint::Ask));
    assert!(matches!(front.claim(&first).await, Hint::Ask));
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
