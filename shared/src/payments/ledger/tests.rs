//! Both ledgers say the same.

use jiff::Timestamp;
use serde_json::json;
use tempfile::TempDir;
use tests::MongoServer;

use super::{Change, FileLedger, Ledger, MongoLedger};
use crate::config::Config;
use crate::deadline::Deadline;
use crate::mongo::Mongo;
use crate::payments::{End, Payment, State};

async fn mongo_ledger() -> MongoLedger {
    let server = MongoServer::shared().await;
    let (uri, database) = (server.uri(), server.fresh_database());
    let config = Config::from_lookup(|variable| match variable {
        "MONGODB_URI" => Some(uri.clone().into()),
        "MONGODB_DATABASE" => Some(database.clone().into()),
        _ => None,
    });
    MongoLedger::new(Mongo::new(&config.expect("usable").mongo))
}

fn payment(number: usize, state: State, intent: Option<&str>) -> Payment {
    let order = json!({
        "amount": 99_999_999, "currency": "EUR", "payment_method": "pm_1", "description": null,
        "metadata": [["$a.b", "c"]], "return_url": null,
    });
    let now = Timestamp::UNIX_EPOCH;
    let payment = Payment {
        id: format!("pay_{number}"),
        tenant: "jwt:alice".to_owned(),
        fingerprint: "f".repeat(64),
        state,
        order: serde_json::from_value(order).expect("an order"),
        provider: "stripe".to_owned(),
        intent: intent.map(str::to_owned),
        livemode: false,
        decline_code: None,
        created_at: now,
        status_since: now,
        answer: None,
    };
    if state.is_open() {
        payment
    } else {
        payment.ended(&End::Succeeded, now)
    }
}

/// What is written, but for the time at which it was.
fn written(payment: &Payment) -> Payment {
    Payment {
        status_since: Timestamp::UNIX_EPOCH,
        ..payment.clone()
    }
}

#[tokio::test]
async fn both_ledgers_change_a_payment_alike() {
    let folder = TempDir::new().expect("a folder");
    let (files, mongo) = (FileLedger::new(folder.path()), mongo_ledger().await);
    let finals = [State::Succeeded, State::Declined, State::Failed];
    let mut number = 0;
    for state in State::OPEN.into_iter().chain(finals) {
        for intent in [None, Some("pi_1")] {
            let ended = Box::new(
                payment(0, State::Created, intent).ended(&End::Failed, Timestamp::UNIX_EPOCH),
            );
            let changes = [
                Change::Attach {
                    intent: "pi_2".to_owned(),
                    livemode: true,
                },
                Change::Move(State::Processing),
                Change::Move(State::Unknown),
                Change::End(ended.clone()),
                Change::EndWithoutIntent(ended),
            ];
            for change in changes {
                number += 1;
                let change = about(change, number);
                let opened = payment(number, state, intent);
                let mut seen = Vec::new();
                for ledger in [&files as &dyn Ledger, &mongo] {
                    let first = ledger.open(&opened, Deadline::UNKNOWN).await;
                    assert_eq!(first, Ok(opened.clone()));
                    let changed = ledger.change(&opened, &change, Deadline::UNKNOWN).await;
                    let changed = changed.expect("changed");
                    let again = ledger.change(&opened, &change, Deadline::UNKNOWN).await;
                    assert_eq!(again.as_ref().map(written), Ok(written(&changed)));
                    let second = ledger.open(&opened, Deadline::UNKNOWN).await;
                    assert_eq!(second.as_ref().map(written), Ok(written(&changed)));
                    seen.push(written(&changed));
                }
                assert_eq!(seen[0], seen[1], "{change:?} of {opened:?}");
                let expected = change.apply(&opened, Timestamp::UNIX_EPOCH);
                assert_eq!(seen[0], written(&expected.unwrap_or(opened)));
            }
        }
    }
}

/// The change, of the payment with this number.
fn about(change: Change, number: usize) -> Change {
    let named = |ended: Box<Payment>| {
        Box::new(Payment {
            id: format!("pay_{number}"),
            ..*ended
        })
    };
    match change {
        Change::End(ended) => Change::End(named(ended)),
        Change::EndWithoutIntent(ended) => Change::EndWithoutIntent(named(ended)),
        other => other,
    }
}

#[tokio::test]
async fn a_tenant_reads_its_own_payments_alone() {
    let folder = TempDir::new().expect("a folder");
    let (files, mongo) = (FileLedger::new(folder.path()), mongo_ledger().await);
    let opened = payment(1, State::Created, None);
    for ledger in [&files as &dyn Ledger, &mongo] {
        ledger
            .open(&opened, Deadline::UNKNOWN)
            .await
            .expect("opened");
        let own = ledger.read("pay_1", "jwt:alice", Deadline::UNKNOWN).await;
        assert_eq!(own, Ok(Some(opened.clone())));
        let foreign = ledger.read("pay_1", "jwt:bob", Deadline::UNKNOWN).await;
        assert_eq!(foreign, Ok(None));
    }
}
