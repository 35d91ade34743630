use std::time::Duration;

use super::*;
use crate::store::UnknownCause;
use crate::{Fingerprint, IdempotencyConfig, IdempotencyKey, Request, SavedResponse, Scope};

const LEASE: Duration = Duration::from_secs(30);
const RETENTION: Duration = Duration::from_secs(86_400);
/// Time of the first claim in Redis.
const FIRST_THERE: StoreTime = StoreTime::from_ms(3);

fn store() -> MemoryStore {
    store_with(RETENTION)
}

fn store_with(retention: Duration) -> MemoryStore {
    MemoryStore::new(&IdempotencyConfig {
        retention,
        ..IdempotencyConfig::default()
    })
}

fn key() -> RecordKey {
    let key = IdempotencyKey::parse("k").expect("a key");
    RecordKey::new(&Scope::none(), &key)
}

fn claim(lease: Duration, policy: Policy) -> ClaimRequest {
    ClaimRequest {
        owner: OwnerId::fresh(),
        fingerprint: Fingerprint::of(&Request::default()).expect("unambiguous"),
        policy,
        lease,
        retention: RETENTION,
    }
}

fn once() -> ClaimRequest {
    claim(LEASE, Policy::AtMostOnce)
}

/// A grant of Redis.
fn grant(attempt: u64, rev: u64) -> Grant {
    Grant {
        attempt,
        rev,
        is_first: false,
        repeated: false,
        took_over: false,
        checkpoint: "".into(),
        first_at: Some(FIRST_THERE),
        lease_left: LEASE,
        recognised_for: None,
    }
}

fn fence(claim: &ClaimRequest, attempt: u64, rev: u64) -> Fence {
    Fence {
        claim: claim.clone(),
        attempt,
        rev,
        checkpoint: None,
    }
}

fn result() -> Change {
    Change::Complete(response("ours"))
}

fn response(body: &'static str) -> SavedResponse {
    SavedResponse::new(http::StatusCode::CREATED, body)
}

/// A memory with a copy of attempt 3 at revision 7.
fn copying(claim: &ClaimRequest) -> MemoryStore {
    let store = store();
    assert_eq!(store.copy(&key(), claim, &grant(3, 7)), Copied::Done);
    store
}

/// A memory that has reserved the key for a claim.
fn reserving(claim: &ClaimRequest) -> MemoryStore {
    let store = store();
    let claiming = store.begin_claim(&key(), claim);
    assert!(matches!(claiming, Ok(ClaimStep::Reserved { .. })));
    store
}

fn record(store: &MemoryStore) -> Record {
    let records = store.records.lock();
    records.get(&key()).expect("there").clone()
}

/// Copies Redis's reply to a change.
fn answered(
    store: &MemoryStore,
    claim: &ClaimRequest,
    change: &Change,
    changed: &WriteResult<Option<SavedResponse>>,
) {
    store.copy_change(&key(), &fence(claim, 3, 7), change, changed);
}

fn work(attempt: u64) -> RedisAttempt {
    RedisAttempt {
        first_at: FIRST_THERE,
        attempt,
    }
}

#[test]
fn the_deciding_store_depends_on_the_state_and_the_copy() {
    let unfinished = LocalKnowledge::Unfinished(work(3));
    let cases: [(&str, Duration, Option<Change>, LocalKnowledge); 6] = [
        ("at work", LEASE, None, LocalKnowledge::Running),
        ("abandoned", Duration::ZERO, None, unfinished),
        ("unknown", LEASE, Some(Change::MarkUnknown), unfinished),
        (
            "released",
            LEASE,
            Some(Change::Release),
            LocalKnowledge::Nothing,
        ),
        (
            "completed",
            LEASE,
            Some(result()),
            LocalKnowledge::Completed,
        ),
        (
            "completed late",
            Duration::ZERO,
            Some(result()),
            LocalKnowledge::Completed,
        ),
    ];
    for (case, lease, change, expected) in cases {
        let claim = claim(lease, Policy::AtMostOnce);
        let store = copying(&claim);
        if let Some(change) = change {
            answered(&store, &claim, &change, &WriteResult::Stored(None));
        }
        assert_eq!(store.knowledge(&key()), expected, "{case}");
        let later = store.now().after(RETENTION + RETENTION);
        let records = store.records.lock();
        let is_finished = records.get(&key()).expect("there").finished_at().is_some();
        let knowledge = store.knowledge_at(&records, &key(), later);
        assert_eq!(
            knowledge == LocalKnowledge::Nothing,
            is_finished,
            "{case}, later"
        );
    }
    assert_eq!(store().knowledge(&key()), LocalKnowledge::Nothing);
}

/// The abandoned attempt may still continue, so only Redis can decide whether another attempt may start.
#[test]
fn a_reopened_copy_is_unfinished() {
    let claim = claim(Duration::ZERO, Policy::RerunAlways);
    let store = copying(&claim);
    let reopened = Resolution::Reopened;
    store.copy_resolution(&key(), claim.owner, OwnerId::fresh(), &reopened);
    assert!(record(&store).took_over);
    assert_eq!(store.knowledge(&key()), LocalKnowledge::Unfinished(work(3)));
}

#[test]
fn a_rejected_claim_restores_the_previous_record() {
    let first = once();
    let store = copying(&first);
    answered(&store, &first, &Change::Release, &WriteResult::Stored(None));
    let second = once();
    let released = store.records.lock().by_key[&key()].clone();
    let Ok(ClaimStep::Reserved { grant, before }) = store.begin_claim(&key(), &second) else {
        panic!("not reserved");
    };
    assert_eq!((grant.attempt, grant.took_over), (4, false));
    assert_eq!(before.as_deref(), Some(&released));

    store.end_reservation(&key(), OwnerId::fresh(), None);
    assert_eq!(record(&store).owner, second.owner);
    store.end_reservation(&key(), second.owner, before);
    assert_eq!(store.records.lock().by_key[&key()], released);
    store.end_reservation(&key(), first.owner, None);
    assert_eq!(record(&store).owner, first.owner, "nothing is asked");
}

#[test]
fn a_released_copy_passes_its_checkpoint_on_until_its_retention_ends() {
    for (retention, expected) in [(RETENTION, "note"), (Duration::ZERO, "")] {
        let (store, first) = (store_with(retention), once());
        let noted = Grant {
            checkpoint: "note".into(),
            ..grant(3, 7)
        };
        store.copy(&key(), &first, &noted);
        answered(&store, &first, &Change::Release, &WriteResult::Stored(None));
        let claiming = store.begin_claim(&key(), &once());
        let Ok(ClaimStep::Reserved { grant, .. }) = claiming else {
            panic!("{claiming:?}");
        };
        assert_eq!(grant.checkpoint, expected);
    }
}

#[test]
fn a_rejected_first_claim_leaves_no_record() {
    let claim = once();
    let store = reserving(&claim);
    store.end_reservation(&key(), claim.owner, None);
    assert!(store.records.lock().by_key.is_empty());
    assert_eq!(store.records.lock().bytes, 0);
}

#[test]
fn a_reservation_blocks_other_claims_and_repeats_its_own() {
    let claim = once();
    let store = reserving(&claim);
    assert!(matches!(
        store.begin_claim(&key(), &claim),
        Ok(ClaimStep::AskRedis)
    ));
    let other = store.begin_claim(&key(), &once());
    let Ok(ClaimStep::Decided(Answer { value, degraded_to })) = other else {
        panic!("{other:?}");
    };
    assert!(matches!(
        value,
        ClaimOutcome::Blocked(Blocked::InProgress { .. })
    ));
    assert_eq!(degraded_to, None);
}

#[test]
fn an_unanswered_claim_is_decided_by_the_memory_once() {
    let claim = once();
    let store = reserving(&claim);
    assert!(!store.decide_locally(&key(), OwnerId::fresh()));
    assert!(store.decide_locally(&key(), claim.owner));
    assert_eq!(store.knowledge(&key()), LocalKnowledge::Decides);

    // Redis's reply to a second copy of the same claim comes too late.
    assert!(!store.decide_locally(&key(), claim.owner));
    assert_eq!(
        store.copy(&key(), &claim, &grant(1, 1)),
        Copied::DecidedLocally
    );
    store.end_reservation(&key(), claim.owner, None);
    assert_eq!(store.knowledge(&key()), LocalKnowledge::Decides);
    let again = store.begin_claim(&key(), &claim);
    let Ok(ClaimStep::Decided(Answer { value, degraded_to })) = again else {
        panic!("{again:?}");
    };
    assert!(matches!(value, ClaimOutcome::Claimed(grant) if grant.repeated));
    assert_eq!(degraded_to, Some(Backend::Memory));
}

#[test]
fn an_answered_claim_is_not_decided_by_the_memory() {
    let claim = once();
    let store = reserving(&claim);
    assert_eq!(store.copy(&key(), &claim, &grant(3, 7)), Copied::Done);
    assert!(!store.decide_locally(&key(), claim.owner));
    assert_eq!(store.knowledge(&key()), LocalKnowledge::Running);
    assert!(matches!(
        store.begin_claim(&key(), &claim),
        Ok(ClaimStep::AskRedis)
    ));
}

/// The sender of the claim has given up, and Redis has the release.
#[test]
fn a_delayed_copy_of_a_released_claim_is_decided_by_redis() {
    let claim = once();
    let store = copying(&claim);
    answered(&store, &claim, &Change::Release, &WriteResult::Stored(None));
    assert!(matches!(
        store.begin_claim(&key(), &claim),
        Ok(ClaimStep::AskRedis)
    ));
}

#[test]
fn redis_decides_every_claim_of_an_unfinished_attempt() {
    let abandoned = claim(Duration::ZERO, Policy::RerunAlways);
    let store = copying(&abandoned);
    for claim in [&abandoned, &once()] {
        let claiming = store.begin_claim(&key(), claim);
        assert!(matches!(claiming, Ok(ClaimStep::AskRedis)), "{claiming:?}");
    }
}

#[test]
fn a_copied_result_is_replayed_as_redis_would() {
    let first = once();
    let store = copying(&first);
    answered(&store, &first, &result(), &WriteResult::Stored(None));
    for claim in [&first, &once()] {
        let Ok(ClaimStep::Decided(Answer { value, degraded_to })) =
            store.begin_claim(&key(), claim)
        else {
            panic!("not decided");
        };
        assert!(matches!(value, ClaimOutcome::Blocked(Blocked::Replay(_))));
        assert_eq!(degraded_to, None);
    }
}

#[test]
fn a_record_in_redis_matches_from_the_same_attempt_on() {
    let claim = once();
    let there = |first_at, attempt| Record {
        first_at,
        attempt,
        ..record(&copying(&claim))
    };
    assert!(work(3).is_in(&there(FIRST_THERE, 3)));
    assert!(work(3).is_in(&there(FIRST_THERE, 4)));
    assert!(!work(3).is_in(&there(FIRST_THERE, 2)), "an older state");
    assert!(!work(3).is_in(&there(StoreTime::from_ms(4), 3)), "another");
}

#[test]
fn the_memory_decides_about_an_attempt_that_redis_has_lost() {
    let abandoned = claim(Duration::ZERO, Policy::AtMostOnce);
    for (lost, expected) in [
        (work(2), LocalKnowledge::Unfinished(work(3))),
        (
            RedisAttempt {
                first_at: StoreTime::from_ms(4),
                attempt: 3,
            },
            LocalKnowledge::Unfinished(work(3)),
        ),
        (work(3), LocalKnowledge::Decides),
    ] {
        let store = copying(&abandoned);
        store.take_over(&key(), lost);
        assert_eq!(store.knowledge(&key()), expected);
    }
}

#[test]
fn a_copy_follows_the_replies_of_redis() {
    let superseded = || WriteResult::Superseded(None);
    let stored = || WriteResult::Stored(Some(response("stored")));
    let note = || Change::Checkpoint("note".into());
    let cases: [(&str, Change, WriteResult<_>, &str, u64); 13] = [
        ("done", result(), WriteResult::Stored(None), "completed", 8),
        ("another result", result(), stored(), "completed", 8),
        (
            "a lost reply",
            Change::Release,
            WriteResult::Stored(None),
            "released",
            8,
        ),
        (
            "released",
            Change::Release,
            WriteResult::Stored(None),
            "released",
            8,
        ),
        (
            "unknown",
            Change::MarkUnknown,
            WriteResult::Stored(None),
            "unknown",
            8,
        ),
        ("noted", note(), WriteResult::Stored(None), "in_progress", 8),
        (
            "noted before",
            note(),
            WriteResult::Stored(None),
            "in_progress",
            8,
        ),
        (
            "renewed",
            Change::Renew(LEASE),
            WriteResult::Stored(None),
            "in_progress",
            8,
        ),
        (
            "outdated",
            note(),
            WriteResult::Outdated(9),
            "in_progress",
            7,
        ),
        (
            "too late",
            Change::Renew(LEASE),
            WriteResult::TooLate,
            "in_progress",
            7,
        ),
        ("superseded", result(), superseded(), "unknown", 8),
        ("superseded note", note(), superseded(), "unknown", 8),
        (
            "unreadable",
            result(),
            WriteResult::Superseded(Some(Blocked::Unknown(UnknownCause::Unreadable))),
            "unknown",
            8,
        ),
    ];
    for (case, change, changed, state, rev) in cases {
        let claim = once();
        let store = copying(&claim);
        answered(&store, &claim, &change, &changed);
        let copy = record(&store);
        assert_eq!((copy.state.name(), copy.rev), (state, rev), "{case}");
        let is_noted = copy.checkpoint == "note";
        assert_eq!(is_noted, case.starts_with("noted"), "{case}");
        if case == "another result" {
            assert_eq!(copy.into_response(), Some(response("stored")));
        }
    }
}

/// Another process may have written between two writes of this process.
#[test]
fn redis_assigns_the_revisions() {
    let claim = once();
    let store = copying(&claim);
    let note = Change::Checkpoint("note".into());
    store.copy_change(
        &key(),
        &fence(&claim, 3, 11),
        &note,
        &WriteResult::Stored(None),
    );
    assert_eq!(record(&store).rev, 12);
}

#[test]
fn a_copy_follows_its_own_attempt_and_keeps_its_result() {
    let claim = once();
    let store = copying(&claim);
    for other in [fence(&claim, 2, 7), fence(&once(), 3, 7)] {
        assert!(store.copy_change(&key(), &other, &result(), &WriteResult::Stored(None)));
        assert_eq!(record(&store).state, State::InProgress);
    }
    answered(&store, &claim, &result(), &WriteResult::Stored(None));
    for blocked in [None, Some(Blocked::Replay(response("other")))] {
        let superseded = WriteResult::Superseded(blocked);
        answered(&store, &claim, &Change::Release, &superseded);
        assert_eq!(record(&store).into_response(), Some(response("ours")));
    }
}

/// Another attempt has finished, so a repeated completion of the superseded attempt is not a result.
#[test]
fn the_result_of_another_attempt_replaces_a_superseded_copy() {
    let claim = once();
    let store = copying(&claim);
    let superseded = WriteResult::Superseded(Some(Blocked::Replay(response("other"))));
    answered(&store, &claim, &result(), &superseded);
    assert_eq!(record(&store).owner, OwnerId::NONE);
    let again = store.change_locally(&key(), &fence(&claim, 3, 7), &result());
    let Some(Ok(Answer { value, .. })) = again else {
        panic!("{again:?}");
    };
    let WriteResult::Superseded(Some(Blocked::Replay(replayed))) = value else {
        panic!("{value:?}");
    };
    assert_eq!(replayed, response("other"));
}

#[test]
fn a_replay_from_redis_is_copied_for_the_same_unfinished_attempt() {
    let other = || ClaimRequest {
        fingerprint: Fingerprint::of(&Request {
            method: "PUT",
            ..Request::default()
        })
        .expect("unambiguous"),
        ..once()
    };
    let cases = [
        ("abandoned", Duration::ZERO, once(), "completed"),
        ("another request", Duration::ZERO, other(), "in_progress"),
        ("at work", LEASE, once(), "in_progress"),
    ];
    for (case, lease, asking, expected) in cases {
        let store = copying(&claim(lease, Policy::AtMostOnce));
        store.copy_result(&key(), &asking, &response("theirs"));
        assert_eq!(record(&store).state.name(), expected, "{case}");
    }
    let nothing = store();
    nothing.copy_result(&key(), &once(), &response("theirs"));
    assert_eq!(nothing.knowledge(&key()), LocalKnowledge::Nothing);
}

#[test]
fn the_memory_decides_changes_of_its_own_claims_and_results() {
    let claim = once();
    let (first, third) = (fence(&claim, 1, 1), fence(&claim, 3, 7));
    let here = reserving(&claim);
    assert!(
        here.change_locally(&key(), &first, &result()).is_none(),
        "asked"
    );
    assert!(here.copy_change(
        &key(),
        &first,
        &Change::MarkUnknown,
        &WriteResult::Stored(None)
    ));
    assert_eq!(record(&here).state, State::InProgress, "asked");
    here.decide_locally(&key(), claim.owner);
    assert!(!here.copy_change(&key(), &first, &result(), &WriteResult::Stored(None)));
    let other = here.change_locally(&key(), &fence(&once(), 1, 1), &result());
    let Some(Ok(Answer { value, .. })) = other else {
        panic!("{other:?}");
    };
    assert!(matches!(
        value,
        WriteResult::Superseded(Some(Blocked::InProgress { .. }))
    ));
    let changed = here.change_locally(&key(), &first, &result());
    let Some(Ok(Answer { value, degraded_to })) = changed else {
        panic!("{changed:?}");
    };
    assert!(matches!(value, WriteResult::Stored(None)));
    assert_eq!(degraded_to, Some(Backend::Memory));

    let copy = copying(&claim);
    assert!(copy.change_locally(&key(), &third, &result()).is_none());
    answered(&copy, &claim, &result(), &WriteResult::Stored(None));
    assert!(
        copy.change_locally(&key(), &third, &Change::Release)
            .is_none()
    );
    let again = Change::Complete(response("another"));
    let changed = copy.change_locally(&key(), &third, &again);
    let Some(Ok(Answer { value, degraded_to })) = changed else {
        panic!("{changed:?}");
    };
    assert!(matches!(value, WriteResult::Stored(Some(stored)) if stored == response("ours")));
    assert_eq!(degraded_to, None);
}

/// Redis has lost the attempt, or an old reply comes late.
#[test]
fn a_grant_of_redis_counts_only_if_it_follows_the_copy() {
    let attempt = |attempt, first_at| Grant {
        first_at: Some(first_at),
        ..grant(attempt, 1)
    };
    let other = StoreTime::from_ms(4);
    let (again, next) = (attempt(3, FIRST_THERE), attempt(4, FIRST_THERE));
    let (older, anew) = (attempt(2, FIRST_THERE), attempt(4, other));
    let unfinished = LocalKnowledge::Unfinished(work(3));
    let cases = [
        (
            "abandoned",
            None,
            &next,
            Copied::Done,
            LocalKnowledge::Running,
        ),
        ("abandoned", None, &again, Copied::Stale, unfinished),
        ("abandoned", None, &older, Copied::Stale, unfinished),
        (
            "abandoned",
            None,
            &anew,
            Copied::DecidedLocally,
            LocalKnowledge::Decides,
        ),
        (
            "released",
            Some(Change::Release),
            &next,
            Copied::Done,
            LocalKnowledge::Running,
        ),
        (
            "released",
            Some(Change::Release),
            &older,
            Copied::Stale,
            LocalKnowledge::Nothing,
        ),
        (
            "released",
            Some(Change::Release),
            &anew,
            Copied::Done,
            LocalKnowledge::Running,
        ),
        (
            "completed",
            Some(result()),
            &again,
            Copied::DecidedLocally,
            LocalKnowledge::Completed,
        ),
        (
            "completed",
            Some(result()),
            &next,
            Copied::DecidedLocally,
            LocalKnowledge::Completed,
        ),
        (
            "completed",
            Some(result()),
            &anew,
            Copied::DecidedLocally,
            LocalKnowledge::Completed,
        ),
    ];
    for (case, change, grant, expected, knowledge) in cases {
        let first = claim(Duration::ZERO, Policy::AtMostOnce);
        let store = copying(&first);
        if let Some(change) = change {
            answered(&store, &first, &change, &WriteResult::Stored(None));
        }
        let copied = store.copy(&key(), &once(), grant);
        assert_eq!(copied, expected, "{case}, {grant:?}");
        assert_eq!(store.knowledge(&key()), knowledge, "{case}, {grant:?}");
    }
}

#[test]
fn a_running_attempt_is_copied_once() {
    let claim = once();
    let store = copying(&claim);
    let noted = Change::Checkpoint("note".into());
    answered(&store, &claim, &noted, &WriteResult::Stored(None));
    // Redis's reply to the same claim, sent twice.
    assert_eq!(store.copy(&key(), &claim, &grant(3, 7)), Copied::Done);
    assert_eq!(record(&store).checkpoint, "note");
    assert_eq!(store.copy(&key(), &once(), &grant(3, 7)), Copied::Stale);
    let lost = Grant {
        first_at: Some(StoreTime::from_ms(4)),
        ..grant(3, 1)
    };
    assert_eq!(store.copy(&key(), &claim, &lost), Copied::DecidedLocally);
    assert_eq!(store.knowledge(&key()), LocalKnowledge::Decides);
}

/// The call of a claim was dropped, so only the end of its lease ends the reservation.
#[test]
fn a_reservation_makes_room_once_its_lease_is_over() {
    for (lease, expected) in [(LEASE, false), (Duration::ZERO, true)] {
        let store = reserving(&claim(lease, Policy::AtMostOnce));
        let local = store.records.lock().by_key[&key()].clone();
        assert_eq!(local.is_over(RETENTION, store.now()), expected);
        let abandoned = copying(&claim(lease, Policy::AtMostOnce));
        let local = abandoned.records.lock().by_key[&key()].clone();
        assert!(!local.is_over(RETENTION, abandoned.now()));
    }
}

#[test]
fn a_result_that_redis_did_not_acknowledge_is_kept_in_memory() {
    let claim = once();
    let store = copying(&claim);
    let other = fence(&once(), 3, 7);
    assert!(store.complete_locally(&key(), &other, &result()).is_none());
    assert_eq!(store.knowledge(&key()), LocalKnowledge::Running);
    let completed = store.complete_locally(&key(), &fence(&claim, 3, 7), &result());
    let Some(Ok(Answer { value, degraded_to })) = completed else {
        panic!("{completed:?}");
    };
    assert!(matches!(value, WriteResult::Stored(None)));
    assert_eq!(degraded_to, Some(Backend::Memory));
    assert_eq!(store.knowledge(&key()), LocalKnowledge::Decides);
    assert_eq!(record(&store).into_response(), Some(response("ours")));
}

/// By its own clock, the memory cannot tell when a provider forgets the derived key of another process's attempt.
#[test]
fn a_copy_of_a_bounded_takeover_is_not_taken_over_again() {
    let within = Duration::from_secs(5);
    let cases = [
        (Policy::Rerun { within }, Some(within), Policy::AtMostOnce),
        (Policy::RerunAlways, Some(within), Policy::AtMostOnce),
        (Policy::RerunAlways, None, Policy::RerunAlways),
        (Policy::Rerun { within }, None, Policy::Rerun { within }),
    ];
    for (policy, recognised_for, expected) in cases {
        let (store, claim) = (store(), claim(LEASE, policy));
        let took_over = Grant {
            took_over: true,
            checkpoint: "note".into(),
            recognised_for,
            ..grant(3, 7)
        };
        assert_eq!(store.copy(&key(), &claim, &took_over), Copied::Done);
        let copy = record(&store);
        assert_eq!(copy.policy, expected);
        assert!(copy.took_over);
        assert_eq!(copy.checkpoint, "note");
    }
}

#[test]
fn a_resolution_in_redis_resolves_the_copy_of_the_same_owner() {
    let resolution = Resolution::Completed(response("resolved"));
    for (is_same, expected) in [(true, "completed"), (false, "in_progress")] {
        let claim = once();
        let store = copying(&claim);
        let seen = if is_same {
            claim.owner
        } else {
            OwnerId::fresh()
        };
        let resolved = store.copy_resolution(&key(), seen, OwnerId::fresh(), &resolution);
        assert_eq!(resolved, ResolveResult::Stored);
        assert_eq!(record(&store).state.name(), expected);
    }
}

#[test]
fn a_resolution_in_redis_is_refused_if_the_memory_decides_or_has_a_result() {
    let claim = once();
    let here = reserving(&claim);
    here.decide_locally(&key(), claim.owner);
    let completed = copying(&claim);
    answered(&completed, &claim, &result(), &WriteResult::Stored(None));
    for store in [here, completed] {
        let before = record(&store);
        let owner = OwnerId::fresh();
        let resolved = store.copy_resolution(&key(), claim.owner, owner, &Resolution::Released);
        assert_eq!(resolved, ResolveResult::Refused);
        assert_eq!(record(&store), before);
    }
}
