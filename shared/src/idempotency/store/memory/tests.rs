use http::StatusCode;

use super::*;
use crate::config::Config;
use crate::idempotency::{Fingerprint, IdempotencyKey, Policy, Request, SavedResponse, Scope};

const WINDOW: Duration = Duration::from_secs(86_400);
const LEASE: Duration = Duration::from_secs(30);

fn store(entries: usize, bytes: usize) -> MemoryStore {
    let config = Config::from_lookup(|_| None).expect("the defaults");
    MemoryStore::new(&IdempotencyConfig {
        memory_entries: entries,
        memory_bytes: bytes,
        ..config.idempotency
    })
}

fn large() -> MemoryStore {
    store(1_000, 1 << 20)
}

fn key(name: &str) -> RecordKey {
    let key = IdempotencyKey::parse(name).expect("a key");
    RecordKey::new(&Scope::none(), &key)
}

fn claim(lease: Duration) -> Claim {
    Claim {
        owner: OwnerId::fresh(),
        fingerprint: Fingerprint::of(&Request::default()).expect("unambiguous"),
        policy: Policy::AtMostOnce,
        lease,
        window: WINDOW,
    }
}

fn fence(claim: &Claim) -> Fence {
    Fence {
        claim: claim.clone(),
        attempt: 1,
        rev: 1,
    }
}

fn response(bytes: usize) -> SavedResponse {
    SavedResponse::new(StatusCode::CREATED, vec![b'x'; bytes])
}

/// Claims a key, and returns what was there before.
fn started(store: &MemoryStore, key: &RecordKey, claim: &Claim) -> Option<Kept> {
    let (claimed, before) = store.claim_at(key, claim, store.now()).expect("room");
    assert!(matches!(claimed, Claimed::Started(_)), "{claimed:?}");
    before
}

fn changed(store: &MemoryStore, key: &RecordKey, claim: &Claim, change: &Change) {
    let changed = store.change_at(key, &fence(claim), change, store.now());
    assert!(matches!(changed, Ok(Changed::Done)), "{changed:?}");
}

fn record(store: &MemoryStore, key: &RecordKey) -> Option<Record> {
    store.records.lock().get(key).cloned()
}

#[test]
fn a_record_takes_its_key_its_checkpoint_and_its_response() {
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
fn what_all_records_take_is_counted() {
    let (store, kept, removed) = (large(), key("kept"), key("removed"));
    let claims = [claim(LEASE), claim(LEASE)];
    started(&store, &kept, &claims[0]);
    started(&store, &removed, &claims[1]);
    changed(
        &store,
        &kept,
        &claims[0],
        &Change::Checkpoint("note".into()),
    );
    store.undo(&removed, claims[1].owner, None);

    let records = store.records.lock();
    assert_eq!(records.by_key.len(), 1);
    assert_eq!(records.bytes, size(&kept, &records.by_key[&kept].record));
}

#[test]
fn memory_is_full_at_its_limits_and_not_before() {
    let empty = RECORD_BYTES + key("a").as_str().len();
    let store = store(2, 2 * empty + 4);
    let claims = [claim(LEASE), claim(LEASE), claim(LEASE)];
    for (name, claim) in ["a", "b"].into_iter().zip(&claims) {
        started(&store, &key(name), claim);
    }
    let third = store.claim_at(&key("c"), &claims[2], store.now());
    assert_eq!(third.err(), Some(Undecided::Full), "two entries");

    let note = |text: &'static str| {
        let (fence, change) = (fence(&claims[0]), Change::Checkpoint(text.into()));
        store.change_at(&key("a"), &fence, &change, store.now())
    };
    assert_eq!(note("12345").err(), Some(Undecided::Full));
    assert!(matches!(note("1234"), Ok(Changed::Done)));

    // A result always finds room.
    changed(
        &store,
        &key("b"),
        &claims[1],
        &Change::Complete(response(5)),
    );
    let kept = record(&store, &key("b")).expect("there").into_response();
    assert_eq!(kept, Some(response(5).limited_to(0)));
}

#[test]
fn bytes_alone_fill_a_memory() {
    let empty = RECORD_BYTES + key("a").as_str().len();
    let store = store(9, 2 * empty - 1);
    started(&store, &key("a"), &claim(LEASE));
    let second = store.claim_at(&key("b"), &claim(LEASE), store.now());
    assert_eq!(second.err(), Some(Undecided::Full));
}

#[test]
fn room_is_made_of_what_is_over() {
    let (store, first) = (store(1, 1 << 20), claim(LEASE));
    started(&store, &key("a"), &first);
    changed(&store, &key("a"), &first, &Change::Release);
    let later = store.now().after(WINDOW);
    let claimed = store.claim_at(&key("b"), &claim(LEASE), later);
    assert!(matches!(claimed, Ok((Claimed::Started(_), None))));
    assert_eq!(record(&store, &key("a")), None);
}

#[test]
fn a_claim_is_undone_by_its_owner_and_only_while_it_is_in_progress() {
    let (store, key) = (large(), key("k"));
    let [first, second] = [claim(LEASE), claim(LEASE)];
    started(&store, &key, &first);
    changed(&store, &key, &first, &Change::Release);
    let released = record(&store, &key);
    let before = started(&store, &key, &second);
    assert_eq!(before.clone().map(|kept| kept.record), released);

    store.undo(&key, OwnerId::fresh(), None);
    assert_eq!(record(&store, &key).expect("there").owner, second.owner);
    store.undo(&key, second.owner, before.clone());
    assert_eq!(record(&store, &key), released);
    store.undo(&key, first.owner, None);
    assert_eq!(record(&store, &key), released, "it is released");
}

#[test]
fn a_repeated_claim_starts_again() {
    let (store, key, claim) = (large(), key("k"), claim(LEASE));
    started(&store, &key, &claim);
    let again = store.claim_at(&key, &claim, store.now());
    let Ok((Claimed::Started(grant), _)) = again else {
        panic!("{again:?}");
    };
    assert!(grant.repeated);
}

/// What the store behind this one has started.
fn grant(attempt: u64, rev: u64, first_at: StoreTime) -> Grant {
    Grant {
        attempt,
        rev,
        repeated: false,
        took_over: false,
        checkpoint: "".into(),
        first_at,
        lease_left: LEASE,
        recognised_for: None,
    }
}

#[test]
fn attempts_and_writes_are_counted_as_another_store_does_for_the_owner_alone() {
    let (store, key, claim) = (large(), key("k"), claim(LEASE));
    let theirs = grant(5, 9, StoreTime::from_ms(5));
    started(&store, &key, &claim);
    store.adopt(&key, OwnerId::fresh(), &theirs);
    assert_eq!(store.rev(&key, &fence(&claim)), Some(1));
    store.adopt(&key, claim.owner, &theirs);
    let fifth = Fence {
        attempt: 5,
        ..fence(&claim)
    };
    assert_eq!(store.rev(&key, &fence(&claim)), None, "the fifth attempt");
    assert_eq!(store.rev(&key, &fifth), Some(9));
}

#[test]
fn a_record_catches_up_with_the_writes_of_its_owner_and_never_goes_back() {
    let (store, key, claim) = (large(), key("k"), claim(LEASE));
    started(&store, &key, &claim);
    let other = fence(&self::claim(LEASE));
    for (known, expected) in [(4, 4), (3, 4)] {
        store.catch_up(&key, &fence(&claim), known);
        assert_eq!(store.rev(&key, &fence(&claim)), Some(expected));
    }
    store.catch_up(&key, &other, 9);
    assert_eq!(store.rev(&key, &fence(&claim)), Some(4));
}

#[test]
fn what_another_store_knows_is_learned_of_abandoned_work_alone() {
    let finished_at = StoreTime::from_ms(5);
    let first_there = StoreTime::from_ms(3);
    let completed = State::Completed {
        finished_at,
        response: response(1),
    };
    let released = State::Released { finished_at };
    let over = Duration::ZERO;
    let unknown = Some(Change::MarkUnknown);
    let free = Some(Change::Release);
    let cases = [
        ("running", LEASE, None, completed.clone(), "in_progress"),
        ("abandoned", over, None, completed.clone(), "completed"),
        ("unknown", LEASE, unknown, completed.clone(), "completed"),
        ("released", LEASE, free, completed, "released"),
        ("released there", over, None, released, "released"),
        ("unknown there", over, None, State::Unknown, "in_progress"),
    ];
    for (case, lease, change, state, expected) in cases {
        let (store, key, claim) = (large(), key("k"), claim(lease));
        started(&store, &key, &claim);
        if let Some(change) = change {
            changed(&store, &key, &claim, &change);
        }
        store.adopt(&key, claim.owner, &grant(1, 1, first_there));
        let there = Record {
            state,
            first_at: first_there,
            ..record(&store, &key).expect("there")
        };
        store.learn(&key, there);
        let here = record(&store, &key).expect("there");
        assert_eq!(here.state.name(), expected, "{case}");
        assert_ne!(here.finished_at(), Some(finished_at), "{case}: its clock");
    }
}

#[test]
fn a_release_is_learned_of_the_work_that_both_stores_have_started() {
    let first_there = StoreTime::from_ms(3);
    let later = StoreTime::from_ms(4);
    let cases = [
        (
            "this attempt",
            Some(first_there),
            2,
            first_there,
            "released",
        ),
        ("a later one", Some(first_there), 3, first_there, "released"),
        (
            "an older one",
            Some(first_there),
            1,
            first_there,
            "in_progress",
        ),
        (
            "of a key forgotten since",
            Some(first_there),
            2,
            later,
            "in_progress",
        ),
        ("never started there", None, 2, first_there, "in_progress"),
    ];
    for (case, adopted, attempt, first_at, expected) in cases {
        let (store, key, claim) = (large(), key("k"), claim(Duration::ZERO));
        started(&store, &key, &claim);
        if let Some(first_at) = adopted {
            store.adopt(&key, claim.owner, &grant(2, 2, first_at));
        }
        let there = Record {
            state: State::Released {
                finished_at: StoreTime::from_ms(5),
            },
            attempt,
            first_at,
            ..record(&store, &key).expect("there")
        };
        let before = record(&store, &key).expect("there");
        store.learn(&key, there);
        let here = record(&store, &key).expect("there");
        assert_eq!(here.state.name(), expected, "{case}");
        assert_eq!(here.first_at, before.first_at, "{case}: its clock");
    }
}

#[test]
fn a_settlement_elsewhere_settles_the_record_of_the_same_owner() {
    let settlement = Settlement::Completed(response(1));
    for (is_same, expected) in [(true, "completed"), (false, "in_progress")] {
        let (store, key, claim) = (large(), key("k"), claim(LEASE));
        started(&store, &key, &claim);
        let seen = if is_same {
            claim.owner
        } else {
            OwnerId::fresh()
        };
        store.settle_too(&key, seen, OwnerId::fresh(), &settlement);
        let here = record(&store, &key).expect("there");
        assert_eq!(here.state.name(), expected);
    }
}

#[tokio::test]
async fn keys_are_listed_in_their_order() {
    let store = large();
    for name in ["b", "c", "a"] {
        started(&store, &key(name), &claim(LEASE));
    }
    let keys = store.list(2, Deadline::UNKNOWN).await;
    assert_eq!(keys, Ok(vec![key("a"), key("b")]));
}

#[tokio::test]
async fn a_settlement_is_written_over_the_record_that_was_seen() {
    let (store, key, claim) = (large(), key("k"), claim(LEASE));
    started(&store, &key, &claim);
    let seen = record(&store, &key).expect("there").version();
    let settlement = Settlement::Completed(response(1));
    for expected in [Settled::Done, Settled::Refused] {
        let owner = OwnerId::fresh();
        let settled = store.settle(&key, seen, owner, &settlement, Deadline::UNKNOWN);
        assert_eq!(settled.await, Ok(expected));
    }
    let settled = record(&store, &key).expect("there");
    assert_eq!(settled.into_response(), Some(response(1)));
}
