//! The answers to requests, depending on what the ledger and the engine have stored about the payment.

use std::fs;

use foundation::Deadline;
use http::StatusCode;
use idempotency::{
    ClaimOutcome, Fingerprint, IdempotencyKey, Operation, Policy, Progress, RecordKey, Request,
    Scope,
};

use super::{NEVER, World, engine, request};
use crate::{Payments, payment};

impl World {
    /// A process with an empty idempotency store, as if the retention of all keys had ended.
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
async fn a_repeated_request_is_replayed_by_the_ledger_or_by_the_engine_alone() {
    let world = World::new(false);
    let request = request("pm_card_visa");
    let first = world.process(NEVER).answer(&request).await;
    let by_the_ledger = world.forgetful_process().answer(&request).await;
    fs::remove_dir_all(world.folder.path().join("payments")).expect("removed");
    let by_the_engine = world.process(NEVER).answer(&request).await;

    assert_eq!(first.status, StatusCode::CREATED);
    assert!(!first.is_replay);
    for again in [by_the_ledger, by_the_engine] {
        assert_eq!((again.status, &again.body), (first.status, &first.body));
        assert!(again.is_replay);
    }
}

/// The key's retention has ended, and then an attempt with another body has claimed the key.
#[tokio::test]
async fn the_ledger_answers_for_a_key_that_another_request_holds() {
    let world = World::new(false);
    let request = request("pm_card_visa");
    let paid = world.process(NEVER).answer(&request).await;
    let process = world.forgetful_process();
    let other = Fingerprint::of(&Request::default()).expect("unambiguous");
    let other = Operation::new(record_key(), other).with_policy(Policy::RerunAlways);
    let claimed = process.idempotency.claim(&other, Deadline::UNKNOWN).await;
    let claimed = claimed.expect("decided").value;
    assert!(matches!(claimed, ClaimOutcome::Claimed(_)));

    let again = process.answer(&request).await;

    assert_eq!((again.status, again.body), (paid.status, paid.body));
}

/// If a payment waits for the customer, the key is completed with a reference to the payment. So no operator has to
/// resolve the key.
#[tokio::test]
async fn a_pending_payment_completes_its_key_with_a_reference() {
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
        let answer = world.process(NEVER).answer(&request(method)).await;
        assert_eq!(answer.status, StatusCode::ACCEPTED);
        let key = record_key();
        let entry = world.idempotency.entry(&key, Deadline::UNKNOWN);
        let progress = entry.await.expect("read").expect("there").progress;
        assert!(is_expected(&progress), "{method}: {progress:?}");
    }
}

/// A request is answered with "this request did nothing" only if no attempt can have charged.
#[tokio::test]
async fn a_ledger_outage_is_unavailable_and_an_unreadable_row_is_unknown() {
    let world = World::new(false);
    let payments = world.folder.path().join("payments");
    fs::create_dir_all(payments.join(".lock")).expect("nothing can be locked");
    let unavailable = world.process(NEVER).answer(&request("pm_card_visa")).await;
    fs::remove_dir(payments.join(".lock")).expect("removed");
    let row = payments.join(format!("{}.json", payment::id_of(&world.key())));
    fs::write(row, "{}").expect("written");
    let unreadable = world.process(NEVER).answer(&request("pm_card_visa")).await;

    assert_eq!(unavailable.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(unreadable.status, StatusCode::CONFLICT);
}
