use std::time::Duration;

use http::StatusCode;

use super::memory::MemoryStore;
use super::reject::Reject;
use super::*;
use crate::{
    Fingerprint, IdempotencyConfig, IdempotencyKey, Policy, Request, SavedResponse, Scope, decision,
};

fn key(name: &str) -> RecordKey {
    let key = IdempotencyKey::parse(name).expect("a key");
    RecordKey::new(&Scope::none(), &key)
}

fn claim() -> ClaimRequest {
    ClaimRequest {
        owner: OwnerId::fresh(),
        fingerprint: Fingerprint::of(&Request::default()).expect("unambiguous"),
        policy: Policy::AtMostOnce,
        lease: Duration::from_secs(30),
        retention: Duration::from_secs(86_400),
    }
}

fn at(ms: u64) -> StoreTime {
    StoreTime::from_ms(1_764_000_000_000 + ms)
}

#[test]
fn a_page_starts_after_a_key_and_has_one_prefix() {
    let [before, after, behind] = [key("pay-1"), key("pay-2"), key("pay-3")];
    let page = |after| Page {
        prefix: "idempotency:pay-",
        after,
        limit: 9,
    };
    assert!(page(None).takes(&before));
    assert!(!page(None).takes(&key("other")));
    assert!(page(Some(&after)).takes(&behind));
    assert!(!page(Some(&after)).takes(&after));
    assert!(!page(Some(&after)).takes(&before));
    assert!(
        !page(Some(&after)).takes(&key("queue")),
        "after the key, but another prefix"
    );
}

#[tokio::test]
async fn unfinished_records_come_in_pages() {
    let store = MemoryStore::new(&IdempotencyConfig::default());
    for name in ["a", "b", "c", "d"] {
        let (key, claim, deadline) = (key(name), claim(), Deadline::UNKNOWN);
        let claimed = store.claim(&key, &claim, deadline).await;
        claimed.expect("claimed");
        if name == "b" {
            let fence = Fence {
                claim,
                attempt: 1,
                rev: 1,
                checkpoint: None,
            };
            let released = store.change(&key, &fence, &Change::Release, deadline);
            released.await.expect("released");
        }
    }
    let page = async |after: Option<&RecordKey>| {
        let page = Page {
            prefix: "",
            after,
            limit: 2,
        };
        let found = store.unfinished(page, Deadline::UNKNOWN).await;
        let found = found.expect("read").into_iter();
        found.map(|(key, _)| key).collect::<Vec<_>>()
    };
    assert_eq!(page(None).await, [key("a"), key("c")]);
    assert_eq!(page(Some(&key("c"))).await, [key("d")]);
}

#[test]
fn an_unreadable_value_is_unfinished() {
    assert!(Found::Unreadable.is_unfinished());
    assert!(!Found::Nothing.is_unfinished());
}

#[test]
fn only_a_takeover_is_limited_by_the_provider() {
    let within = Policy::Rerun {
        within: Duration::from_secs(60),
    };
    let cases = [
        (Policy::AtMostOnce, true, None),
        (Policy::RerunAlways, true, None),
        (within, false, None),
        (within, true, Some(Duration::from_secs(50))),
    ];
    for (policy, took_over, expected) in cases {
        let claim = ClaimRequest { policy, ..claim() };
        let started = decision::start(decision::Start::New, None, &claim, at(0));
        let record = Record {
            took_over,
            ..started
        };
        let grant = Grant::of(&record, Repeated::No, at(10_000));
        assert_eq!(grant.recognised_for, expected, "{policy:?}, {took_over}");
        assert!(!grant.repeated);
        assert!(Grant::of(&record, Repeated::Yes, at(10_000)).repeated);
    }
}

#[test]
fn a_completed_record_replays_its_response() {
    let response = SavedResponse::new(StatusCode::CREATED, "charged");
    let record = Record {
        state: State::Completed {
            finished_at: at(5),
            response: response.clone(),
        },
        ..decision::start(decision::Start::New, None, &claim(), at(0))
    };
    let blocked = decision::blocked(Some(&record), &claim(), at(10));
    assert_eq!(blocked, Some(Blocked::Replay(response)));
}

#[test]
fn an_unreadable_value_is_never_replaced() {
    let (damaged, now, unknown) = (
        &Err(Unreadable),
        at(5),
        Some(Blocked::Unknown(UnknownCause::Unreadable)),
    );
    let fence = Fence {
        claim: claim(),
        attempt: 1,
        rev: 1,
        checkpoint: None,
    };
    let seen = decision::start(decision::Start::New, None, &claim(), at(0)).version();

    let claimed = step::claim(damaged, &claim(), now);
    let completed = Change::Complete(SavedResponse::new(StatusCode::CREATED, "charged"));
    let changed = step::change(damaged, &fence, &completed, now);
    let resolved = step::resolve(damaged, seen, OwnerId::fresh(), &Resolution::Released, now);

    assert!(claimed.write.is_none() && changed.write.is_none() && resolved.write.is_none());
    assert!(
        matches!(claimed.answer, ClaimOutcome::Blocked(blocked) if Some(&blocked) == unknown.as_ref())
    );
    assert!(matches!(changed.answer, WriteResult::Superseded(blocked) if blocked == unknown));
    assert_eq!(resolved.answer, ResolveResult::Refused);
    assert_eq!(step::look(damaged, &claim(), now), unknown);
    assert_eq!(Found::of(damaged.clone(), now), Found::Unreadable);
}

#[test]
fn a_repeated_resolution_succeeds() {
    let abandoned = decision::start(decision::Start::New, None, &claim(), at(0));
    let (seen, owner, later) = (abandoned.version(), OwnerId::fresh(), at(60_000));
    let resolve = |record: &Record, owner| {
        let completed = Resolution::Completed(SavedResponse::new(StatusCode::CREATED, "charged"));
        step::resolve(&Ok(Some(record.clone())), seen, owner, &completed, later)
    };

    let first = resolve(&abandoned, owner);
    let written = first.write.expect("written");
    let again = resolve(&written, owner);
    let another = resolve(&written, OwnerId::fresh());

    assert_eq!(first.answer, ResolveResult::Stored);
    assert_eq!((again.answer, again.write), (ResolveResult::Stored, None));
    assert_eq!(
        (another.answer, another.write),
        (ResolveResult::Refused, None)
    );
}

#[test]
fn each_store_has_the_name_used_in_responses_and_metrics() {
    let names = [
        Backend::Redis,
        Backend::MongoDb,
        Backend::Memory,
        Backend::Other("dynamodb"),
    ];
    for (backend, name) in names
        .into_iter()
        .zip(["redis", "mongodb", "memory", "dynamodb"])
    {
        assert_eq!(backend.name(), name);
        assert_eq!(serde_json::to_value(backend).expect("text"), name);
    }
}

#[tokio::test]
async fn without_a_store_listing_keys_fails() {
    let keys = Reject.list(9, Deadline::UNKNOWN).await;
    assert_eq!(keys, Err(StoreError::NoStore));
}
