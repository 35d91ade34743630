//! Compares the compare-and-sets with the pure functions: every outcome and every field.

mod pair;

use proptest::prelude::*;

use super::super::history::{self, Finding, Kind, Pair as _, Step, Wish};
use pair::Pair;

/// One event of a key.
#[derive(Clone, Debug)]
enum Event {
    Step(Step),
    /// A delayed write arrives. It was computed from the record of `ago` revisions before. Zero means the current
    /// record.
    Late {
        ago: usize,
        judged: Judged,
    },
}

/// The action that a client or a reconciler chose for the record that it had read.
#[derive(Clone, Debug)]
enum Judged {
    Claim(Wish),
    Change(Kind),
    Resolve(Finding),
}

fn event() -> impl Strategy<Value = Event> {
    let judged = prop_oneof![
        2 => history::wish().prop_map(Judged::Claim),
        2 => history::kind().prop_map(Judged::Change),
        1 => history::finding().prop_map(Judged::Resolve),
    ];
    prop_oneof![
        2 => history::step().prop_map(Event::Step),
        1 => (0_usize..5, judged).prop_map(|(ago, judged)| Event::Late { ago, judged }),
    ]
}

/// Histories of slow clients that random search rarely finds.
fn late_histories() -> [Vec<Event>; 3] {
    let wish = |retention_ms| Wish {
        amount: 0,
        bound_ms: history::ALWAYS_MS,
        lease_ms: 100,
        retention_ms,
    };
    let claim = || Event::Step(Step::Claim(wish(2_000_000)));
    let change = |kind| {
        Event::Step(Step::Change {
            which: 1,
            kind,
            known: history::Known::Behind(0),
        })
    };
    let pass = || Event::Step(Step::Pass(200));
    let expire = || Event::Step(Step::Expire);
    let late = |ago, judged| Event::Late { ago, judged };
    [
        // Meanwhile the record was deleted and claimed again: same revision, another owner.
        vec![
            claim(),
            change(Kind::Complete(1)),
            expire(),
            claim(),
            pass(),
            late(2, Judged::Claim(wish(2_000_000))),
            late(2, Judged::Resolve(Finding::Released)),
            late(2, Judged::Change(Kind::Complete(2))),
            change(Kind::Complete(3)),
            pass(),
            late(2, Judged::Claim(wish(100))),
        ],
        // Meanwhile the lease holder wrote: same owner and attempt, another revision.
        vec![
            claim(),
            change(Kind::Checkpoint("a note".into())),
            pass(),
            late(1, Judged::Claim(wish(2_000_000))),
            late(1, Judged::Resolve(Finding::Reopened)),
            late(1, Judged::Change(Kind::Release)),
            late(0, Judged::Claim(wish(2_000_000))),
        ],
        // The record has not changed.
        vec![
            claim(),
            late(0, Judged::Change(Kind::Checkpoint("a note".into()))),
            pass(),
            late(0, Judged::Resolve(Finding::Reopened)),
            late(0, Judged::Claim(wish(2_000_000))),
            late(0, Judged::Change(Kind::Release)),
            late(0, Judged::Resolve(Finding::Completed)),
        ],
    ]
}

#[tokio::test]
async fn mongodb_matches_the_pure_functions_in_rare_histories() {
    let mut pair = Pair::new().await;
    let known =
        history::known_histories().map(|steps| steps.into_iter().map(Event::Step).collect());
    for history in known.into_iter().chain(late_histories()) {
        pair.begin().await;
        for event in history {
            pair.take(event).await;
        }
    }
}

#[test]
fn mongodb_matches_the_pure_functions() {
    history::run_random(300, event(), Pair::new);
}
