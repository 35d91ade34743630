use http::StatusCode;

use super::*;
use crate::Fingerprint;

const RETENTION: Duration = Duration::from_secs(86_400);
const LEASE: Duration = Duration::from_secs(30);
const UNKNOWN: Decision = Decision::Blocked(Blocked::Unknown(UnknownCause::Abandoned));
const BEGAN: u64 = 1_764_000_000_000;

fn at(ms: u64) -> StoreTime {
    StoreTime::from_ms(BEGAN + ms)
}

fn owner(number: u128) -> OwnerId {
    OwnerId::from_hex(&format!("{number:032x}")).expect("an owner")
}

fn fingerprint(digit: &str) -> Fingerprint {
    Fingerprint::from_hex(&digit.repeat(64)).expect("a fingerprint")
}

/// The claim of the first caller.
fn first() -> ClaimRequest {
    ClaimRequest {
        owner: owner(1),
        fingerprint: fingerprint("a"),
        policy: Policy::AtMostOnce,
        lease: LEASE,
        retention: RETENTION,
    }
}

/// A claim by another caller.
fn second() -> ClaimRequest {
    ClaimRequest {
        owner: owner(2),
        ..first()
    }
}

fn claimed() -> Record {
    start(Start::New, None, &first(), at(0))
}

fn fence() -> Fence {
    Fence {
        claim: first(),
        attempt: 1,
        rev: 1,
        checkpoint: None,
    }
}

fn written<T: std::fmt::Debug>(step: Step<T>) -> Record {
    match step.write {
        Some(record) => *record,
        None => panic!("nothing is written: {:?}", step.answer),
    }
}

/// The reply to a change. The change must write nothing.
fn refused(
    record: Option<&Record>,
    fence: &Fence,
    what: &Change,
    now: StoreTime,
) -> WriteResult<Option<SavedResponse>> {
    let step = change(record, fence, what, now);
    assert_eq!(step.write, None);
    step.answer
}

fn is_superseded<T>(result: &WriteResult<T>) -> bool {
    matches!(result, WriteResult::Superseded(_))
}

fn after(record: &Record, what: Change, ms: u64) -> Record {
    let fence = Fence {
        rev: record.rev,
        ..fence()
    };
    written(change(Some(record), &fence, &what, at(ms)))
}

fn response() -> SavedResponse {
    SavedResponse::new(StatusCode::CREATED, "charged")
}

#[test]
fn every_row_of_the_table_holds() {
    let completed = after(&claimed(), Change::Complete(response()), 10);
    let released = after(&claimed(), Change::Release, 10);
    let unknown = after(&claimed(), Change::MarkUnknown, 10);
    let other = ClaimRequest {
        fingerprint: fingerprint("b"),
        ..second()
    };
    let rerun = Record {
        policy: Policy::RerunAlways,
        ..claimed()
    };
    let eager = ClaimRequest {
        policy: Policy::RerunAlways,
        ..second()
    };
    let in_progress = |ms| in_progress(Duration::from_millis(ms));
    let day = 86_400_000;
    let cases = [
        ("absent", None, second(), 0, Decision::Start(Start::New)),
        (
            "the same owner",
            Some(claimed()),
            first(),
            5,
            Decision::Repeated,
        ),
        (
            "the same owner, lease over",
            Some(claimed()),
            first(),
            40_000,
            Decision::Repeated,
        ),
        (
            "the same owner with another request",
            Some(claimed()),
            ClaimRequest {
                owner: owner(1),
                ..other.clone()
            },
            5,
            Decision::Blocked(Blocked::Mismatch),
        ),
        (
            "another request, lease running",
            Some(claimed()),
            other.clone(),
            5,
            Decision::Blocked(Blocked::Mismatch),
        ),
        (
            "another request, lease over",
            Some(claimed()),
            other.clone(),
            40_000,
            Decision::Blocked(Blocked::Mismatch),
        ),
        (
            "lease running",
            Some(claimed()),
            second(),
            1_000,
            in_progress(29_000),
        ),
        (
            "a millisecond before the lease ends",
            Some(claimed()),
            second(),
            29_999,
            in_progress(1),
        ),
        (
            "the lease over, at most once",
            Some(claimed()),
            second(),
            30_000,
            UNKNOWN,
        ),
        (
            "the lease over, one strict",
            Some(claimed()),
            eager.clone(),
            30_000,
            UNKNOWN,
        ),
        (
            "the lease over, the other strict",
            Some(rerun.clone()),
            second(),
            30_000,
            UNKNOWN,
        ),
        (
            "the lease over, both rerun",
            Some(rerun),
            eager,
            30_000,
            Decision::Start(Start::TakeOver),
        ),
        ("unknown", Some(unknown.clone()), second(), 11, UNKNOWN),
        (
            "unknown, years later",
            Some(unknown.clone()),
            second(),
            900 * day,
            UNKNOWN,
        ),
        (
            "unknown, another request",
            Some(unknown),
            other.clone(),
            11,
            Decision::Blocked(Blocked::Mismatch),
        ),
        (
            "completed",
            Some(completed.clone()),
            second(),
            11,
            Decision::Blocked(Blocked::Replay(response())),
        ),
        (
            "completed, another request",
            Some(completed.clone()),
            other.clone(),
            11,
            Decision::Blocked(Blocked::Mismatch),
        ),
        (
            "a millisecond before the retention ends",
            Some(completed.clone()),
            second(),
            day + 9,
            Decision::Blocked(Blocked::Replay(response())),
        ),
        (
            "the retention over",
            Some(completed),
            other.clone(),
            day + 10,
            Decision::Start(Start::Restart),
        ),
        (
            "released",
            Some(released.clone()),
            other,
            11,
            Decision::Start(Start::Reclaim),
        ),
        (
            "released, a delayed message of the same owner",
            Some(released),
            first(),
            11,
            in_progress(0),
        ),
    ];
    for (case, record, claim, ms, expected) in cases {
        assert_eq!(decide(record.as_ref(), &claim, at(ms)), expected, "{case}");
    }
}

#[test]
fn a_takeover_ends_before_the_provider_forgets() {
    let policy = Policy::Rerun {
        within: Duration::from_secs(3_600),
    };
    let record = Record {
        policy,
        ..claimed()
    };
    let claim = ClaimRequest { policy, ..second() };
    let last = 3_600_000 - 30_000 - 1;
    assert_eq!(
        decide(Some(&record), &claim, at(last)),
        Decision::Start(Start::TakeOver)
    );
    assert_eq!(decide(Some(&record), &claim, at(last + 1)), UNKNOWN);

    let taken = start(Start::TakeOver, Some(&record), &claim, at(last));
    let fence = Fence {
        claim,
        attempt: 2,
        rev: taken.rev,
        checkpoint: None,
    };
    let renew = |lease, ms| change(Some(&taken), &fence, &Change::Renew(lease), at(ms));
    assert_eq!(renew(LEASE, last + 1), Step::answer(WriteResult::TooLate));
    assert!(renew(Duration::from_secs(1), last + 1).write.is_some());
}

#[test]
fn a_start_counts_on_and_a_new_retention_starts_clean() {
    let noted = after(&claimed(), Change::Checkpoint("note".into()), 5);
    let released = after(&noted, Change::Release, 10);
    let reclaimed = start(Start::Reclaim, Some(&released), &second(), at(20));
    assert_eq!(
        (reclaimed.attempt, reclaimed.rev, reclaimed.first_at),
        (2, 4, at(0))
    );
    assert_eq!(reclaimed.checkpoint, "note");
    assert!(!reclaimed.took_over);

    let eager = ClaimRequest {
        policy: Policy::RerunAlways,
        ..second()
    };
    let taken = start(Start::TakeOver, Some(&noted), &eager, at(40_000));
    assert!(taken.took_over);
    assert_eq!((taken.first_at, taken.policy), (at(0), first().policy));
    assert_eq!(taken.checkpoint, "note");

    let again = start(Start::Restart, Some(&released), &second(), at(90_000_000));
    assert_eq!((again.attempt, again.first_at), (2, at(90_000_000)));
    assert!(again.checkpoint.is_empty() && !again.took_over);
}

#[test]
fn only_a_repeated_change_is_recognised() {
    let completed = after(&claimed(), Change::Complete(response()), 10);
    let released = after(&claimed(), Change::Release, 10);
    let unknown = after(&claimed(), Change::MarkUnknown, 10);
    let complete = || Change::Complete(response());
    let cases = [
        ("completed twice", &completed, complete(), true),
        ("released twice", &released, Change::Release, true),
        ("unknown twice", &unknown, Change::MarkUnknown, true),
        ("released, then completed", &released, complete(), false),
        (
            "completed, then released",
            &completed,
            Change::Release,
            false,
        ),
        (
            "completed, then unknown",
            &completed,
            Change::MarkUnknown,
            false,
        ),
        ("unknown, then released", &unknown, Change::Release, false),
        (
            "completed, then renewed",
            &completed,
            Change::Renew(LEASE),
            false,
        ),
    ];
    for (case, record, what, is_stored) in cases {
        let result = refused(Some(record), &fence(), &what, at(20));
        let stored = WriteResult::Stored(record.response().cloned());
        assert_eq!(result == stored, is_stored, "{case}");
        assert_eq!(is_superseded(&result), !is_stored, "{case}");
    }
    let known = written(change(Some(&unknown), &fence(), &complete(), at(20)));
    assert_eq!(known.into_response(), Some(response()));
}

#[test]
fn a_renewal_or_checkpoint_replaces_only_the_revision_it_follows() {
    let noted = after(&claimed(), Change::Checkpoint("one".into()), 5);
    let late = Fence { rev: 1, ..fence() };
    let unheard = Fence { rev: 0, ..fence() };
    let again = Change::Checkpoint("one".into());
    let result = |fence| refused(Some(&noted), fence, &again, at(6));
    assert_eq!(result(&late), WriteResult::Stored(None));
    assert_eq!(result(&unheard), WriteResult::Outdated(2));
    for fence in [late, unheard] {
        for what in [
            Change::Renew(LEASE),
            Change::Renew(LEASE * 2),
            Change::Checkpoint("late".into()),
        ] {
            let result = refused(Some(&noted), &fence, &what, at(6));
            assert_eq!(result, WriteResult::Outdated(2), "{what:?}");
        }
        for what in [
            Change::Complete(response()),
            Change::Release,
            Change::MarkUnknown,
        ] {
            let step = change(Some(&noted), &fence, &what, at(6));
            assert!(step.write.is_some(), "{what:?}");
        }
    }
    let renewed = after(&noted, Change::Renew(LEASE), 7);
    let late = Fence { rev: 1, ..fence() };
    let result = refused(Some(&renewed), &late, &again, at(8));
    assert_eq!(
        result,
        WriteResult::Outdated(3),
        "a renewal came after the checkpoint"
    );
    let unheard = Fence { rev: 0, ..fence() };
    let empty = Change::Checkpoint(Bytes::new());
    let result = refused(Some(&claimed()), &unheard, &empty, at(5));
    assert_eq!(
        result,
        WriteResult::Outdated(1),
        "the claim is not a checkpoint"
    );
}

#[test]
fn a_renewed_lease_starts_at_the_renewal() {
    let renewed = after(&claimed(), Change::Renew(LEASE * 2), 20_000);
    assert_eq!(renewed.lease_end(), at(80_000));
}

#[test]
fn a_completed_record_has_no_checkpoint() {
    let noted = after(&claimed(), Change::Checkpoint("note".into()), 5);
    let completed = after(&noted, Change::Complete(response()), 10);
    assert!(completed.checkpoint.is_empty());

    let resolved = |resolution| {
        let seen = noted.version();
        written(resolve(&noted, seen, owner(9), &resolution, at(30_000)))
    };
    let completed = resolved(Resolution::Completed(response()));
    assert!(completed.checkpoint.is_empty());
    assert_eq!(resolved(Resolution::Released).checkpoint, "note");
}

#[test]
fn only_the_same_owner_and_attempt_may_change_a_record() {
    let stale = Fence {
        attempt: 2,
        ..fence()
    };
    let stranger = Fence {
        claim: second(),
        ..fence()
    };
    for fence in [stale, stranger] {
        for what in [
            Change::Complete(response()),
            Change::Release,
            Change::Renew(LEASE),
            Change::Checkpoint("x".into()),
            Change::MarkUnknown,
        ] {
            let result = refused(Some(&claimed()), &fence, &what, at(5));
            assert!(is_superseded(&result), "{what:?}");
        }
    }
}

#[test]
fn only_results_and_unknown_outcomes_are_stored_without_a_claim() {
    let third = Fence {
        attempt: 3,
        ..fence()
    };
    let kept = written(change(None, &third, &Change::Complete(response()), at(5)));
    assert_eq!((kept.attempt, kept.rev), (3, 1));
    assert_eq!(
        decide(Some(&kept), &second(), at(6)),
        Decision::Blocked(Blocked::Replay(response()))
    );
    let unknown = written(change(None, &third, &Change::MarkUnknown, at(5)));
    assert_eq!((unknown.attempt, unknown.rev), (3, 1));
    assert_eq!(decide(Some(&unknown), &second(), at(6)), UNKNOWN);
    let note = Change::Checkpoint("a note".into());
    for what in [Change::Release, Change::Renew(LEASE), note] {
        let result = refused(None, &fence(), &what, at(5));
        assert_eq!(result, WriteResult::Superseded(None));
    }
}

#[test]
fn a_resolution_replaces_the_seen_record_with_a_fresh_owner() {
    let record = claimed();
    let completed = Resolution::Completed(response());
    let over = 30_000;
    let resolved = written(resolve(
        &record,
        record.version(),
        owner(9),
        &completed,
        at(over),
    ));
    let late = Change::Complete(response());
    let result = refused(Some(&resolved), &fence(), &late, at(over));
    assert!(is_superseded(&result));
    let unknown = after(&record, Change::MarkUnknown, 10);
    let released = written(resolve(
        &unknown,
        unknown.version(),
        owner(9),
        &Resolution::Released,
        at(11),
    ));
    assert!(!released.took_over && released.rev == unknown.rev + 1);
    let refused = [
        (
            "an older revision",
            &record,
            version(&record, 0),
            &completed,
            over,
        ),
        (
            "the same revision of another claim",
            &record,
            Version {
                owner: owner(8),
                ..record.version()
            },
            &completed,
            over,
        ),
        (
            "a running lease",
            &record,
            record.version(),
            &Resolution::Released,
            over - 1,
        ),
        ("a result", &resolved, resolved.version(), &completed, over),
        (
            "a result, released",
            &resolved,
            resolved.version(),
            &Resolution::Released,
            over,
        ),
    ];
    for (case, record, seen, resolution, ms) in refused {
        let step = resolve(record, seen, owner(9), resolution, at(ms));
        assert_eq!(step, Step::answer(ResolveResult::Refused), "{case}");
    }
}

#[test]
fn the_attempt_after_a_reopening_is_a_takeover() {
    let over = at(30_000);
    let resumable = Record {
        policy: Policy::RerunAlways,
        ..claimed()
    };
    let reopen = |record: &Record| {
        let resolution = Resolution::Reopened;
        resolve(record, record.version(), owner(9), &resolution, over)
    };
    assert_eq!(
        reopen(&claimed()),
        Step::answer(ResolveResult::Refused),
        "the policy allows no rerun"
    );

    let reopened = written(reopen(&resumable));
    let stricter = [
        Policy::AtMostOnce,
        Policy::Rerun {
            within: Duration::from_secs(30),
        },
    ];
    for policy in stricter {
        let claim = ClaimRequest { policy, ..second() };
        let decision = decide(Some(&reopened), &claim, over);
        assert_eq!(decision, UNKNOWN, "{policy:?}");
    }
    let resuming = ClaimRequest {
        policy: Policy::RerunAlways,
        ..second()
    };
    let resolving = |resolution| {
        let seen = reopened.version();
        resolve(&reopened, seen, owner(8), &resolution, over)
    };
    let resolved = written(resolving(Resolution::Completed(response())));
    assert_eq!(
        decide(Some(&resolved), &resuming, over),
        Decision::Blocked(Blocked::Replay(response()))
    );
    let freed = written(resolving(Resolution::Released));
    let decision = decide(Some(&freed), &resuming, over);
    assert_eq!(decision, Decision::Start(Start::Reclaim));
    assert_eq!(
        resolving(Resolution::Reopened),
        Step::answer(ResolveResult::Refused)
    );
    let other = ClaimRequest {
        fingerprint: fingerprint("b"),
        ..resuming.clone()
    };
    let decision = decide(Some(&reopened), &other, over);
    assert_eq!(decision, Decision::Blocked(Blocked::Mismatch));
    let decision = decide(Some(&reopened), &resuming, over);
    assert_eq!(decision, Decision::Start(Start::TakeOver));
    let next = start(Start::TakeOver, Some(&reopened), &resuming, over);
    assert!(next.took_over);
    let fence = Fence {
        claim: resuming,
        attempt: next.attempt,
        rev: next.rev,
        checkpoint: None,
    };
    let released = written(change(Some(&next), &fence, &Change::Release, over));
    assert_eq!(
        released.state,
        State::Unknown,
        "the abandoned attempt may continue"
    );
    let again = change(Some(&released), &fence, &Change::Release, over);
    assert_eq!(
        again,
        Step::answer(WriteResult::Stored(None)),
        "its reply was lost"
    );
}

/// The version of `record`, with `rev` as its revision.
fn version(record: &Record, rev: u64) -> Version {
    Version {
        rev,
        ..record.version()
    }
}
