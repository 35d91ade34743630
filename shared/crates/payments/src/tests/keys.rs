//! Tests what a run of the reconciler does with unfinished keys: some are finished, some are counted, and some are left
//! as they are.

use std::time::Duration;

use foundation::Deadline;
use idempotency::{
    ClaimOutcome, Fingerprint, Idempotency, IdempotencyKey, Lease, Operation, Policy, Progress,
    RecordKey, Request, Scope,
};

use super::{World, order_of};
use crate::keys::{UnfinishedKeys, finish};
use crate::ledger::{FileLedger, Ledger};
use crate::payment::End;
use crate::{Payment, Timestamp};

fn fingerprint(payload: &[u8]) -> Fingerprint {
    let request = Request {
        payload,
        ..Request::default()
    };
    Fingerprint::of(&request).expect("unambiguous")
}

fn operation(operation: &str, key: &str, policy: Policy) -> Operation {
    let scope = Scope::http(operation, "local").expect("a scope");
    let key = RecordKey::new(&scope, &IdempotencyKey::parse(key).expect("a key"));
    Operation::new(key, fingerprint(b"1")).with_policy(policy)
}

async fn started(engine: &Idempotency, operation: &Operation) -> Lease {
    let claimed = engine.claim(operation, Deadline::UNKNOWN).await;
    match claimed.expect("decided").value {
        ClaimOutcome::Claimed(lease) => lease,
        other => panic!("did not start: {other:?}"),
    }
}

/// The ledger's row for the payment that a key belongs to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Row {
    Missing,
    Open,
    Ended,
    OfAnotherRequest,
}

async fn write(ledger: &FileLedger, engine: &Idempotency, key: &RecordKey, row: Row) {
    let order = br#"{"amount": 1000, "currency": "EUR", "payment_method": "pm_card_visa"}"#;
    let payment = Payment::new(
        &engine.derived_key(key),
        "local",
        &fingerprint(if row == Row::OfAnotherRequest {
            b"2"
        } else {
            b"1"
        }),
        order_of(order),
        "sandbox",
        Timestamp::EPOCH,
    );
    let payment = match row {
        Row::Missing => return,
        Row::Open => payment,
        Row::Ended | Row::OfAnotherRequest => payment.ended(&End::Succeeded, Timestamp::EPOCH),
    };
    let opened = ledger.open(&payment, Deadline::UNKNOWN).await;
    assert_eq!(opened, Ok(payment));
}

#[tokio::test]
async fn the_keys_of_payments_and_events_are_finished_and_others_are_counted() {
    const DAY: Duration = Duration::from_secs(86_400);
    let world = World::new(false);
    let engine = Idempotency::in_memory();
    let ledger = FileLedger::new(world.folder.path());
    let (payments, rerun) = ("payments.create", Policy::RerunAlways);
    let cases = [
        (operation(payments, "missing", rerun), Row::Missing, false),
        (operation(payments, "open", rerun), Row::Open, true),
        (operation(payments, "ended", rerun), Row::Ended, false),
        (
            operation(payments, "other", rerun),
            Row::OfAnotherRequest,
            false,
        ),
        (
            operation("payments.webhook", "evt_1", rerun),
            Row::Missing,
            false,
        ),
        (
            operation("payments.refund", "r-1", Policy::AtMostOnce),
            Row::Missing,
            true,
        ),
        (
            operation("orders", "o-1", Policy::AtMostOnce),
            Row::Missing,
            true,
        ),
        (operation("orders", "o-2", rerun), Row::Missing, true),
    ];
    for (operation, row, _) in &cases {
        started(&engine, operation).await.mark_unknown().await;
        write(&ledger, &engine, &operation.key, *row).await;
    }
    let running = operation(payments, "running", rerun);
    let _lease = started(&engine, &running).await;
    let finish = async |settle_after, deadline| {
        let finished = finish(&engine, Some(&ledger), settle_after, deadline).await;
        finished.expect("a store")
    };

    let too_early = finish(DAY, Deadline::UNKNOWN).await;
    let without_time = Deadline::after(Duration::from_millis(400));
    let without_time = finish(Duration::ZERO, without_time).await;
    let in_time = finish(Duration::ZERO, Deadline::UNKNOWN).await;

    let counted = UnfinishedKeys {
        finished: 0,
        unknown: 2,
        oldest_unknown: Duration::ZERO,
        is_complete: true,
    };
    assert_eq!(too_early, counted);
    assert_eq!(without_time, UnfinishedKeys::default());
    assert_eq!(
        in_time,
        UnfinishedKeys {
            finished: 4,
            ..counted
        }
    );
    let left = cases.iter().filter(|(_, _, is_left)| *is_left);
    let mut left: Vec<_> = left.map(|(operation, ..)| &operation.key).collect();
    left.push(&running.key);
    left.sort_unstable_by(|one, other| one.as_str().cmp(other.as_str()));
    let mut pages = engine.unfinished(RecordKey::PREFIX);
    let unfinished = pages.next_page(Deadline::UNKNOWN).await;
    let unfinished = unfinished.expect("read").expect("a page");
    assert_eq!(
        unfinished.iter().map(|(key, _)| key).collect::<Vec<_>>(),
        left
    );
    // The reconciler never completes a key with the response of a payment for another request.
    for (case, is_answered) in [(&cases[2], true), (&cases[3], false)] {
        let entry = engine.entry(&case.0.key, Deadline::UNKNOWN).await;
        let progress = entry.expect("read").expect("there").progress;
        assert_eq!(matches!(progress, Progress::Completed(_)), is_answered);
    }
}
