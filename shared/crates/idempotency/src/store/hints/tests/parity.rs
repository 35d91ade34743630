//! Compares the commands with the pure functions in `simulated`. Random histories of claims, results, removals, damaged
//! values and passing time run on a real server and on the functions. The test compares each answer and each stored byte.

use harness::RedisServer;
use proptest::prelude::*;
use proptest::test_runner::{Config as Cases, TestRunner};

use super::pair::Pair;

/// One event of a key.
#[derive(Clone, Debug)]
pub(super) enum Step {
    Pass(Until),
    Claim(Asked),
    Look(Asked),
    /// Sends an earlier claim again.
    ClaimAgain(usize),
    /// Sends the result of an earlier claim, or of a claim that Redis has not seen.
    Keep {
        of: usize,
        request: u8,
        finished: Finished,
    },
    /// Removes the claim of an earlier caller.
    Remove(usize),
    Damage(Damage),
}

#[derive(Clone, Debug)]
pub(super) struct Asked {
    pub(super) request: u8,
    pub(super) lease_ms: u64,
}

/// How far the stored value moves into the past.
#[derive(Clone, Copy, Debug)]
pub(super) enum Until {
    /// By this many milliseconds. If the number is negative, another server takes over, and the clock of that server is
    /// behind.
    By(i64),
    /// Until this many milliseconds before its expiry.
    TheEnd(i64),
    /// Until it has expired.
    AfterTheEnd,
}

/// The time at which a result finished. The variant is a base time. The value is the number of milliseconds after that
/// base.
#[derive(Clone, Copy, Debug)]
pub(super) enum Finished {
    /// The base is the current time.
    Now(i64),
    /// The base is the time at which the stored result finished; without a stored result, the current time.
    Held(i64),
    /// The base is exactly one retention before the current time.
    TheEnd(i64),
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Damage {
    /// The last byte is lost.
    CutShort,
    NotARecord,
    Empty,
    WrongType,
}

fn step() -> impl Strategy<Value = Step> {
    let near = || -1_i64..2;
    // The server's clock runs while the test runs, so no history depends on a few seconds.
    let until = prop_oneof![
        3 => (-60_000_i64..60_000).prop_map(Until::By),
        1 => (5_000_i64..10_000).prop_map(Until::TheEnd),
        1 => Just(Until::AfterTheEnd),
    ];
    let lease = || prop_oneof![9 => 30_000_u64..100_000, 1 => 899_999_u64..900_002];
    let asked = || (0_u8..2, lease()).prop_map(|(request, lease_ms)| Asked { request, lease_ms });
    let finished = prop_oneof![
        (-2_000_i64..100).prop_map(Finished::Now),
        near().prop_map(Finished::Held),
        prop_oneof![Just(-5_000_i64), Just(5_000)].prop_map(Finished::TheEnd),
    ];
    let damage = prop_oneof![
        3 => Just(Damage::CutShort),
        1 => Just(Damage::NotARecord),
        1 => Just(Damage::Empty),
        1 => Just(Damage::WrongType),
    ];
    prop_oneof![
        3 => until.prop_map(Step::Pass),
        4 => asked().prop_map(Step::Claim),
        1 => asked().prop_map(Step::Look),
        2 => any::<usize>().prop_map(Step::ClaimAgain),
        4 => (any::<usize>(), 0_u8..2, finished)
            .prop_map(|(of, request, finished)| Step::Keep { of, request, finished }),
        2 => any::<usize>().prop_map(Step::Remove),
        1 => damage.prop_map(Step::Damage),
    ]
}

#[test]
fn the_commands_match_the_pure_functions() {
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
