//! Scenarios of the window, after which a key runs as new.

use std::time::Duration;

use shared::idempotency::{End, Outcome};
use tests::eventually;

use super::stage::{
    Provider, Stage, a_payment, a_resumable_payment, answer, charged, claim, patience, started,
};

const LIMIT: Duration = Duration::from_secs(10);

fn with_a_short_window(stage: Stage) -> Stage {
    stage
        .with("IDEMPOTENCY_TTL_SECONDS", "1")
        .with("IDEMPOTENCY_LEASE_MS", "100")
}

pub(super) async fn after_the_window_the_key_runs_as_new(stage: Stage) {
    let stage = with_a_short_window(stage);
    let (engine, provider, payment) = (stage.engine(), Provider::default(), a_payment());
    provider.pay(&engine, &payment, charged()).await;
    let end = provider.pay(&engine, &payment, charged()).await;
    assert_eq!(end, End::Replay(charged()));

    eventually(LIMIT, async || {
        let end = provider.pay(&engine, &payment, answer("new")).await;
        end == End::Fresh(answer("new"))
    })
    .await;

    assert_eq!(provider.charges(), 2);
    let end = provider.pay(&stage.engine(), &payment, charged()).await;
    assert_eq!(end, End::Replay(answer("new")));
}

pub(super) async fn a_new_run_starts_clean(stage: Stage) {
    let stage = with_a_short_window(stage);
    let (engine, payment) = (stage.engine(), a_resumable_payment());
    let mut lease = started(&engine, &payment).await;
    lease.checkpoint("old").await;
    tokio::time::sleep(Duration::from_millis(150)).await;
    let second = started(&engine, &payment).await;
    assert_eq!(second.last_checkpoint(), "old");
    second.complete(charged()).await;

    let mut renewed = None;
    eventually(LIMIT, async || {
        if let Outcome::Started(lease) = claim(&engine, &payment).await {
            renewed = Some(lease);
        }
        renewed.is_some()
    })
    .await;

    let lease = renewed.expect("started");
    assert!(!lease.took_over() && lease.last_checkpoint().is_empty());
    let entry = engine.entry(&payment.key, patience()).await;
    let entry = entry.expect("read").expect("there");
    assert!(entry.first_seen < Duration::from_millis(900));
}

/// A store that is Redis alone keeps it for a window after the last write; no store forgets it with its lease.
pub(super) async fn what_is_unknown_does_not_expire_with_the_window(stage: Stage) {
    let window_ms = if stage.database.is_some() || stage.is_memory() {
        1_200
    } else {
        600
    };
    let stage = with_a_short_window(stage);
    let (engine, payment) = (stage.engine(), a_payment());
    started(&engine, &payment).await.mark_unknown().await;

    tokio::time::sleep(Duration::from_millis(window_ms)).await;

    assert!(matches!(
        claim(&engine, &payment).await,
        Outcome::Unknown(_)
    ));
}
