use http::StatusCode;

use super::*;
use crate::lease::Lease;
use crate::{
    ClaimOutcome, Fingerprint, Idempotency, IdempotencyConfig, IdempotencyKey, OwnerId, SavedBody,
    Scope, Setup, Stores,
};

/// An engine over memory that stores bodies of at most this many bytes.
fn engine_storing(max_response_bytes: usize) -> Idempotency {
    let stores = Stores::memory();
    Idempotency::new(Setup {
        config: IdempotencyConfig {
            max_response_bytes,
            ..IdempotencyConfig::default()
        },
        ..Setup::of(stores)
    })
}

/// An engine without a store.
fn engine_without_store() -> Idempotency {
    Idempotency::new(Setup::of(Stores::default()))
}

fn fence() -> Fence {
    Fence {
        claim: ClaimRequest {
            owner: OwnerId::fresh(),
            fingerprint: Fingerprint::from_hex(&"a".repeat(64)).expect("a fingerprint"),
            policy: Policy::AtMostOnce,
            lease: Duration::from_secs(30),
            retention: Duration::from_secs(86_400),
        },
        attempt: 1,
        rev: 1,
        checkpoint: None,
    }
}

fn token(rev: Option<u64>) -> LeaseToken {
    let key = IdempotencyKey::parse("k").expect("a key");
    let claim = fence().claim;
    LeaseToken {
        key: RecordKey::new(&Scope::none(), &key),
        owner: claim.owner,
        attempt: 1,
        fingerprint: claim.fingerprint,
        rev,
    }
}

/// The lease of a claim in the engine's store, and its token.
async fn claimed(engine: &Idempotency) -> (Lease, LeaseToken) {
    let (token, mut fence) = (token(Some(1)), fence());
    fence.claim.owner = token.owner;
    let store = &engine.engine.store;
    let claimed = store.claim(&token.key, &fence.claim, Deadline::UNKNOWN);
    let ClaimOutcome::Claimed(grant) = claimed.await.expect("decided").value else {
        panic!("the key is free");
    };
    let (engine, key) = (Arc::clone(&engine.engine), token.key.clone());
    let never = Deadline::UNKNOWN;
    let lease = Lease::granted(engine, key, fence, never, grant, never);
    (lease, token)
}

#[test]
fn the_record_after_a_write_is_known_only_if_the_one_before_it_was() {
    let note = || Some(Bytes::from("note"));
    let renewal = Change::Renew(Duration::from_secs(30));
    let checkpoint = Change::Checkpoint("note".into());
    let stored = || WriteResult::Stored(None);
    let nothing = || Some(Bytes::new());
    let cases = [
        (stored(), &checkpoint, (4, nothing()), (5, note())),
        (stored(), &checkpoint, (4, None), (5, None)),
        (stored(), &renewal, (4, note()), (5, None)),
        (stored(), &renewal, (0, None), (0, None)),
        (WriteResult::TooLate, &renewal, (4, note()), (4, note())),
        (WriteResult::Outdated(7), &renewal, (4, note()), (7, None)),
        (
            WriteResult::Superseded(None),
            &renewal,
            (4, note()),
            (0, None),
        ),
    ];
    for (written, change, (rev, checkpoint), expected) in cases {
        let before = Fence {
            rev,
            checkpoint,
            ..fence()
        };
        let known = known_after(&written, change, before);
        assert_eq!((known.rev, known.checkpoint), expected, "{written:?}");
    }
}

#[test]
fn a_token_has_the_revision_of_its_lease() {
    for rev in [None, Some(3)] {
        let lease = Idempotency::in_memory().resume(token(rev), Deadline::UNKNOWN);
        assert_eq!(lease.token().rev, rev);
    }
}

/// If the holder has the revision, a write takes one round trip.
#[tokio::test]
async fn a_lease_knows_the_revision_of_its_last_write() {
    let (mut lease, _) = claimed(&Idempotency::in_memory()).await;
    assert_eq!(lease.checkpoint("a note").await, WriteResult::Stored(()));
    assert_eq!(lease.rev(), Some(2));
    assert_eq!(lease.writer.take_known().rev, 2);
    assert_eq!(lease.rev(), None, "a write is in flight");
}

#[tokio::test]
async fn a_checkpoint_is_limited_to_64_kib() {
    let (mut lease, _) = claimed(&Idempotency::in_memory()).await;
    let longest = vec![b'x'; 64 * 1024];
    let longer = vec![b'x'; 64 * 1024 + 1];
    assert_eq!(lease.checkpoint(longest).await, WriteResult::Stored(()));
    assert_eq!(lease.checkpoint(longer).await, WriteResult::TooLarge);
}

#[tokio::test]
async fn a_result_stored_as_a_summary_is_returned_whole_after_a_lost_reply() {
    let engine = engine_storing(10);
    let (lease, token) = claimed(&engine).await;
    let long = SavedResponse::new(StatusCode::CREATED, "longer than ten bytes");
    assert!(matches!(
        long.limited_to(10).body,
        SavedBody::Summary { .. }
    ));

    for lease in [lease, engine.resume(token, Deadline::UNKNOWN)] {
        let completion = lease.complete(long.clone()).await;
        assert_eq!(completion, WriteResult::Stored(long.clone()));
    }
}

#[tokio::test]
async fn a_write_is_retried_at_growing_intervals_until_the_deadline() {
    let engine = engine_without_store();
    let deadline = Deadline::after(Duration::from_millis(300));
    let mut lease = engine.resume(token(Some(1)), deadline);

    assert_eq!(lease.checkpoint("a note").await, WriteResult::NotDurable);

    // The retries start after 20, 60, 140 and 300 ms at the earliest.
    let asked = engine.counts().degraded;
    assert!((1..=5).contains(&asked), "{asked}");
}
