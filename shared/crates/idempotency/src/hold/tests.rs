use http::StatusCode;

use super::*;
use crate::{Idempotency, IdempotencyConfig, IdempotencyKey, SavedBody, Scope, Setup, Stores};

/// An engine over memory, which keeps bodies of at most this many bytes.
fn engine_keeping(max_response_bytes: usize) -> Idempotency {
    let stores = Stores::memory();
    Idempotency::new(Setup {
        config: IdempotencyConfig {
            max_response_bytes,
            ..IdempotencyConfig::default()
        },
        ..Setup::of(stores)
    })
}

/// An engine over nothing: no store decides.
fn engine_without_store() -> Idempotency {
    Idempotency::new(Setup::of(Stores::default()))
}

fn fence() -> Fence {
    Fence {
        claim: Claim {
            owner: OwnerId::fresh(),
            fingerprint: Fingerprint::from_hex(&"a".repeat(64)).expect("a fingerprint"),
            policy: Policy::AtMostOnce,
            lease: Duration::from_secs(30),
            window: Duration::from_secs(86_400),
        },
        attempt: 1,
        rev: 1,
    }
}

fn token(rev: Option<u64>) -> Token {
    let key = IdempotencyKey::parse("k").expect("a key");
    let claim = fence().claim;
    Token {
        key: RecordKey::new(&Scope::none(), &key),
        owner: claim.owner,
        attempt: 1,
        fingerprint: claim.fingerprint,
        rev,
    }
}

/// The hold of a claim that the engine's store has, and its token.
async fn claimed(engine: &Idempotency) -> (Hold, Token) {
    let (token, mut fence) = (token(Some(1)), fence());
    fence.claim.owner = token.owner;
    let store = &engine.engine.store;
    let claim = store.claim(&token.key, &fence.claim, Deadline::UNKNOWN);
    claim.await.expect("claimed");
    let key = token.key.clone();
    let hold = Hold::new(Arc::clone(&engine.engine), key, fence, Deadline::UNKNOWN);
    (hold, token)
}

#[test]
fn the_revision_after_a_write_is_known_only_if_the_one_before_it_was() {
    let cases = [
        (Changed::Done, 4, 5),
        (Changed::Already(None), 4, 5),
        (Changed::Done, 0, 0),
        (Changed::Already(None), 0, 0),
        (Changed::TooLate, 4, 4),
        (Changed::Moved(7), 4, 7),
        (Changed::Superseded(Standing::Free), 4, 0),
    ];
    for (changed, before, expected) in cases {
        assert_eq!(
            rev_after(&changed, before),
            expected,
            "{changed:?}, {before}"
        );
    }
}

#[test]
fn a_token_has_the_revision_that_its_hold_knows() {
    for rev in [None, Some(3)] {
        let hold = Idempotency::in_memory().resume(token(rev), Deadline::UNKNOWN);
        assert_eq!(hold.token().rev, rev);
    }
}

/// With its revision known, a write is one round trip.
#[tokio::test]
async fn a_hold_knows_the_revision_of_its_last_write() {
    let (hold, _) = claimed(&Idempotency::in_memory()).await;
    assert_eq!(hold.checkpoint("a note").await, Noted::Done);
    assert_eq!(hold.rev(), Some(2));
    assert_eq!(hold.take_rev(), 2);
    assert_eq!(hold.rev(), None, "a write is on its way");
}

#[tokio::test]
async fn a_note_has_at_most_64_kib() {
    let (hold, _) = claimed(&Idempotency::in_memory()).await;
    let longest = vec![b'x'; 64 * 1024];
    let longer = vec![b'x'; 64 * 1024 + 1];
    assert_eq!(hold.checkpoint(longest).await, Noted::Done);
    assert_eq!(hold.checkpoint(longer).await, Noted::TooLong);
}

#[tokio::test]
async fn a_result_stored_as_a_summary_is_returned_whole_though_a_reply_was_lost() {
    let engine = engine_keeping(10);
    let (hold, token) = claimed(&engine).await;
    let long = SavedResponse::new(StatusCode::CREATED, "longer than ten bytes");
    assert!(matches!(
        long.limited_to(10).body,
        SavedBody::Summary { .. }
    ));

    for hold in [hold, engine.resume(token, Deadline::UNKNOWN)] {
        let completion = hold.complete(long.clone()).await;
        assert_eq!(completion, Completion::Completed(long.clone()));
    }
}

#[tokio::test]
async fn a_store_that_does_not_decide_is_asked_at_growing_intervals_until_the_deadline() {
    let engine = engine_without_store();
    let deadline = Deadline::after(Duration::from_millis(300));
    let hold = engine.resume(token(Some(1)), deadline);

    assert_eq!(hold.checkpoint("a note").await, Noted::NotDurable);

    // After 20, 60, 140 and 300 ms at the earliest.
    let asked = engine.counts().degraded;
    assert!((1..=5).contains(&asked), "{asked}");
}
