//! The script against the pure functions: random histories of claims, changes, settlements, late messages and passing
//! time, run on a real server and beside it, verdict by verdict and byte by byte.

mod pair;
mod replies;

use ::tests::RedisServer;
use proptest::prelude::*;
use proptest::test_runner::{Config as Cases, TestRunner};

use pair::Pair;

/// One thing that happens to a key.
#[derive(Clone, Debug)]
enum Step {
    /// So many milliseconds pass; fewer than none where a replica's clock takes over.
    Pass(i64),
    /// Somebody claims, and remembers what came of it.
    Claim(Wish),
    /// Somebody looks.
    Look(Wish),
    /// Somebody repeats a claim that was sent before, or abuses its owner for this amount.
    ClaimAgain(usize, Option<u8>),
    /// Somebody who has claimed, no matter with what success, changes the record, and knows of its last writing or of one before.
    Change {
        which: usize,
        kind: Kind,
        behind: u64,
    },
    /// A reconciler settles the record it has read, an older writing of it, or the record of an earlier claim.
    Settle {
        behind: u64,
        stale_owner: bool,
        released: bool,
    },
}

#[derive(Clone, Debug)]
struct Wish {
    amount: u8,
    bound_ms: u64,
    lease_ms: u64,
    window_ms: u64,
}

#[derive(Clone, Debug)]
enum Kind {
    Complete(u8),
    Release,
    Renew(u64),
    Checkpoint(String),
    MarkUnknown,
}

fn wish() -> impl Strategy<Value = Wish> {
    let bound = prop_oneof![Just(0), Just(9_999_999_999_999), 1_u64..3_000];
    let window = prop_oneof![Just(500_u64), Just(2_000_000)];
    (0_u8..2, bound, 1_u64..1_000, window).prop_map(|(amount, bound_ms, lease_ms, window_ms)| {
        Wish {
            amount,
            bound_ms,
            lease_ms,
            window_ms,
        }
    })
}

fn step() -> impl Strategy<Value = Step> {
    let kind = prop_oneof![
        3 => any::<u8>().prop_map(Kind::Complete),
        2 => Just(Kind::Release),
        1 => (1_u64..2_000).prop_map(Kind::Renew),
        1 => "[a-z\n]{0,5}".prop_map(Kind::Checkpoint),
        1 => Just(Kind::MarkUnknown),
    ];
    prop_oneof![
        3 => (-1_500_i64..2_500).prop_map(Step::Pass),
        4 => wish().prop_map(Step::Claim),
        1 => wish().prop_map(Step::Look),
        1 => (any::<usize>(), prop_oneof![3 => Just(None), 1 => (0_u8..2).prop_map(Some)])
            .prop_map(|(claim, amount)| Step::ClaimAgain(claim, amount)),
        4 => (any::<usize>(), kind, prop_oneof![3 => Just(0_u64), 1 => 1_u64..3])
            .prop_map(|(which, kind, behind)| Step::Change { which, kind, behind }),
        1 => (0_u64..2, prop_oneof![3 => Just(false), 1 => Just(true)], any::<bool>())
            .prop_map(|(behind, stale_owner, released)| Step::Settle { behind, stale_owner, released }),
    ]
}

/// Histories that chance rarely finds.
fn known_histories() -> [Vec<Step>; 4] {
    let claim = |bound_ms| {
        Step::Claim(Wish {
            amount: 0,
            bound_ms,
            lease_ms: 100,
            window_ms: 2_000_000,
        })
    };
    let change = |kind| Step::Change {
        which: 1,
        kind,
        behind: 0,
    };
    let again = |kind| Step::Change {
        which: 1,
        kind,
        behind: 1,
    };
    let note = || Kind::Checkpoint("a note".into());
    [
        // The reply to a renewal or a note is lost, or another word came between.
        vec![
            claim(0),
            change(Kind::Renew(500)),
            again(Kind::Renew(500)),
            again(Kind::Renew(600)),
            change(note()),
            again(note()),
            again(Kind::Renew(500)),
            again(Kind::Checkpoint("another".into())),
        ],
        // A clock that goes back makes nothing young enough to run again.
        vec![
            claim(0),
            change(Kind::MarkUnknown),
            Step::Pass(-9_000),
            claim(0),
        ],
        // The reply to a release after a takeover is lost.
        vec![
            claim(9_999_999_999_999),
            Step::Pass(200),
            claim(9_999_999_999_999),
            change(Kind::Release),
            change(Kind::Release),
        ],
        // An owner is used twice, for two requests.
        vec![claim(0), Step::ClaimAgain(1, Some(1))],
    ]
}

#[tokio::test]
async fn the_script_decides_as_the_pure_functions_do_where_chance_rarely_gets() {
    let mut pair = Pair::new(RedisServer::start().await).await;
    for history in known_histories() {
        pair.begin().await;
        for step in history {
            pair.take(step).await;
        }
    }
}

#[test]
fn the_script_decides_as_the_pure_functions_do() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let pair = runtime.block_on(async { Pair::new(RedisServer::start().await).await });
    let pair = std::cell::RefCell::new(pair);
    let mut cases = TestRunner::new(Cases {
        failure_persistence: None,
        ..Cases::with_cases(500)
    });
    let history = prop::collection::vec(step(), 1..25);

    let ran = cases.run(&history, |steps| {
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
