//! Records as MongoDB documents. During a deployment, two versions of a function read each other's documents, so the
//! format never changes.

use std::time::{Duration, SystemTime};

use futures_util::TryStreamExt;
use harness::{FaultProxy, MongoServer};
use mongodb::bson::{Bson, DateTime, Document, doc};
use mongodb::{Collection, IndexModel};
use shared::idempotency::{Blocked, ClaimOutcome, Lookup, RecordKey, RunOutcome, WriteResult};

use super::stage::{Provider, Stage, a_payment, answer, charged, claim, patience, started};

async fn records(stage: &Stage) -> Collection<Document> {
    let database = stage.database.as_deref().expect("mongodb");
    let server = MongoServer::shared().await;
    server.collection(database, "idempotency").await
}

/// Describes the fields of a document, in alphabetical order. The values of dates and of long strings are left out,
/// because they differ in each run.
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
async fn the_document_format_never_changes() {
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
async fn one_index_expires_records_and_one_finds_unfinished_records() {
    let stage = Stage::mongodb().await;
    let engine = stage.engine();
    for _ in 0..2 {
        engine.prepare(patience()).await.expect("prepared");
    }

    let names = records(&stage).await.list_index_names().await;

    let mut names = names.expect("listed");
    names.sort();
    let own = ["_id_", "idempotency_unfinished", "idempotency_window"];
    assert_eq!(names, own);
}

/// A MongoDB shell and an import tool write small numbers as 32-bit integers.
#[tokio::test]
async fn a_document_with_32_bit_numbers_is_readable() {
    let stage = Stage::mongodb().await;
    let (engine, payment) = (stage.engine(), a_payment());
    let lease = started(&engine, &payment).await;
    let id = doc! { "_id": payment.key.as_str() };
    let records = records(&stage).await;
    let document = records.find_one_and_delete(id).await.expect("read");
    let mut document = document.expect("there");
    document.extend(doc! { "attempt": 1, "rev": 1, "lease_ms": 30_000, "policy_ms": 0 });
    records.insert_one(document).await.expect("written");

    let outcome = claim(&engine, &payment).await;
    assert!(
        matches!(outcome, ClaimOutcome::Blocked(Blocked::InProgress { .. })),
        "{outcome:?}"
    );
    let completion = lease.complete(charged()).await;
    assert_eq!(completion, WriteResult::Stored(charged()));
}

#[tokio::test]
async fn a_changed_retention_replaces_the_expiry_index() {
    let day = Stage::mongodb().await;
    let week = day
        .clone_settings()
        .with("IDEMPOTENCY_TTL_SECONDS", "604800");
    let day_again = day.clone_settings();

    for (stage, seconds) in [(&day, 86_400), (&week, 604_800), (&day_again, 86_400)] {
        let prepared = stage.new_engine().prepare(patience()).await;
        prepared.expect("prepared");
        let indexes = records(&day).await.list_indexes().await.expect("listed");
        let indexes: Vec<IndexModel> = indexes.try_collect().await.expect("read");
        let retentions: Vec<Duration> = indexes
            .into_iter()
            .filter_map(|index| index.options?.expire_after)
            .collect();
        assert_eq!(retentions, [Duration::from_secs(seconds)]);
    }
}

/// MongoDB has deleted the record of the frozen attempt, so revisions start again from the first one. The revisions of
/// the two attempts are therefore equal.
#[tokio::test]
async fn an_attempt_whose_document_expired_cannot_finish_the_next_one() {
    let stage = Stage::mongodb().await;
    let (engine, payment) = (stage.engine(), a_payment());
    let frozen = started(&engine, &payment).await;
    let id = doc! { "_id": payment.key.as_str() };
    records(&stage).await.delete_one(id).await.expect("deleted");
    let next = started(&stage.engine(), &payment).await;
    assert_eq!(next.attempt(), frozen.attempt());

    let late = frozen.complete(answer("late")).await;

    assert!(matches!(late, WriteResult::Superseded(_)), "{late:?}");
    assert_eq!(
        next.complete(charged()).await,
        WriteResult::Stored(charged())
    );
}

/// Regression: a slow reader had read a finished record and treated it as expired. Meanwhile MongoDB deleted the
/// record. Then another caller claimed the key and completed it at the revision of the deleted record. The reader's
/// compare-and-set matched the new record, so both callers ran the operation.
#[tokio::test]
async fn a_compare_and_set_for_a_deleted_document_starts_nothing() {
    let server = MongoServer::shared().await;
    let proxy = FaultProxy::in_front_of(server.address());
    let stage = Stage::mongodb().await;
    let slow = stage
        .clone_settings()
        .with("MONGODB_URI", &server.uri_through(&proxy))
        .new_engine();
    let (engine, provider, payment) = (stage.engine(), Provider::default(), a_payment());
    let id = doc! { "_id": payment.key.as_str() };
    provider.pay(&engine, &payment, answer("first")).await;
    let long_ago = DateTime::from_system_time(SystemTime::now() - Duration::from_secs(2 * 86_400));
    let over = doc! { "$set": { "finished_at": long_ago } };
    let moved = records(&stage).await.update_one(id.clone(), over).await;
    assert_eq!(moved.expect("moved").modified_count, 1);
    let connected = slow.claim(&a_payment(), patience()).await;
    connected.expect("decided");

    // The slow engine sends three requests: an insert that finds the record, a read, and the compare-and-set.
    proxy.delay(Duration::from_millis(600));
    let (late, ()) = tokio::join!(provider.pay(&slow, &payment, answer("late")), async {
        tokio::time::sleep(Duration::from_millis(900)).await;
        records(&stage).await.delete_one(id).await.expect("deleted");
        provider.pay(&engine, &payment, answer("second")).await;
    });

    assert_eq!(late, RunOutcome::Blocked(Blocked::Replay(answer("second"))));
    assert_eq!(provider.charges(), 2);
}

#[tokio::test]
async fn all_keys_and_unfinished_keys_can_be_listed() {
    for stage in [Stage::mongodb().await, Stage::tiered().await] {
        let (engine, released, running) = (stage.engine(), a_payment(), a_payment());
        started(&engine, &released).await.release().await;
        drop(started(&engine, &running).await);

        let keys = engine.keys(10, patience()).await.expect("read");
        assert!(keys.len() == 2 && keys.contains(&released.key), "{keys:?}");
        let mut pages = engine.unfinished(RecordKey::PREFIX);
        let unfinished = pages.next_page(patience()).await;
        let unfinished = unfinished.expect("read").expect("a page");
        let [(key, Lookup::Found(_))] = unfinished.as_slice() else {
            panic!("{unfinished:?}");
        };
        assert_eq!(*key, running.key);
    }
}
