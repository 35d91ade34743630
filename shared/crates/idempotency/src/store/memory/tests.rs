use http::StatusCode;

use super::records::RECORD_BYTES;
use super::*;
use crate::{Fingerprint, IdempotencyKey, Policy, Request, SavedResponse, Scope};

const RETENTION: Duration = Duration::from_secs(86_400);
const LEASE: Duration = Duration::from_secs(30);

fn store(entries: usize, bytes: usize) -> MemoryStore {
    MemoryStore::new(&IdempotencyConfig {
        memory_entries: entries,
        memory_bytes: bytes,
        ..IdempotencyConfig::default()
    })
}

fn large() -> MemoryStore {
    store(1_000, 1 << 20)
}

fn key(name: &str) -> RecordKey {
    let key = IdempotencyKey::parse(name).expect("a key");
    RecordKey::new(&Scope::none(), &key)
}

fn claim(lease: Duration) -> ClaimRequest {
    ClaimRequest {
        owner: OwnerId::fresh(),
        fingerprint: Fingerprint::of(&Request::default()).expect("unambiguous"),
        policy: Policy::AtMostOnce,
        lease,
        retention: RETENTION,
    }
}

fn fence(claim: &ClaimRequest) -> Fence {
    Fence {
        claim: claim.clone(),
        attempt: 1,
        rev: 1,
        checkpoint: None,
    }
}

fn response(bytes: usize) -> SavedResponse {
    SavedResponse::new(StatusCode::CREATED, vec![b'x'; bytes])
}

fn claimed(
    store: &MemoryStore,
    key: &RecordKey,
    claim: &ClaimRequest,
) -> Result<ClaimOutcome<Grant>, StoreError> {
    store.claim_at(&mut store.records.lock(), key, claim, store.now())
}

fn started(store: &MemoryStore, key: &RecordKey, claim: &ClaimRequest) {
    let claimed = claimed(store, key, claim);
    assert!(
        matches!(claimed, Ok(ClaimOutcome::Claimed(_))),
        "{claimed:?}"
    );
}

fn change(
    store: &MemoryStore,
    key: &RecordKey,
    claim: &ClaimRequest,
    change: &Change,
) -> Result<WriteResult<Option<SavedResponse>>, StoreError> {
    let mut records = store.records.lock();
    store.change_at(&mut records, key, &fence(claim), change, store.now())
}

fn changed(store: &MemoryStore, key: &RecordKey, claim: &ClaimRequest, change: &Change) {
    let changed = self::change(store, key, claim, change);
    assert!(
        matches!(changed, Ok(WriteResult::Stored(None))),
        "{changed:?}"
    );
}

fn record(store: &MemoryStore, key: &RecordKey) -> Option<Record> {
    store.records.lock().get(key).cloned()
}

#[test]
fn the_size_of_a_record_includes_key_checkpoint_and_response() {
    let (store, key, claim) = (large(), key("four"), claim(LEASE));
    started(&store, &key, &claim);
    let empty = record(&store, &key).expect("there");
    let base = RECORD_BYTES + key.as_str().len();
    assert_eq!(size(&key, &empty), base);
    let noted = Record {
        checkpoint: "note".into(),
        ..empty.clone()
    };
    assert_eq!(size(&key, &noted), base + 4);
    let completed = Record {
        state: State::Completed {
            finished_at: EPOCH,
            response: response(7),
        },
        ..noted
    };
    assert_eq!(size(&key, &completed), base + 11);
}

#[test]
fn the_size_of_all_records_is_counted() {
    let (store, local, removed) = (large(), key("kept"), key("removed"));
    let claims = [claim(LEASE), claim(LEASE)];
    started(&store, &local, &claims[0]);
    started(&store, &removed, &claims[1]);
    changed(
        &store,
        &local,
        &claims[0],
        &Change::Checkpoint("note".into()),
    );
    store.records.lock().remove(&removed);

    let records = store.records.lock();
    assert_eq!(records.by_key.len(), 1);
    assert_eq!(records.bytes, size(&local, &records.by_key[&local].record));
}

#[test]
fn the_memory_is_full_exactly_at_its_limits() {
    let empty = RECORD_BYTES + key("a").as_str().len();
    let store = store(2, 2 * empty + 4);
    let claims = [claim(LEASE), claim(LEASE), claim(LEASE)];
    for (name, claim) in ["a", "b"].into_iter().zip(&claims) {
        started(&store, &key(name), claim);
    }
    let third = claimed(&store, &key("c"), &claims[2]);
    assert_eq!(third.err(), Some(StoreError::Full), "two entries");

    let note = |text: &'static str| {
        let note = Change::Checkpoint(text.into());
        change(&store, &key("a"), &claims[0], &note)
    };
    assert_eq!(note("12345").err(), Some(StoreError::Full));
    assert!(matches!(note("1234"), Ok(WriteResult::Stored(None))));

    // A result is always stored.
    changed(
        &store,
        &key("b"),
        &claims[1],
        &Change::Complete(response(5)),
    );
    let local = record(&store, &key("b")).expect("there").into_response();
    assert_eq!(local, Some(response(5).limited_to(0)));
}

#[test]
fn the_limit_in_bytes_applies_alone() {
    let empty = RECORD_BYTES + key("a").as_str().len();
    let store = store(9, 2 * empty - 1);
    started(&store, &key("a"), &claim(LEASE));
    let second = claimed(&store, &key("b"), &claim(LEASE));
    assert_eq!(second.err(), Some(StoreError::Full));
}

#[test]
fn expired_records_make_room() {
    let (store, first) = (store(1, 1 << 20), claim(LEASE));
    started(&store, &key("a"), &first);
    changed(&store, &key("a"), &first, &Change::Release);
    let later = store.now().after(RETENTION);
    let mut records = store.records.lock();
    let claimed = store.claim_at(&mut records, &key("b"), &claim(LEASE), later);
    assert!(matches!(claimed, Ok(ClaimOutcome::Claimed(_))));
    drop(records);
    assert_eq!(record(&store, &key("a")), None);
}

#[test]
fn a_repeated_claim_succeeds_again() {
    let (store, key, claim) = (large(), key("k"), claim(LEASE));
    started(&store, &key, &claim);
    let again = claimed(&store, &key, &claim);
    let Ok(ClaimOutcome::Claimed(grant)) = again else {
        panic!("{again:?}");
    };
    assert!(grant.repeated);
}

#[tokio::test]
async fn keys_are_listed_in_order() {
    let store = large();
    for name in ["b", "c", "a"] {
        started(&store, &key(name), &claim(LEASE));
    }
    let keys = store.list(2, Deadline::UNKNOWN).await;
    assert_eq!(keys, Ok(vec![key("a"), key("b")]));
}

#[tokio::test]
async fn a_resolution_replaces_only_the_record_that_was_seen() {
    let (store, key, claim) = (large(), key("k"), claim(LEASE));
    started(&store, &key, &claim);
    let seen = record(&store, &key).expect("there").version();
    let resolution = Resolution::Completed(response(1));
    for expected in [ResolveResult::Stored, ResolveResult::Refused] {
        let owner = OwnerId::fresh();
        let resolved = store.resolve(&key, seen, owner, &resolution, Deadline::UNKNOWN);
        assert_eq!(resolved.await, Ok(expected));
    }
    let resolved = record(&store, &key).expect("there");
    assert_eq!(resolved.into_response(), Some(response(1)));
}
