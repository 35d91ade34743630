//! What a request is answered, by what the ledger and the engine know of its payment.

use std::fs;

use foundation::Deadline;
use http::StatusCode;
use http::header::{CONTENT_TYPE, RETRY_AFTER};
use http_api::{Invocation, Response};
use idempotency::{
    Fingerprint, IdempotencyKey, Operation, Outcome, Policy, Progress, RecordKey, Request, Scope,
};
use serde_json::Value;

use super::{NEVER, World, engine, invocation};
use crate::{Payments, payment};

const REPLAYED: &str = "idempotent-replayed";

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

/// The last part of a problem's name.
fn problem(answer: &Response) -> String {
    let body: Value = serde_json::from_slice(answer.body()).unwrap_or_default();
    let name = body["type"].as_str().unwrap_or_default();
    name.rsplit(':').next().unwrap_or_default().to_owned()
}

#[tokio::test]
async fn a_request_is_refused_for_what_is_wrong_with_it() {
    type Change = fn(&mut Invocation);
    let untyped: Change = |asked| drop(asked.request.headers_mut().remove(CONTENT_TYPE));
    let cases: [(&str, Change, u16); 4] = [
        (
            "idempotency-key-missing",
            |asked| drop(asked.request.headers_mut().remove("idempotency-key")),
            400,
        ),
        ("unsupported-media-type", untyped, 415),
        // The longest body; its type is looked at next.
        (
            "unsupported-media-type",
            |asked| {
                asked.request.headers_mut().remove(CONTENT_TYPE);
                *asked.request.body_mut() = vec![b' '; 65_536].into();
            },
            415,
        ),
        (
            "body-too-large",
            |asked| *asked.request.body_mut() = vec![b' '; 65_537].into(),
            413,
        ),
    ];
    let world = World::new(false);
    for (name, change, status) in cases {
        let mut asked = invocation("pm_card_visa");
        change(&mut asked);
        let refused = world.process(NEVER).create(&asked).await;
        let said = (refused.status().as_u16(), problem(&refused));
        assert_eq!(said, (status, name.to_owned()));
    }
}

#[tokio::test]
async fn what_was_answered_before_is_a_replay_and_needs_no_ledger() {
    let world = World::new(false);
    let asked = invocation("pm_card_visa");
    let first = world.process(NEVER).create(&asked).await;
    let by_the_ledger = world.forgetful_process().create(&asked).await;
    fs::remove_dir_all(world.folder.path().join("payments")).expect("removed");
    let by_the_engine = world.process(NEVER).create(&asked).await;

    assert_eq!(first.status(), StatusCode::CREATED);
    assert_eq!(first.headers().get(REPLAYED), None);
    for again in [by_the_ledger, by_the_engine] {
        assert_eq!(
            (again.status(), again.body()),
            (first.status(), first.body())
        );
        assert!(again.headers().contains_key(REPLAYED));
    }
}

/// An attempt for another body holds the key, after the payment's retention.
#[tokio::test]
async fn the_ledger_answers_for_a_key_that_another_request_holds() {
    let world = World::new(false);
    let asked = invocation("pm_card_visa");
    let paid = world.process(NEVER).create(&asked).await;
    let process = world.forgetful_process();
    let other = Fingerprint::of(&Request::default()).expect("unambiguous");
    let other = Operation::new(record_key(), other).with_policy(Policy::RerunAlways);
    let claimed = process.idempotency.claim(&other, Deadline::UNKNOWN).await;
    let claimed = claimed.expect("decided").outcome;
    assert!(matches!(claimed, Outcome::Started(_)));

    let again = process.create(&asked).await;

    assert_eq!((again.status(), again.body()), (paid.status(), paid.body()));
}

/// A key whose payment waits for its customer is not unknown: no operator has to look at it.
#[tokio::test]
async fn the_engine_knows_of_a_payment_that_is_on_its_way() {
    type IsExpected = fn(&Progress) -> bool;
    let cases: [(&str, bool, IsExpected); 2] = [
        ("pm_sandbox_requires_action", false, |progress| {
            matches!(progress, Progress::Completed(_))
        }),
        ("pm_sandbox_timeout_before", true, |progress| {
            *progress == Progress::Abandoned
        }),
    ];
    for (method, asks_later, is_expected) in cases {
        let world = World::new(false);
        let answer = world.process(NEVER).create(&invocation(method)).await;
        assert_eq!(answer.status(), StatusCode::ACCEPTED);
        let asks_again = answer.headers().contains_key(RETRY_AFTER);
        assert_eq!(asks_again, asks_later, "{method}");
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
    let away = world
        .process(NEVER)
        .create(&invocation("pm_card_visa"))
        .await;
    fs::remove_dir(payments.join(".lock")).expect("removed");
    let row = payments.join(format!("{}.json", payment::id_of(&world.key())));
    fs::write(row, "{}").expect("written");
    let unreadable = world
        .process(NEVER)
        .create(&invocation("pm_card_visa"))
        .await;

    assert_eq!(
        (away.status().as_u16(), &*problem(&away)),
        (503, "unavailable")
    );
    let told = (unreadable.status().as_u16(), problem(&unreadable));
    assert_eq!(told, (409, "outcome-unknown".to_owned()));
}
