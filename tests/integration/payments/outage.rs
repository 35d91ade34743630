//! Payments while the stores are unavailable, and payments in invocations with too little time left.

use std::time::Duration;

use harness::{FaultProxy, MongoServer, RedisServer, eventually};
use serde_json::json;

use super::shop::{Shop, payment, problem, ten_euros};

/// The payment functions with two stores: Redis, and MongoDB behind a proxy.
struct World {
    redis: RedisServer,
    mongo: FaultProxy,
    shop: Shop,
}

impl World {
    async fn new() -> Self {
        let server = MongoServer::shared().await;
        let (redis, mongo) = (
            RedisServer::start().await,
            FaultProxy::in_front_of(server.address()),
        );
        let shop = Shop::with(&[
            ("REDIS_URL", &redis.url()),
            ("MONGODB_URI", &server.uri_through(&mongo)),
            ("MONGODB_DATABASE", &server.fresh_database()),
            ("IDEMPOTENCY_LEASE_GRACE_MS", "0"),
        ])
        .await;
        let warm = shop.pay("warm", &ten_euros("pm_card_visa")).await;
        assert_eq!(warm.status, 201, "{}", warm.text());
        Self { redis, mongo, shop }
    }

    async fn is_paid_once(&self, key: &str, method: &str) {
        eventually(Duration::from_secs(40), async || {
            self.shop.pay(key, &ten_euros(method)).await.status == 201
        })
        .await;
    }
}

#[tokio::test]
async fn without_mongodb_no_payment_begins() {
    let world = World::new().await;
    world.mongo.refuse();

    let refused = world.shop.pay("k-1", &ten_euros("pm_card_visa")).await;

    assert_eq!((refused.status, &*problem(&refused)), (503, "unavailable"));
    assert!(refused.header("retry-after").is_some());
    assert_eq!(world.shop.intents().len(), 1);
    let replayed = world.shop.pay("warm", &ten_euros("pm_card_visa")).await;
    assert_eq!(replayed.header("idempotent-replayed"), Some("true"));
    world.mongo.heal();
    world.is_paid_once("k-1", "pm_card_visa").await;
}

/// The charge succeeds, but the ledger cannot record it. The first answer is not final, and a retry records the
/// success.
#[tokio::test]
async fn a_charge_that_was_not_recorded_is_recorded_by_a_retry() {
    for fault in [FaultProxy::refuse, FaultProxy::black_hole] {
        let world = World::new().await;
        let slow = ten_euros("pm_sandbox_slow");
        let paying = world.shop.create.queue(payment("k-1", &slow)).await;
        tokio::time::sleep(Duration::from_millis(1_500)).await;
        fault(&world.mongo);

        let answer = paying.await;

        assert_eq!(
            (answer.status, &answer.json()["status"]),
            (202, &json!("unknown"))
        );
        assert!(answer.header("retry-after").is_some());
        assert_eq!(world.shop.intents(), ["succeeded", "succeeded"]);
        world.mongo.heal();
        world.is_paid_once("k-1", "pm_sandbox_slow").await;
        assert_eq!(world.shop.intents(), ["succeeded", "succeeded"]);
    }
}

#[tokio::test]
async fn a_payment_is_charged_once_if_redis_loses_all_data() {
    let world = World::new().await;
    let first = world.shop.pay("k-1", &ten_euros("pm_card_visa")).await;
    world.redis.command(&["FLUSHALL"]).await;

    let again = world.shop.pay("k-1", &ten_euros("pm_card_visa")).await;

    assert_eq!((again.status, again.body), (201, first.body));
    assert_eq!(world.shop.intents(), ["succeeded", "succeeded"]);
}

/// After the retention, the engine treats the key as new. The ledger still has the response.
#[tokio::test]
async fn a_payment_is_replayed_after_the_retention_of_its_key() {
    let shop = Shop::with_mongodb(&[("IDEMPOTENCY_TTL_SECONDS", "1")]).await;
    let first = shop.pay("k-1", &ten_euros("pm_card_visa")).await;
    tokio::time::sleep(Duration::from_millis(1_500)).await;

    let again = shop.pay("k-1", &ten_euros("pm_card_visa")).await;

    assert_eq!((again.status, &again.body), (201, &first.body));
    assert_eq!(again.header("idempotent-replayed"), Some("true"));
    assert_eq!(shop.intents(), ["succeeded"]);
}

#[tokio::test]
async fn another_process_replays_the_same_response() {
    let world = World::new().await;
    let first = world.shop.pay("k-1", &ten_euros("pm_card_visa")).await;

    let cold = world.shop.another().await;
    let again = cold
        .request(payment("k-1", &ten_euros("pm_card_visa")))
        .await;

    assert_eq!((again.status, &again.body), (201, &first.body));
    assert_eq!(again.header("idempotent-replayed"), Some("true"));
}

#[tokio::test]
async fn another_request_with_the_key_is_refused_while_the_first_one_runs() {
    let world = World::new().await;
    let slow = ten_euros("pm_sandbox_slow");
    let other = world.shop.another().await;
    let paying = world.shop.create.queue(payment("k-1", &slow)).await;
    tokio::time::sleep(Duration::from_millis(1_000)).await;

    let refused = other
        .request(payment("k-1", &ten_euros("pm_card_visa")))
        .await;

    assert_eq!(
        (refused.status, &*problem(&refused)),
        (422, "idempotency-key-reused")
    );
    assert_eq!(paying.await.status, 201);
}

#[tokio::test]
async fn without_time_no_payment_begins() {
    let shop = Shop::on_a_laptop().await;
    let hurried = shop
        .another_with_timeout(Duration::from_millis(1_500))
        .await;

    let refused = hurried
        .request(payment("k-1", &ten_euros("pm_card_visa")))
        .await;

    assert_eq!((refused.status, &*problem(&refused)), (503, "unavailable"));
    assert_eq!(shop.intents().len(), 0);
    assert_eq!(
        shop.pay("k-1", &ten_euros("pm_card_visa")).await.status,
        201
    );
}
