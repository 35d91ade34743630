//! Random histories of one key: claims, looks, changes, resolutions, repeated and stale messages, deletion and passing
//! time. Each store's test runs them on a real server and on the pure functions of `decision`.

use std::time::Duration;

use http::StatusCode;
use proptest::prelude::*;
use proptest::test_runner::{Config as Cases, TestRunner};

use crate::decision::{Change, ClaimRequest, Fence, Resolution};
use crate::record::{Record, State};
use crate::store_time::StoreTime;
use crate::{Fingerprint, OwnerId, Policy, Request, SavedResponse};

/// A key in a store, and the record that the pure functions compute.
pub(super) trait Pair<S> {
    /// Deletes the previous history.
    async fn begin(&mut self);

    /// Runs one step in the store and on the pure functions, and compares them.
    async fn take(&mut self, step: S);
}

/// One event of a key.
#[derive(Clone, Debug)]
pub(super) enum Step {
    /// This many milliseconds pass. If the number is negative, a replica takes over, and the clock of that replica is
    /// behind.
    Pass(i64),
    /// The store deletes the record, if the record is finished.
    Expire,
    /// A client claims the key, and keeps the fence even if the claim is blocked.
    Claim(Wish),
    /// A client looks at the key, but does not claim it.
    Look(Wish),
    /// A client repeats an earlier claim, or uses the owner of that claim for another amount.
    ClaimAgain(usize, Option<u8>),
    /// A client changes the record, even if its claim was blocked.
    Change {
        which: usize,
        kind: Kind,
        known: Known,
    },
    /// A reconciler resolves the record that it has read, an older revision of it, or the record of an earlier claim.
    Resolve {
        behind: u64,
        stale_owner: bool,
        finding: Finding,
    },
}

/// The arguments of a claim or a look.
#[derive(Clone, Debug)]
pub(super) struct Wish {
    pub(super) amount: u8,
    pub(super) bound_ms: u64,
    pub(super) lease_ms: u64,
    pub(super) retention_ms: u64,
}

/// A change of the lease holder.
#[derive(Clone, Debug)]
pub(super) enum Kind {
    Complete(u8),
    Release,
    Renew(u64),
    Checkpoint(String),
    MarkUnknown,
}

/// The revision that a lease holder has.
#[derive(Clone, Copy, Debug)]
pub(super) enum Known {
    /// This many revisions before the current one; zero: the current one.
    Behind(u64),
    Nothing,
}

/// The finding of a reconciler.
#[derive(Clone, Copy, Debug)]
pub(super) enum Finding {
    Completed,
    Released,
    Reopened,
}

/// The stored policy bound of an operation that may always run again.
pub(super) const ALWAYS_MS: u64 = 9_999_999_999_999;

/// Generates arguments of a claim or a look.
pub(super) fn wish() -> impl Strategy<Value = Wish> {
    let bound = prop_oneof![Just(0), Just(ALWAYS_MS), 1_u64..3_000];
    let retention = prop_oneof![Just(500_u64), Just(2_000_000)];
    (0_u8..2, bound, 1_u64..1_000, retention).prop_map(
        |(amount, bound_ms, lease_ms, retention_ms)| Wish {
            amount,
            bound_ms,
            lease_ms,
            retention_ms,
        },
    )
}

/// Generates a change.
pub(super) fn kind() -> impl Strategy<Value = Kind> {
    prop_oneof![
        3 => any::<u8>().prop_map(Kind::Complete),
        2 => Just(Kind::Release),
        1 => (1_u64..2_000).prop_map(Kind::Renew),
        1 => "[a-z\n]{0,5}".prop_map(Kind::Checkpoint),
        1 => Just(Kind::MarkUnknown),
    ]
}

/// Generates a finding.
pub(super) fn finding() -> impl Strategy<Value = Finding> {
    prop_oneof![
        Just(Finding::Completed),
        Just(Finding::Released),
        Just(Finding::Reopened),
    ]
}

/// Generates a step.
pub(super) fn step() -> impl Strategy<Value = Step> {
    let known = prop_oneof![
        6 => Just(Known::Behind(0)),
        2 => (1_u64..3).prop_map(Known::Behind),
        1 => Just(Known::Nothing),
    ];
    prop_oneof![
        6 => (-1_500_i64..2_500).prop_map(Step::Pass),
        2 => Just(Step::Expire),
        8 => wish().prop_map(Step::Claim),
        2 => wish().prop_map(Step::Look),
        2 => (any::<usize>(), prop_oneof![3 => Just(None), 1 => (0_u8..2).prop_map(Some)])
            .prop_map(|(claim, amount)| Step::ClaimAgain(claim, amount)),
        8 => (any::<usize>(), kind(), known)
            .prop_map(|(which, kind, known)| Step::Change { which, kind, known }),
        3 => (prop_oneof![3 => Just(0_u64), 1 => Just(1)], prop_oneof![3 => Just(false), 1 => Just(true)], finding())
            .prop_map(|(behind, stale_owner, finding)| Step::Resolve { behind, stale_owner, finding }),
    ]
}

/// Histories that random search rarely finds.
pub(super) fn known_histories() -> [Vec<Step>; 8] {
    let claim = |bound_ms| {
        Step::Claim(Wish {
            amount: 0,
            bound_ms,
            lease_ms: 100,
            retention_ms: 2_000_000,
        })
    };
    let change_of = |kind, known| Step::Change {
        which: 1,
        kind,
        known,
    };
    let change = |kind| change_of(kind, Known::Behind(0));
    let again = |kind| change_of(kind, Known::Behind(1));
    let resolve = |finding| Step::Resolve {
        behind: 0,
        stale_owner: false,
        finding,
    };
    let note = || Kind::Checkpoint("a note".into());
    [
        // The reply to a renewal or a checkpoint is lost, or another change comes between.
        vec![
            claim(0),
            change(Kind::Renew(500)),
            again(Kind::Renew(500)),
            again(Kind::Renew(600)),
            change(note()),
            again(note()),
            again(Kind::Renew(500)),
            again(Kind::Checkpoint("another".into())),
            change(Kind::Checkpoint(String::new())),
        ],
        // A clock that goes back never makes a rerun possible again.
        vec![
            claim(0),
            change(Kind::MarkUnknown),
            Step::Pass(-9_000),
            claim(0),
        ],
        // The reply to a release after a takeover is lost.
        vec![
            claim(ALWAYS_MS),
            Step::Pass(200),
            claim(ALWAYS_MS),
            change(Kind::Release),
            change(Kind::Release),
        ],
        // An owner is used for two requests.
        vec![claim(0), Step::ClaimAgain(1, Some(1))],
        // An abandoned attempt is reopened: it cannot finish any more, and the next attempt is a takeover.
        vec![
            claim(ALWAYS_MS),
            change(note()),
            resolve(Finding::Reopened),
            Step::Pass(200),
            resolve(Finding::Reopened),
            change(Kind::Complete(1)),
            claim(0),
            Step::Claim(Wish {
                amount: 1,
                bound_ms: ALWAYS_MS,
                lease_ms: 100,
                retention_ms: 2_000_000,
            }),
            claim(ALWAYS_MS),
            change(Kind::Release),
        ],
        // The key is reopened, and resolved again: first as released, later as completed.
        vec![
            claim(ALWAYS_MS),
            Step::Pass(200),
            resolve(Finding::Reopened),
            resolve(Finding::Released),
            resolve(Finding::Released),
            claim(ALWAYS_MS),
            Step::Pass(200),
            resolve(Finding::Reopened),
            resolve(Finding::Completed),
            claim(ALWAYS_MS),
        ],
        // The store has deleted the released record. Then the holder marks its outcome as unknown.
        vec![
            claim(0),
            change(Kind::Release),
            Step::Pass(2_000_001),
            Step::Expire,
            change(Kind::MarkUnknown),
            claim(0),
            change(Kind::Complete(1)),
        ],
        // The retention of a result ends, and the key starts again.
        vec![
            claim(0),
            change(Kind::Complete(1)),
            Step::Pass(2_000_001),
            claim(0),
            change(Kind::Release),
            Step::Expire,
            change(Kind::Release),
            claim(0),
        ],
    ]
}

/// Runs random histories of at most 24 steps.
///
/// # Panics
///
/// Panics if the store and the pure functions differ; the message contains the shortest history found.
pub(super) fn run_random<S: Clone + std::fmt::Debug, P: Pair<S>>(
    histories: u32,
    step: impl Strategy<Value = S>,
    pair: impl AsyncFnOnce() -> P,
) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let pair = std::cell::RefCell::new(runtime.block_on(pair()));
    let mut cases = TestRunner::new(Cases {
        failure_persistence: None,
        ..Cases::with_cases(histories)
    });

    let ran = cases.run(&prop::collection::vec(step, 1..25), |steps| {
        #[expect(clippy::await_holding_refcell_ref, reason = "one history at a time")]
        runtime.block_on(async {
            let mut pair = pair.borrow_mut();
            pair.begin().await;
            for step in steps {
                pair.take(step).await;
            }
        });
        Ok(())
    });

    if let Err(failure) = ran {
        panic!("{failure}");
    }
}

/// The fingerprint of a request for this amount.
pub(super) fn fingerprint_of(amount: u8) -> Fingerprint {
    let request = Request {
        payload: &[amount],
        ..Request::default()
    };
    Fingerprint::of(&request).expect("unambiguous")
}

/// A claim with a new owner.
pub(super) fn claim_of(wish: &Wish) -> ClaimRequest {
    ClaimRequest {
        owner: OwnerId::fresh(),
        fingerprint: fingerprint_of(wish.amount),
        policy: Policy::from_bound_ms(wish.bound_ms),
        lease: Duration::from_millis(wish.lease_ms),
        retention: Duration::from_millis(wish.retention_ms),
    }
}

/// The change of this kind.
pub(super) fn change_of(kind: Kind) -> Change {
    match kind {
        Kind::Complete(number) => Change::Complete(response(number)),
        Kind::Release => Change::Release,
        Kind::Renew(ms) => Change::Renew(Duration::from_millis(ms)),
        Kind::Checkpoint(note) => Change::Checkpoint(note.into()),
        Kind::MarkUnknown => Change::MarkUnknown,
    }
}

/// The resolution for this finding.
pub(super) fn resolution_of(finding: Finding) -> Resolution {
    match finding {
        Finding::Completed => Resolution::Completed(response(0)),
        Finding::Released => Resolution::Released,
        Finding::Reopened => Resolution::Reopened,
    }
}

/// Returns the revision that a lease holder has while the record is at `rev`.
pub(super) fn known_rev(known: Known, rev: u64) -> u64 {
    match known {
        Known::Behind(behind) => rev.saturating_sub(behind),
        Known::Nothing => 0,
    }
}

/// Moves the record into the past, which is equivalent to moving the clock into the future.
pub(super) fn age(record: &mut Record, ms: i64) {
    let earlier = |time: &mut StoreTime| {
        *time = StoreTime::from_ms(time.as_ms().saturating_add_signed(-ms));
    };
    earlier(&mut record.leased_at);
    earlier(&mut record.first_at);
    match &mut record.state {
        State::Released { finished_at } | State::Completed { finished_at, .. } => {
            earlier(finished_at);
        }
        State::InProgress | State::Unknown => {}
    }
}

/// Picks a claim of the history. In three of four cases this is the last claim, because the record most likely belongs
/// to that claim.
pub(super) fn pick(claims: &[Fence], which: usize) -> Option<Fence> {
    match which % 4 {
        0 => claims.get((which / 4).checked_rem(claims.len())?).cloned(),
        _ => claims.last().cloned(),
    }
}

fn response(number: u8) -> SavedResponse {
    SavedResponse::new(StatusCode::OK, number.to_string())
}
