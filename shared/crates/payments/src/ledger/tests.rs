//! Tests that the file ledger and the MongoDB ledger behave in the same way.

use std::time::Duration;

use foundation::Deadline;
use foundation::secret::Secrets;
use harness::MongoServer;
use mongo_client::{Mongo, MongoConfig};
use mongodb::bson::doc;
use serde_json::json;
use tempfile::TempDir;

use super::{
    Change, ChangeResult, FileLedger, Ledger, LedgerError, MongoLedger, OpenPayments, Queue,
    QueueOrder,
};
use crate::{End, Payment, State, Timestamp};

/// A MongoDB ledger and the name of its database.
async fn mongo_ledger() -> (MongoLedger, String) {
    let server = MongoServer::shared().await;
    let database = server.fresh_database();
    let config = MongoConfig::at(server.uri(), database.clone());
    let mongo = Mongo::new(&config, &Secrets::without_store());
    (MongoLedger::new(mongo), database)
}

/// A payment in this state. If the state is final, the payment has the response of a success.
pub(crate) fn payment(number: usize, state: State, intent: Option<&str>) -> Payment {
    let order = json!({
        "amount": 99_999_999, "currency": "EUR", "payment_method": "pm_1", "description": null,
        "metadata": [["$a.b", "c"]], "return_url": null,
    });
    let now = Timestamp::EPOCH;
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
        looked_at: None,
        answer: None,
    };
    if state.is_open() {
        payment
    } else {
        payment.ended(&End::Succeeded, now)
    }
}

/// The payment with times that can be compared. `EPOCH` stays as it is, and every later time becomes `FAR`.
fn written(payment: &Payment) -> Payment {
    let start_or_later = |moment| {
        if moment == Timestamp::EPOCH {
            Timestamp::EPOCH
        } else {
            Timestamp::FAR
        }
    };
    Payment {
        status_since: start_or_later(payment.status_since),
        looked_at: payment.looked_at.map(start_or_later),
        ..payment.clone()
    }
}

#[tokio::test]
async fn both_ledgers_change_a_payment_alike() {
    let folder = TempDir::new().expect("a folder");
    let (files, (mongo, _)) = (FileLedger::new(folder.path()), mongo_ledger().await);
    let finals = [State::Succeeded, State::Declined, State::Failed];
    let mut number = 0;
    for state in State::OPEN.into_iter().chain(finals) {
        for intent in [None, Some("pi_1")] {
            let declined = End::Declined(Some("generic_decline".to_owned()));
            let ended =
                Box::new(payment(0, State::Created, intent).ended(&declined, Timestamp::FAR));
            let changes = [
                Change::Attach {
                    intent: "pi_2".to_owned(),
                    livemode: true,
                },
                Change::Move(State::Processing),
                Change::Move(State::Unknown),
                Change::Look,
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
                    let expected = change.apply(&opened, Timestamp::FAR);
                    let is_applied = matches!(changed, ChangeResult::Applied(_));
                    assert_eq!(is_applied, expected.is_some(), "{change:?} of {opened:?}");
                    let changed = changed.into_payment();
                    let again = ledger.change(&opened, &change, Deadline::UNKNOWN).await;
                    let again = again.expect("changed");
                    // A second call with the same arguments applies only if the change is `Look`.
                    let repeats = matches!(change, Change::Look) && is_applied;
                    assert_eq!(
                        matches!(again, ChangeResult::Applied(_)),
                        repeats,
                        "{change:?}"
                    );
                    assert_eq!(written(&again.into_payment()), written(&changed));
                    let second = ledger.open(&opened, Deadline::UNKNOWN).await;
                    assert_eq!(second.as_ref().map(written), Ok(written(&changed)));
                    seen.push(written(&changed));
                }
                assert_eq!(seen[0], seen[1], "{change:?} of {opened:?}");
                let expected = change.apply(&opened, Timestamp::FAR);
                assert_eq!(seen[0], written(&expected.unwrap_or(opened)));
            }
        }
    }
}

/// Returns `change`. If the change contains a payment, that payment gets the id with this number.
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
async fn both_ledgers_list_open_payments_alike() {
    let folder = TempDir::new().expect("a folder");
    let (mongo, database) = mongo_ledger().await;
    let files = FileLedger::new(folder.path());
    let now = Timestamp::now();
    let ago = |seconds| now.before(Duration::from_secs(seconds));
    let kept = [
        (ago(50), None, State::Processing),
        (ago(10), None, State::Unknown),
        (ago(60), Some(ago(20)), State::Created),
        (ago(40), Some(ago(30)), State::RequiresAction),
        (ago(30), Some(now), State::Confirming),
        (ago(70), None, State::Succeeded),
        (now, None, State::Created),
    ];
    let lists = [
        (QueueOrder::Oldest, 9, vec![2, 0, 3, 4, 1]),
        (QueueOrder::Oldest, 2, vec![2, 0]),
        (
            QueueOrder::LongestWaiting { looked_before: now },
            9,
            vec![0, 3, 2, 1],
        ),
        (
            QueueOrder::LongestWaiting {
                looked_before: ago(25),
            },
            2,
            vec![0, 3],
        ),
    ];
    for ledger in [&files as &dyn Ledger, &mongo] {
        ledger.prepare(Deadline::UNKNOWN).await.expect("prepared");
        for (number, (created_at, looked_at, state)) in kept.into_iter().enumerate() {
            let payment = Payment {
                created_at,
                looked_at,
                ..payment(number, state, None)
            };
            let opened = ledger.open(&payment, Deadline::UNKNOWN).await;
            assert_eq!(opened, Ok(payment));
        }
        for (order, limit, expected) in &lists {
            let queue = Queue {
                created_before: now,
                order: *order,
                limit: *limit,
            };
            let open = ledger.open_payments(queue, Deadline::UNKNOWN).await;
            let open: Vec<_> = open
                .expect("a list")
                .payments
                .into_iter()
                .map(|open| open.id)
                .collect();
            let expected: Vec<_> = expected
                .iter()
                .map(|number| format!("pay_{number}"))
                .collect();
            assert_eq!(open, expected, "{queue:?}");
        }
        let count = ledger.count_open(now, Deadline::UNKNOWN).await;
        assert_eq!(count, Ok(5));
        let read = ledger.read("pay_0", Deadline::UNKNOWN).await;
        assert_eq!(read.map(|read| read.is_some()), Ok(true));
        assert_eq!(ledger.read("pay_9", Deadline::UNKNOWN).await, Ok(None));
    }
    let rows = MongoServer::shared()
        .await
        .collection(&database, "payments");
    let indexes = rows.await.list_index_names().await.expect("listed");
    assert!(indexes.contains(&"state_1_created_at_1".to_owned()));
}

/// Damages the row of a payment in both ledgers.
async fn break_row(folder: &TempDir, database: &str, id: &str, tenant: Option<&str>) {
    let server = MongoServer::shared().await;
    let rows = server.collection(database, "payments").await;
    let row = doc! { "_id": id, "tenant": tenant, "state": "unknown", "created_at": "2020" };
    let replaced = rows.replace_one(doc! { "_id": id }, row).await;
    assert_eq!(replaced.expect("replaced").matched_count, 1);
    let file = folder.path().join(format!("payments/{id}.json"));
    let row = json!({ "_id": id, "tenant": tenant });
    std::fs::write(file, row.to_string()).expect("written");
}

#[tokio::test]
async fn both_ledgers_report_a_damaged_row_as_unreadable_and_not_as_missing() {
    let folder = TempDir::new().expect("a folder");
    let (mongo, database) = mongo_ledger().await;
    let files = FileLedger::new(folder.path());
    let ledgers = [&files as &dyn Ledger, &mongo];
    for (number, tenant) in [(1, Some("jwt:alice")), (2, None)] {
        let opened = payment(number, State::Unknown, None);
        for ledger in ledgers {
            let first = ledger.open(&opened, Deadline::UNKNOWN).await;
            assert_eq!(first, Ok(opened.clone()));
        }
        break_row(&folder, &database, &opened.id, tenant).await;
        let expected = LedgerError::Unreadable {
            tenant: tenant.map(str::to_owned),
        };
        for ledger in ledgers {
            let read = ledger.read(&opened.id, Deadline::UNKNOWN).await;
            assert_eq!(read, Err(expected.clone()));
            let again = ledger.open(&opened, Deadline::UNKNOWN).await;
            assert_eq!(again, Err(expected.clone()));
            // MongoDB applies the first change, but its result cannot be read.
            for change in [Change::Look, Change::Move(State::Unknown)] {
                let changed = ledger.change(&opened, &change, Deadline::UNKNOWN).await;
                assert_eq!(changed, Err(expected.clone()));
            }
        }
    }
    let queue = Queue {
        created_before: Timestamp::now(),
        order: QueueOrder::Oldest,
        limit: 1,
    };
    for ledger in ledgers {
        let open = ledger.open_payments(queue, Deadline::UNKNOWN).await;
        let open = open.expect("a list");
        assert_eq!(open.unreadable, ["pay_1", "pay_2"]);
        assert_eq!(open.payments, []);
    }
    // MongoDB moves an unreadable row to the end of the queue. An unreadable file cannot record that.
    let queue = Queue {
        order: QueueOrder::LongestWaiting {
            looked_before: queue.created_before,
        },
        limit: 9,
        ..queue
    };
    for left in [["pay_1", "pay_2"].as_slice(), &[]] {
        let open = mongo.open_payments(queue, Deadline::UNKNOWN).await;
        assert_eq!(open.expect("a list").unreadable, left);
    }
}

/// An I/O error must not be reported as a payment that was never opened.
#[tokio::test]
async fn an_io_error_is_reported_as_unavailable_and_not_as_missing() {
    let folder = TempDir::new().expect("a folder");
    let ledger = FileLedger::new(folder.path());
    let queue = Queue {
        created_before: Timestamp::now(),
        order: QueueOrder::Oldest,
        limit: 9,
    };
    let open = ledger.open_payments(queue, Deadline::UNKNOWN).await;
    assert_eq!(open, Ok(OpenPayments::default()));
    let unavailable = LedgerError::Unavailable("file_error");
    let payments = folder.path().join("payments");
    std::fs::create_dir_all(payments.join("pay_1.json")).expect("a folder in place of a file");
    let read = ledger.read("pay_1", Deadline::UNKNOWN).await;
    assert_eq!(read, Err(unavailable.clone()));
    std::fs::remove_dir_all(&payments).expect("removed");
    std::fs::write(&payments, "").expect("a file in place of the folder");
    let open = ledger.open_payments(queue, Deadline::UNKNOWN).await;
    assert_eq!(open, Err(unavailable));
}
