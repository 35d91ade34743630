use http::StatusCode;

use super::*;

const WINDOW: Duration = Duration::from_secs(86_400);
const LEASE: Duration = Duration::from_secs(30);
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
fn first() -> Claim {
    Claim {
        owner: owner(1),
        fingerprint: fingerprint("a"),
        policy: Policy::AtMostOnce,
        lease: LEASE,
        window: WINDOW,
    }
}

/// The same claim by somebody else.
fn second() -> Claim {
    Claim {
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
    }
}

fn written(verdict: Verdict) -> Record {
    match verdict {
        Verdict::Write(record) => *record,
        other => panic!("{other:?}"),
    }
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
    let other = Claim {
        fingerprint: fingerprint("b"),
        ..second()
    };
    let rerun = Record {
        policy: Policy::RerunAlways,
        ..claimed()
    };
    let eager = Claim {
        policy: Policy::RerunAlways,
        ..second()
    };
    let in_progress = |ms| Decision::InProgress {
        retry_after: Duration::from_millis(ms),
    };
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
            "the same owner, its lease over",
            Some(claimed()),
            first(),
            40_000,
            Decision::Repeated,
        ),
        (
            "the same owner with another request",
            Some(claimed()),
            Claim {
                owner: owner(1),
                ..other.clone()
            },
            5,
            Decision::Mismatch,
        ),
        (
            "another request, at work",
            Some(claimed()),
            other.clone(),
            5,
            Decision::Mismatch,
        ),
        (
            "another request, lease over",
            Some(claimed()),
            other.clone(),
            40_000,
            Decision::Mismatch,
        ),
        (
            "at work",
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
            Decision::Unknown,
        ),
        (
            "the lease over, one strict",
            Some(claimed()),
            eager.clone(),
            30_000,
            Decision::Unknown,
        ),
        (
            "the lease over, the other strict",
            Some(rerun.clone()),
            second(),
            30_000,
            Decision::Unknown,
        ),
        (
            "the lease over, both rerun",
            Some(rerun),
            eager,
            30_000,
            Decision::Start(Start::TakeOver),
        ),
        (
            "unknown",
            Some(unknown.clone()),
            second(),
            11,
            Decision::Unknown,
        ),
        (
            "unknown, for years",
            Some(unknown.clone()),
            second(),
            900 * day,
            Decision::Unknown,
        ),
        (
            "unknown, another request",
            Some(unknown),
            other.clone(),
            11,
            Decision::Mismatch,
        ),
        (
            "completed",
            Some(completed.clone()),
            second(),
            11,
            Decision::Replay,
        ),
        (
            "completed, another request",
            Some(completed.clone()),
            other.clone(),
            11,
            Decision::Mismatch,
        ),
        (
            "a millisecond before the window ends",
            Some(completed.clone()),
            second(),
            day + 9,
            Decision::Replay,
        ),
        (
            "the window over",
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
            "released, a late message of the one who released",
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
    let claim = Claim { policy, ..second() };
    let last = 3_600_000 - 30_000 - 1;
    assert_eq!(
        decide(Some(&record), &claim, at(last)),
        Decision::Start(Start::TakeOver)
    );
    assert_eq!(
        decide(Some(&record), &claim, at(last + 1)),
        Decision::Unknown
    );

    let taken = start(Start::TakeOver, Some(&record), &claim, at(last));
    let fence = Fence {
        claim,
        attempt: 2,
        rev: taken.rev,
    };
    let renew = |lease, ms| change(Some(&taken), &fence, &Change::Renew(lease), at(ms));
    assert_eq!(renew(LEASE, last + 1), Verdict::TooLate);
    assert!(matches!(
        renew(Duration::from_secs(1), last + 1),
        Verdict::Write(_)
    ));
}

#[test]
fn who_starts_counts_on_and_a_new_window_starts_clean() {
    let noted = after(&claimed(), Change::Checkpoint("note".into()), 5);
    let released = after(&noted, Change::Release, 10);
    let reclaimed = start(Start::Reclaim, Some(&released), &second(), at(20));
    assert_eq!(
        (reclaimed.attempt, reclaimed.rev, reclaimed.first_at),
        (2, 4, at(0))
    );
    assert_eq!(reclaimed.checkpoint, "note");
    assert!(!reclaimed.took_over);

    let eager = Claim {
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
fn a_lost_reply_is_recognised_and_nothing_else_is() {
    let completed = after(&claimed(), Change::Complete(response()), 10);
    let released = after(&claimed(), Change::Release, 10);
    let unknown = after(&claimed(), Change::MarkUnknown, 10);
    let complete = || Change::Complete(response());
    let cases = [
        ("completed twice", &completed, complete(), Verdict::Already),
        (
            "released twice",
            &released,
            Change::Release,
            Verdict::Already,
        ),
        (
            "unknown twice",
            &unknown,
            Change::MarkUnknown,
            Verdict::Already,
        ),
        (
            "released, then completed",
            &released,
            complete(),
            Verdict::Superseded,
        ),
        (
            "completed, then released",
            &completed,
            Change::Release,
            Verdict::Superseded,
        ),
        (
            "completed, then unknown",
            &completed,
            Change::MarkUnknown,
            Verdict::Superseded,
        ),
        (
            "unknown, then released",
            &unknown,
            Change::Release,
            Verdict::Superseded,
        ),
        (
            "completed, then renewed",
            &completed,
            Change::Renew(LEASE),
            Verdict::Superseded,
        ),
    ];
    for (case, record, what, expected) in cases {
        assert_eq!(
            change(Some(record), &fence(), &what, at(20)),
            expected,
            "{case}"
        );
    }
    let known = written(change(Some(&unknown), &fence(), &complete(), at(20)));
    assert_eq!(known.into_response(), Some(response()));
}

#[test]
fn what_may_be_said_twice_is_written_over_the_writing_that_it_follows_alone() {
    let noted = after(&claimed(), Change::Checkpoint("one".into()), 5);
    let late = Fence { rev: 1, ..fence() };
    let unheard = Fence { rev: 0, ..fence() };
    let again = Change::Checkpoint("one".into());
    let verdict = |fence| change(Some(&noted), fence, &again, at(6));
    assert_eq!(verdict(&late), Verdict::Already);
    assert_eq!(verdict(&unheard), Verdict::Moved);
    for fence in [late, unheard] {
        for what in [
            Change::Renew(LEASE),
            Change::Renew(LEASE * 2),
            Change::Checkpoint("late".into()),
        ] {
            let verdict = change(Some(&noted), &fence, &what, at(6));
            assert_eq!(verdict, Verdict::Moved, "{what:?}");
        }
        for what in [
            Change::Complete(response()),
            Change::Release,
            Change::MarkUnknown,
        ] {
            let verdict = change(Some(&noted), &fence, &what, at(6));
            assert!(matches!(verdict, Verdict::Write(_)), "{what:?}");
        }
    }
    let renewed = after(&noted, Change::Renew(LEASE), 7);
    let late = Fence { rev: 1, ..fence() };
    let verdict = change(Some(&renewed), &late, &again, at(8));
    assert_eq!(verdict, Verdict::Moved, "a renewal came after the note");
    let unheard = Fence { rev: 0, ..fence() };
    let empty = Change::Checkpoint(Bytes::new());
    let verdict = change(Some(&claimed()), &unheard, &empty, at(5));
    assert_eq!(verdict, Verdict::Moved, "the claim is not a note");
}

#[test]
fn a_renewed_lease_begins_at_the_renewal() {
    let renewed = after(&claimed(), Change::Renew(LEASE * 2), 20_000);
    assert_eq!(renewed.lease_end(), at(80_000));
}

#[test]
fn a_completed_record_has_no_checkpoint() {
    let noted = after(&claimed(), Change::Checkpoint("note".into()), 5);
    let completed = after(&noted, Change::Complete(response()), 10);
    assert!(completed.checkpoint.is_empty());

    let settled = |settlement| {
        let seen = noted.version();
        written(settle(&noted, seen, owner(9), &settlement, at(30_000)))
    };
    let completed = settled(Settlement::Completed(response()));
    assert!(completed.checkpoint.is_empty());
    assert_eq!(settled(Settlement::Released).checkpoint, "note");
}

#[test]
fn only_owner_and_attempt_together_may_change_a_record() {
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
            let verdict = change(Some(&claimed()), &fence, &what, at(5));
            assert_eq!(verdict, Verdict::Superseded, "{what:?}");
        }
    }
}

#[test]
fn what_may_have_happened_is_kept_without_its_claim_and_nothing_else_is() {
    let third = Fence {
        attempt: 3,
        ..fence()
    };
    let kept = written(change(None, &third, &Change::Complete(response()), at(5)));
    assert_eq!((kept.attempt, kept.rev), (3, 1));
    assert_eq!(decide(Some(&kept), &second(), at(6)), Decision::Replay);
    let unknown = written(change(None, &third, &Change::MarkUnknown, at(5)));
    assert_eq!((unknown.attempt, unknown.rev), (3, 1));
    assert_eq!(decide(Some(&unknown), &second(), at(6)), Decision::Unknown);
    let note = Change::Checkpoint("a note".into());
    for what in [Change::Release, Change::Renew(LEASE), note] {
        assert_eq!(change(None, &fence(), &what, at(5)), Verdict::Superseded);
    }
}

#[test]
fn a_settlement_writes_a_fresh_owner_over_the_record_it_has_seen() {
    let record = claimed();
    let completed = Settlement::Completed(response());
    let over = 30_000;
    let settled = written(settle(
        &record,
        record.version(),
        owner(9),
        &completed,
        at(over),
    ));
    assert_eq!(
        change(
            Some(&settled),
            &fence(),
            &Change::Complete(response()),
            at(over)
        ),
        Verdict::Superseded
    );
    let unknown = after(&record, Change::MarkUnknown, 10);
    let released = written(settle(
        &unknown,
        unknown.version(),
        owner(9),
        &Settlement::Released,
        at(11),
    ));
    assert!(!released.took_over && released.rev == unknown.rev + 1);
    let refused = [
        (
            "an older writing",
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
            &Settlement::Released,
            over - 1,
        ),
        ("a result", &settled, settled.version(), &completed, over),
        (
            "a result, released",
            &settled,
            settled.version(),
            &Settlement::Released,
            over,
        ),
    ];
    for (case, record, seen, settlement, ms) in refused {
        let verdict = settle(record, seen, owner(9), settlement, at(ms));
        assert_eq!(verdict, Verdict::Superseded, "{case}");
    }
}

#[test]
fn the_attempt_after_a_reopening_is_one_that_takes_over() {
    let over = at(30_000);
    let resumable = Record {
        policy: Policy::RerunAlways,
        ..claimed()
    };
    let reopen = |record: &Record| {
        let settlement = Settlement::Reopened;
        settle(record, record.version(), owner(9), &settlement, over)
    };
    assert_eq!(reopen(&claimed()), Verdict::Superseded, "it never reruns");

    let reopened = written(reopen(&resumable));
    let stricter = [
        Policy::AtMostOnce,
        Policy::Rerun {
            within: Duration::from_secs(30),
        },
    ];
    for policy in stricter {
        let claim = Claim { policy, ..second() };
        let decision = decide(Some(&reopened), &claim, over);
        assert_eq!(decision, Decision::Unknown, "{policy:?}");
    }
    let resuming = Claim {
        policy: Policy::RerunAlways,
        ..second()
    };
    let settling = |settlement| {
        let seen = reopened.version();
        settle(&reopened, seen, owner(8), &settlement, over)
    };
    let resolved = written(settling(Settlement::Completed(response())));
    assert_eq!(decide(Some(&resolved), &resuming, over), Decision::Replay);
    let freed = written(settling(Settlement::Released));
    let decision = decide(Some(&freed), &resuming, over);
    assert_eq!(decision, Decision::Start(Start::Reclaim));
    assert_eq!(settling(Settlement::Reopened), Verdict::Superseded);
    let other = Claim {
        fingerprint: fingerprint("b"),
        ..resuming.clone()
    };
    let decision = decide(Some(&reopened), &other, over);
    assert_eq!(decision, Decision::Mismatch);
    let decision = decide(Some(&reopened), &resuming, over);
    assert_eq!(decision, Decision::Start(Start::TakeOver));
    let next = start(Start::TakeOver, Some(&reopened), &resuming, over);
    assert!(next.took_over);
    let fence = Fence {
        claim: resuming,
        attempt: next.attempt,
        rev: next.rev,
    };
    let released = written(change(Some(&next), &fence, &Change::Release, over));
    assert_eq!(
        released.state,
        State::Unknown,
        "the abandoned one may go on"
    );
    let again = change(Some(&released), &fence, &Change::Release, over);
    assert_eq!(again, Verdict::Already, "its reply was lost");
}

/// An older or later writing of the same claim's record.
fn version(record: &Record, rev: u64) -> Version {
    Version {
        rev,
        ..record.version()
    }
}
