//! How long each store keeps a key. These tests cover the cases in which the stores differ.

use std::time::Duration;

use futures_util::future::join_all;
use shared::idempotency::{Blocked, ClaimOutcome};

use super::stage::{Provider, Stage, a_payment, charged, claim, started};

/// These stores keep an unknown key until the key is resolved. This test does not include Redis without another store,
/// which deletes the key one retention after the last write.
#[tokio::test]
async fn an_unknown_key_does_not_expire_with_the_retention() {
    let stages = [
        Stage::memory().await,
        Stage::mongodb().await,
        Stage::tiered().await,
    ];
    let outcomes = stages.map(async |stage| {
        let stage = stage
            .with("IDEMPOTENCY_TTL_SECONDS", "1")
            .with("IDEMPOTENCY_LEASE_MS", "100");
        let (engine, payment) = (stage.engine(), a_payment());
        started(&engine, &payment).await.mark_unknown().await;
        tokio::time::sleep(Duration::from_millis(1_200)).await;
        claim(&engine, &payment).await
    });
    for outcome in join_all(outcomes).await {
        assert!(
            matches!(outcome, ClaimOutcome::Blocked(Blocked::Unknown(_))),
            "{outcome:?}"
        );
    }
}

#[tokio::test]
async fn redis_keeps_a_result_for_a_retention() {
    for stage in [
        Stage::redis().await,
        Stage::redis_behind_memory().await,
        Stage::tiered().await,
    ] {
        let (engine, payment) = (stage.engine(), a_payment());
        Provider::default().pay(&engine, &payment, charged()).await;

        let redis = stage.redis.as_ref().expect("redis");
        let ttl: i64 = redis.query(&["PTTL", payment.key.as_str()]).await;
        assert!((86_300_000..=86_400_000).contains(&ttl), "{ttl}");
    }
}
