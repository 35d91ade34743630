//! What is stored under a key is damaged, or nobody's: it may have been a result, so nothing runs.

use mongodb::bson::doc;
use shared::idempotency::{Doubt, End, Operation, Outcome};
use tests::{MongoServer, RedisServer};

use super::stage::{Provider, Stage, a_payment, charged, claim};

/// Ways to damage what is stored under a key.
async fn damages(redis: &RedisServer, key: &str) -> Vec<Vec<String>> {
    let stored: String = redis.query(&["GET", key]).await;
    let set = |value: &str| vec!["SET".to_owned(), key.to_owned(), value.to_owned()];
    let hash = vec![
        "HSET".to_owned(),
        key.to_owned(),
        "a".to_owned(),
        "b".to_owned(),
    ];
    vec![
        set(""),
        set("hello"),
        set("{\"status\":\"COMPLETED\"}"),
        set(&stored.replacen("tb1", "tb2", 1)),
        set(&stored[..stored.len() - 1]),
        set(&format!("{stored}x")),
        set(&stored.replacen("completed", "compleeed", 1)),
        set(&stored
            .replacen("\"status\"", "\"stat\"", 1)
            .replacen("00000021", "00000019", 1)),
        hash,
    ]
}

async fn damage(redis: &RedisServer, command: &[String]) {
    redis.command(&["DEL", &command[1]]).await;
    let command: Vec<&str> = command.iter().map(String::as_str).collect();
    redis.command(&command).await;
}

#[tokio::test]
async fn a_damaged_record_never_lets_redis_run_the_key_again() {
    let stage = Stage::redis().await;
    let redis = stage.redis.as_ref().expect("redis");
    let (engine, provider, payment) = (stage.engine(), Provider::default(), a_payment());
    provider.pay(&engine, &payment, charged()).await;
    let key = payment.key.as_str();

    for command in damages(redis, key).await {
        damage(redis, &command).await;
        let outcome = claim(&engine, &payment).await;
        assert!(
            matches!(outcome, Outcome::Unknown(Doubt::Unreadable)),
            "{command:?}: {outcome:?}"
        );
        let left: i64 = redis.query(&["PTTL", key]).await;
        assert_eq!(left, -1, "{command:?}: what is not ours was written to");
    }
    assert_eq!(provider.charges(), 1);
    assert_eq!(engine.counts().unknown, 9);
}

#[tokio::test]
async fn a_damaged_hint_is_repaired_from_mongodb() {
    let stage = Stage::tiered().await;
    let redis = stage.redis.as_ref().expect("tiered");
    let (engine, provider, payment) = (stage.engine(), Provider::default(), a_payment());
    provider.pay(&engine, &payment, charged()).await;
    let key = payment.key.as_str();
    let sound: String = redis.query(&["GET", key]).await;

    for command in damages(redis, key).await {
        damage(redis, &command).await;
        let end = provider.pay(&engine, &payment, charged()).await;
        assert_eq!(end, End::Replay(charged()), "{command:?}");
        let repaired: String = redis.query(&["GET", key]).await;
        assert_eq!(repaired, sound, "{command:?}");
    }
    assert_eq!(provider.charges(), 1);
}

#[tokio::test]
async fn a_damaged_document_never_lets_mongodb_run_the_key_again() {
    let stage = Stage::mongodb().await;
    let (engine, provider) = (stage.engine(), Provider::default());
    let database = stage.database.as_deref().expect("mongodb");
    let server = MongoServer::shared().await;
    let records = server.collection(database, "idempotency").await;
    let damages = [
        doc! { "$set": { "state": "done" } },
        doc! { "$set": { "owner": 7 } },
        doc! { "$set": { "attempt": "one" } },
        doc! { "$set": { "attempt": -1_i64 } },
        doc! { "$set": { "response": "text" } },
        doc! { "$unset": { "response": "" } },
        doc! { "$unset": { "finished_at": "" } },
        doc! { "$unset": { "owner": "" } },
        doc! { "$set": { "fingerprint": "short" } },
    ];
    for damage in damages {
        let payment: Operation = a_payment();
        provider.pay(&engine, &payment, charged()).await;
        let id = doc! { "_id": payment.key.as_str() };
        let damaged = records.update_one(id, damage.clone()).await;
        assert_eq!(damaged.expect("written").matched_count, 1);

        let outcome = claim(&engine, &payment).await;

        assert!(
            matches!(outcome, Outcome::Unknown(Doubt::Unreadable)),
            "{damage}: {outcome:?}"
        );
    }
    assert_eq!(provider.charges(), 9);
}
