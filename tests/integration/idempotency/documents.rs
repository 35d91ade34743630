//! Records as documents of MongoDB. Two versions of a function read each other's during a deployment, so what they look
//! like never changes.

use mongodb::Collection;
use mongodb::bson::{Bson, Document, doc};
use shared::idempotency::Completion;
use tests::MongoServer;

use super::stage::{Stage, a_payment, answer, charged, patience, started};

async fn records(stage: &Stage) -> Collection<Document> {
    let database = stage.database.as_deref().expect("mongodb");
    let server = MongoServer::shared().await;
    server.collection(database, "idempotency").await
}

/// The fields in alphabetical order, each with its type, or its value where that is always the same.
fn described(document: &Document) -> String {
    let mut fields: Vec<_> = document
        .iter()
        .map(|(name, value)| match value {
            Bson::String(text) if text.len() < 30 => format!("{name} \"{text}\""),
            Bson::String(text) => format!("{name} {} characters", text.len()),
            Bson::Int64(number) => format!("{name} int64 {number}"),
            Bson::Boolean(is) => format!("{name} {is}"),
            Bson::DateTime(_) => format!("{name} date"),
            Bson::Binary(binary) => {
                format!("{name} {:?}", String::from_utf8_lossy(&binary.bytes))
            }
            other => format!("{name} {other:?}"),
        })
        .collect();
    fields.sort();
    fields.join("\n")
}

#[tokio::test]
async fn a_document_is_written_as_it_always_was() {
    let stage = Stage::mongodb().await;
    let (engine, payment) = (stage.engine(), a_payment());
    let id = doc! { "_id": payment.key.as_str() };
    let records = records(&stage).await;
    let stored = async || {
        let found = records.find_one(id.clone()).await;
        let mut document = found.expect("read").expect("there");
        document.remove("_id");
        described(&document)
    };

    let mut lease = started(&engine, &payment).await;
    lease.checkpoint("note").await;
    insta::assert_snapshot!(stored().await, @r#"
    attempt int64 1
    checkpoint "note"
    fingerprint 64 characters
    first_at date
    lease_ms int64 30000
    leased_at date
    owner 32 characters
    policy_ms int64 0
    rev int64 2
    state "in_progress"
    took_over false
    "#);

    lease.complete(charged()).await;
    insta::assert_snapshot!(stored().await, @r#"
    attempt int64 1
    fingerprint 64 characters
    finished_at date
    first_at date
    lease_ms int64 30000
    leased_at date
    owner 32 characters
    policy_ms int64 0
    response "{\"status\":201,\"headers\":[]}\ncharged"
    rev int64 3
    state "completed"
    took_over false
    "#);
}

#[tokio::test]
async fn what_is_over_is_deleted_by_an_index_on_what_has_finished() {
    let stage = Stage::mongodb().await;
    let engine = stage.engine();
    for _ in 0..2 {
        engine.prepare(patience()).await.expect("prepared");
    }

    let names = records(&stage).await.list_index_names().await;

    let names = names.expect("listed");
    assert!(
        names.contains(&"idempotency_window".to_owned()),
        "{names:?}"
    );
}

/// MongoDB has deleted the record since, and counts from one again.
#[tokio::test]
async fn who_outlived_its_document_cannot_finish_the_next_one() {
    let stage = Stage::mongodb().await;
    let (engine, payment) = (stage.engine(), a_payment());
    let frozen = started(&engine, &payment).await;
    let id = doc! { "_id": payment.key.as_str() };
    records(&stage).await.delete_one(id).await.expect("deleted");
    let next = started(&stage.engine(), &payment).await;
    assert_eq!(next.attempt(), frozen.attempt());

    let late = frozen.complete(answer("late")).await;

    assert!(matches!(late, Completion::Superseded(_)), "{late:?}");
    assert_eq!(
        next.complete(charged()).await,
        Completion::Completed(charged())
    );
}
