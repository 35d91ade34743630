//! Rare replies of the script.

use bytes::Bytes;
use foundation::secret::Secrets;
use harness::RedisServer;
use http::StatusCode;
use redis_client::{Expiry, RedisConfig};

use super::super::*;
use crate::{Fingerprint, IdempotencyKey, Policy, Request, SavedResponse, Scope};

const RETENTION: Duration = Duration::from_secs(86_400);

/// A store with one claim.
struct ClaimedKey {
    store: RedisStore,
    _redis: RedisServer,
    key: RecordKey,
    fence: Fence,
}

async fn claimed() -> ClaimedKey {
    let redis = RedisServer::start().await;
    let client = RedisClient::new(&RedisConfig::at(redis.url()), &Secrets::without_store());
    let store = RedisStore::new(client, RETENTION);
    let claim = ClaimRequest {
        owner: OwnerId::fresh(),
        fingerprint: Fingerprint::of(&Request::default()).expect("unambiguous"),
        policy: Policy::AtMostOnce,
        lease: Duration::from_secs(30),
        retention: RETENTION,
    };
    let key = key("k");
    let started = store.claim(&key, &claim, Deadline::UNKNOWN).await;
    started.expect("claimed");
    let fence = Fence {
        claim,
        attempt: 1,
        rev: 1,
        checkpoint: Some(Bytes::new()),
    };
    ClaimedKey {
        store,
        _redis: redis,
        key,
        fence,
    }
}

fn key(name: &str) -> RecordKey {
    let key = IdempotencyKey::parse(name).expect("a key");
    RecordKey::new(&Scope::none(), &key)
}

impl ClaimedKey {
    async fn change(&self, key: &RecordKey, change: &Change) -> WriteResult<Option<SavedResponse>> {
        let changed = self
            .store
            .change(key, &self.fence, change, Deadline::UNKNOWN);
        changed.await.expect("decided").value
    }
}

#[tokio::test]
async fn a_repeated_resolution_recognises_its_owner() {
    let ClaimedKey {
        store, key, fence, ..
    } = &claimed().await;
    let found = store.read(key, Deadline::UNKNOWN).await;
    let Ok(Found::Record(record, _)) = found else {
        panic!("no record: {found:?}");
    };
    assert_eq!(record.owner, fence.claim.owner);
    let seen = record.version();
    let response = SavedResponse::new(StatusCode::OK, "resolved");
    let resolution = Resolution::Completed(response);
    let owner = OwnerId::fresh();
    for (owner, expected) in [
        (owner, ResolveResult::Stored),
        (owner, ResolveResult::Stored),
        (OwnerId::fresh(), ResolveResult::Refused),
    ] {
        let resolved = store.resolve(key, seen, owner, &resolution, Deadline::UNKNOWN);
        assert_eq!(resolved.await, Ok(expected));
    }
}

#[tokio::test]
async fn a_repeated_release_succeeds() {
    let claimed = claimed().await;
    let released = claimed.change(&claimed.key, &Change::Release).await;
    assert!(
        matches!(released, WriteResult::Stored(None)),
        "{released:?}"
    );
    let again = claimed.change(&claimed.key, &Change::Release).await;
    assert!(matches!(again, WriteResult::Stored(None)), "{again:?}");
}

#[tokio::test]
async fn a_key_without_a_record_is_free() {
    let (claimed, absent) = (claimed().await, key("absent"));
    let released = claimed.change(&absent, &Change::Release).await;
    assert!(
        matches!(released, WriteResult::Superseded(None)),
        "{released:?}"
    );
    let found = claimed.store.read(&absent, Deadline::UNKNOWN).await;
    assert_eq!(found, Ok(Found::Nothing));
}

/// An older version, without plain commands, wrote the record. This version reads it.
#[tokio::test]
async fn records_of_an_older_version_are_read() {
    let ClaimedKey {
        store, fence, key, ..
    } = &claimed().await;
    let found = store.read(key, Deadline::UNKNOWN).await;
    let Ok(Found::Record(running, _)) = found else {
        panic!("no record: {found:?}");
    };
    let response = SavedResponse::new(StatusCode::OK, "an older result");
    let completed = decision::change(
        Some(&running),
        fence,
        &Change::Complete(response.clone()),
        running.leased_at,
    );
    let completed = completed.write.expect("a result");
    let write = async |record: &Record| {
        let written = store
            .client
            .set(key.as_str(), record.to_text(), Expiry::After(RETENTION));
        written.await.expect("written");
    };
    let other = ClaimRequest {
        owner: OwnerId::fresh(),
        ..fence.claim.clone()
    };
    let claim = async || {
        let claimed = store.claim(key, &other, Deadline::UNKNOWN).await;
        claimed.expect("decided").value
    };

    write(&running).await;
    let while_running = claim().await;
    let renewal = Change::Renew(Duration::from_secs(60));
    let renewed = store.change(key, fence, &renewal, Deadline::UNKNOWN).await;
    write(&completed).await;
    let replayed = claim().await;

    assert!(
        matches!(
            while_running,
            ClaimOutcome::Blocked(Blocked::InProgress { .. })
        ),
        "{while_running:?}"
    );
    assert_eq!(renewed.expect("decided").value, WriteResult::Stored(None));
    assert!(
        matches!(&replayed, ClaimOutcome::Blocked(Blocked::Replay(stored)) if *stored == response),
        "{replayed:?}"
    );
}
