//! What a request is answered, by what the ledger and the engine know of its payment.

use std::fs;

use foundation::Deadline;
use http::StatusCode;
use idempotency::{
    ClaimOutcome, Fingerprint, IdempotencyKey, Operation, Policy, Progress, RecordKey, Request,
    Scope,
};

use super::{NEVER, World, asked, engine};
use crate::{Payments, payment};

impl World {
    /// A process that knows no key, as after the retention of all of them.
    fn forgetful_process(&self) -> Payments {
        let mut process = self.process(NEVER);
        process.idempotency = engine();
        process
    }
}

fn record_key() -> RecordKey {
    let scope = Scope::http("payments.create", "local").expect("a scope");
    RecordKey::new(&scope, &IdempotencyKey::parse("k-1").expect("a key"))
}

#[tokio::test]
async fn what_was_answered_before_is_a_replay_and_needs_no_ledger() {
    let world = World::new(false);
    let asked = asked("pm_card_visa");
    let first = world.process(NEVER).told(&asked).await;
    let by_the_ledger = world.forgetful_process().told(&asked).await;
    fs::remove_dir_all(world.folder.path().join("payments")).expect("removed");
    let by_the_engine = world.process(NEVER).told(&asked).await;

    assert_eq!(first.status, StatusCode::CREATED);
    assert!(!first.is_replay);
    for again in [by_the_ledger, by_the_engine] {
        assert_eq!((again.status, &again.body), (first.status, &first.body));
        assert!(again.is_replay);
    }
}

/// An attempt for another body holds the key, after the payment's retention.
#[tokio::test]
async fn the_ledger_answers_for_a_key_that_another_request_holds() {
    let world = World::new(false);
    let asked = asked("pm_card_visa");
    let paid = world.process(NEVER).told(&asked).await;
    let process = world.forgetful_process();
    let other = Fingerprint::of(&Request::default()).expect("unambiguous");
    let other = Operation::new(record_key(), other).with_policy(Policy::RerunAlways);
    let claimed = process.idempotency.claim(&other, Deadline::UNKNOWN).await;
    let claimed = claimed.expect("decided").value;
    assert!(matches!(claimed, ClaimOutcome::Claimed(_)));

    let again = process.told(&asked).await;

    assert_eq!((again.status, again.body), (paid.status, paid.body));
}

/// A key whose payment waits for its customer is not unknown: no operator has to look at it.
#[tokio::test]
async fn the_engine_knows_of_a_payment_that_is_on_its_way() {
    type IsExpected = fn(&Progress) -> bool;
    let cases: [(&str, IsExpected); 2] = [
        ("pm_sandbox_requires_action", |progress| {
            matches!(progress, Progress::Completed(_))
        }),
        ("pm_sandbox_timeout_before", |progress| {
            *progress == Progress::Abandoned
        }),
    ];
    for (method, is_expected) in cases {
        let world = World::new(false);
        let answer = world.process(NEVER).told(&asked(method)).await;
        assert_eq!(answer.status, StatusCode::ACCEPTED);
        let key = record_key();
        let entry = world.idempotency.entry(&key, Deadline::UNKNOWN);
        let progress = entry.await.expect("read").expect("there").progress;
        assert!(is_expected(&progress), "{method}: {progress:?}");
    }
}

/// "This request did nothing" is said only where nothing may have been charged.
#[tokio::test]
async fn a_ledger_that_gives_no_payment_is_answered_by_whether_there_is_one() {
    let world = World::new(false);
    let payments = world.folder.path().join("payments");
    fs::create_dir_all(payments.join(".lock")).expect("nothing can be locked");
    let away = world.process(NEVER).told(&asked("pm_card_visa")).await;
    fs::remove_dir(payments.join(".lock")).expect("removed");
    let row = payments.join(format!("{}.json", payment::id_of(&world.key())));
    fs::write(row, "{}").expect("written");
    let unreadable = world.process(NEVER).told(&asked("pm_card_visa")).await;

    assert_eq!(away.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(unreadable.status, StatusCode::CONFLICT);
}
