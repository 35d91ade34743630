//! The value of a key is damaged, or another program has overwritten it. The earlier value may have been a result, so
//! the operation does not run again.

use std::ops::Range;
use std::time::Duration;

use harness::{MongoServer, RedisServer, eventually};
use mongodb::bson::doc;
use shared::idempotency::{
    Blocked, ClaimOutcome, Operation, OwnerId, RunOutcome, UnknownCause, WriteResult,
};

use super::stage::{
    Provider, Stage, a_payment, a_resumable_payment, charged, claim, patience, started,
};

/// The time to live of a damaged value, in milliseconds: less than the retention.
const LIFETIME_MS: &str = "80000000";
/// The bytes of `finished_at` in the header of a record in Redis.
const FINISHED_AT: Range<usize> = 135..148;
/// A `finished_at` in 1970, so the retention of the record is over.
const LONG_AGO: &str = "0000000000001";

/// Redis commands, each of which writes a damaged value under this key. Each damage is different.
async fn damages(redis: &RedisServer, key: &str) -> Vec<Vec<String>> {
    let stored: String = redis.query(&["GET", key]).await;
    let set = |value: &str| {
        ["SET", key, value, "PX", LIFETIME_MS]
            .map(str::to_owned)
            .to_vec()
    };
    let mut cut_and_over = stored[..stored.len() - 1].to_owned();
    cut_and_over.replace_range(FINISHED_AT, LONG_AGO);
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
        set(&format!("tb9{}", &stored[3..])),
        set(&stored[..stored.len() - 1]),
        set(&format!("{stored}x")),
        set(&cut_and_over),
        set(&stored.replacen("completed", "compleeed", 1)),
        set(&stored
            .replacen("\"status\"", "\"stat\"", 1)
            .replacen("00000035", "00000033", 1)),
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
    let (engine, provider) = (stage.engine(), Provider::default());
    let by_plain_commands = a_payment();
    provider.pay(&engine, &by_plain_commands, charged()).await;
    let by_scripts = a_payment();
    let mut lease = started(&engine, &by_scripts).await;
    lease.checkpoint("a note").await;
    lease.complete(charged()).await;

    for payment in [by_plain_commands, by_scripts] {
        let key = payment.key.as_str();
        for command in damages(redis, key).await {
            damage(redis, &command).await;
            let outcome = claim(&engine, &payment).await;
            assert!(
                matches!(
                    outcome,
                    ClaimOutcome::Blocked(Blocked::Unknown(UnknownCause::Unreadable))
                ),
                "{command:?}: {outcome:?}"
            );
            let left: i64 = redis.query(&["PTTL", key]).await;
            let lifetime: i64 = LIFETIME_MS.parse().expect("a number");
            assert!(
                left <= lifetime,
                "{command:?}: a foreign value was overwritten"
            );
        }
    }
    assert_eq!(provider.charges(), 1);
    assert_eq!(engine.counts().unknown, 20);
}

/// The Lua script reads only the header of a record to decide on a claim or a write. The script checks the body only
/// before it copies or returns it.
#[tokio::test]
async fn a_damaged_body_is_never_copied_or_replayed() {
    let stage = Stage::redis().await.with("IDEMPOTENCY_LEASE_MS", "1500");
    let redis = stage.redis.as_ref().expect("redis");
    let (engine, payment) = (stage.engine(), a_resumable_payment());
    let key = payment.key.as_str();
    let owner = OwnerId::fresh();
    let claim_again = async || {
        let lease = Duration::from_millis(1_500);
        let claimed = engine.claim_as(owner, lease, &payment, patience()).await;
        claimed.expect("decided").value
    };
    let ClaimOutcome::Claimed(mut lease) = claim_again().await else {
        panic!("the claim of a fresh key fails");
    };
    assert_eq!(lease.checkpoint("a note").await, WriteResult::Stored(()));
    redis.command(&["APPEND", key, "x"]).await;
    let damaged: String = redis.query(&["GET", key]).await;

    let repeated = claim_again().await;
    assert!(
        matches!(
            repeated,
            ClaimOutcome::Blocked(Blocked::Unknown(UnknownCause::Unreadable))
        ),
        "{repeated:?}"
    );
    let renewal = lease.renew(Duration::from_secs(5)).await;
    assert!(
        matches!(renewal, WriteResult::Superseded(_)),
        "{renewal:?}: the damaged body was copied"
    );
    eventually(Duration::from_secs(10), async || {
        let outcome = claim(&engine, &payment).await;
        matches!(
            outcome,
            ClaimOutcome::Blocked(Blocked::Unknown(UnknownCause::Unreadable))
        )
    })
    .await;
    assert_eq!(redis.query::<String>(&["GET", key]).await, damaged);
    let completed = lease.complete(charged()).await;

    // The completion is accepted: the operation took effect, and its response replaces the damaged
    // body.
    assert!(matches!(completed, WriteResult::Stored(_)), "{completed:?}");
    let outcome = claim(&engine, &payment).await;
    assert!(
        matches!(outcome, ClaimOutcome::Blocked(Blocked::Replay(_))),
        "{outcome:?}"
    );
}

/// One digit moves from a field to the next field. The header keeps its length, but the lengths of the two fields
/// change.
#[tokio::test]
async fn a_header_with_shifted_fields_is_unreadable() {
    let stage = Stage::redis().await;
    let redis = stage.redis.as_ref().expect("redis");
    let (engine, payment) = (stage.engine(), a_payment());
    let key = payment.key.as_str();
    let mut lease = started(&engine, &payment).await;
    // After a renewal, the record has its times, so it is readable without an expiry.
    lease.renew(Duration::from_secs(60)).await;
    let sound: String = redis.query(&["GET", key]).await;
    let fields: Vec<&str> = sound.split(' ').collect();
    // The indices of the fields that consist of digits: retention, owner, counters, times,
    // fingerprint and length. Index 11, `took_over`, is left out.
    let of_digits = [1, 3, 4, 5, 6, 7, 8, 9, 10, 12, 13];

    for pair in of_digits.windows(2) {
        let mut shifted: Vec<String> = fields.iter().map(|&field| field.into()).collect();
        let digit = shifted[pair[0]].remove(0);
        shifted[pair[1]].insert(0, digit);
        let shifted = shifted.join(" ");
        assert_eq!(shifted.len(), sound.len());
        redis.command(&["SET", key, &shifted]).await;

        let renewal = lease.renew(Duration::from_secs(60)).await;
        let outcome = claim(&engine, &payment).await;

        assert!(
            matches!(renewal, WriteResult::Superseded(_)),
            "{shifted}: {renewal:?}"
        );
        assert!(
            matches!(
                outcome,
                ClaimOutcome::Blocked(Blocked::Unknown(UnknownCause::Unreadable))
            ),
            "{shifted}: {outcome:?}"
        );
        assert_eq!(redis.query::<String>(&["GET", key]).await, shifted);
    }
    redis.command(&["SET", key, &sound]).await;
    let renewal = lease.renew(Duration::from_secs(60)).await;
    assert!(matches!(renewal, WriteResult::Stored(_)), "{renewal:?}");
}

/// The owner completes its key again. The new response may differ from the stored response, which is damaged. So no
/// response is returned.
#[tokio::test]
async fn a_damaged_result_is_not_returned_even_to_its_owner() {
    let stage = Stage::redis().await;
    let redis = stage.redis.as_ref().expect("redis");
    let (engine, payment) = (stage.engine(), a_payment());
    let lease = started(&engine, &payment).await;
    let token = lease.token();
    lease.complete(charged()).await;
    redis.command(&["APPEND", payment.key.as_str(), "x"]).await;

    let completed = engine.resume(token, patience()).complete(charged()).await;

    assert!(
        matches!(
            completed,
            WriteResult::Superseded(Some(Blocked::Unknown(UnknownCause::Unreadable)))
        ),
        "{completed:?}"
    );
}

/// The record of a running attempt has a damaged `finished_at`. A renewal clears the field, and the
/// record is kept until one retention after the lease.
#[tokio::test]
async fn an_unfinished_record_never_expires_before_its_lease() {
    let stage = Stage::redis().await;
    let redis = stage.redis.as_ref().expect("redis");
    let (engine, payment) = (stage.engine(), a_payment());
    let key = payment.key.as_str();
    let mut lease = started(&engine, &payment).await;
    // After a renewal, the record has its times, so it is readable without an expiry.
    lease.renew(Duration::from_secs(60)).await;
    let mut record: String = redis.query(&["GET", key]).await;
    record.replace_range(FINISHED_AT, LONG_AGO);
    redis.command(&["SET", key, &record]).await;

    let renewal = lease.renew(Duration::from_secs(60)).await;
    assert!(matches!(renewal, WriteResult::Stored(_)), "{renewal:?}");

    let renewed: String = redis.query(&["GET", key]).await;
    assert_eq!(renewed[FINISHED_AT], "0".repeat(13));
    let left: i64 = redis.query(&["PTTL", key]).await;
    let retention_ms = 86_400_000;
    assert!(left > retention_ms, "{left}");
}

/// The expiry of a key shows the time of its claim, until a script writes the time into the record.
#[tokio::test]
async fn a_claim_without_expiry_blocks_the_key_until_its_owner_completes() {
    let stage = Stage::redis().await;
    let redis = stage.redis.as_ref().expect("redis");
    let (engine, payment) = (stage.engine(), a_payment());
    let lease = started(&engine, &payment).await;
    redis.command(&["PERSIST", payment.key.as_str()]).await;

    let outcome = claim(&engine, &payment).await;
    let completed = lease.complete(charged()).await;
    let replayed = claim(&engine, &payment).await;

    assert!(
        matches!(
            outcome,
            ClaimOutcome::Blocked(Blocked::Unknown(UnknownCause::Unreadable))
        ),
        "{outcome:?}"
    );
    assert_eq!(completed, WriteResult::Stored(charged()));
    assert!(
        matches!(replayed, ClaimOutcome::Blocked(Blocked::Replay(_))),
        "{replayed:?}"
    );
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
        assert_eq!(
            end,
            RunOutcome::Blocked(Blocked::Replay(charged())),
            "{command:?}"
        );
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
            matches!(
                outcome,
                ClaimOutcome::Blocked(Blocked::Unknown(UnknownCause::Unreadable))
            ),
            "{damage}: {outcome:?}"
        );
    }
    assert_eq!(provider.charges(), 9);
}
