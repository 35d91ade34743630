//! Another program writes forged records to the idempotency store. No forged response reaches a client, and no customer is
//! charged twice.

mod record;

use harness::stripe_event::StripeEvent;
use harness::{Answer, CacheUser, RedisServer, STRIPE_TEST_KEY};
use mongodb::bson::spec::BinarySubtype;
use mongodb::bson::{Binary, DateTime, doc};
use serde_json::json;

use self::record::{FINGERPRINT, FINISHED_AT, HEADER, Record, forgeries, replaced};
use super::shop::{Shop, problem, ten_euros};

const CURRENT: &str = "planted-current-mac-key";
const PREVIOUS: &str = "planted-previous-mac-key";
const SECRET: &str = "whsec_planted_one";
const DECLINED: &str = "pm_card_chargeDeclined";
const SUCCEEDS: &str = "pm_card_visa";
/// A shop whose stored responses have a MAC, and its Redis.
struct World {
    redis: RedisServer,
    shop: Shop,
}

/// A Redis server whose user has the permissions of the payment functions in template.yaml.
async fn redis() -> RedisServer {
    let user = CacheUser::Payments;
    let server = RedisServer::builder().user(user.name(), user.name(), &user.rules());
    server.start().await
}

impl World {
    /// Keys in MongoDB, with Redis as the cache.
    async fn tiered() -> Self {
        let redis = redis().await;
        let url = redis.url();
        let variables = [("REDIS_URL", url.as_str()), ("PAYMENT_MAC_KEYS", CURRENT)];
        Self {
            shop: Shop::with_mongodb(&variables).await,
            redis,
        }
    }

    /// Keys in Redis, and the ledger in files.
    async fn redis_alone() -> Self {
        let redis = redis().await;
        let url = redis.url();
        let variables = [
            ("REDIS_URL", url.as_str()),
            ("IDEMPOTENCY_FALLBACK", "reject"),
            ("PAYMENT_MAC_KEYS", CURRENT),
        ];
        Self {
            shop: Shop::with(&variables).await,
            redis,
        }
    }

    async fn text(&self, key: &str) -> String {
        self.redis.query(&["GET", &name(key)]).await
    }

    async fn record(&self, key: &str) -> Record {
        Record::parse(&self.text(key).await)
    }

    /// Writes a value, with the expiry of a record.
    async fn write(&self, key: &str, text: &str) {
        let set = ["SET", &name(key), text, "PX", "86400000"];
        self.redis.command(&set).await;
    }

    /// Deletes all data of MongoDB, so that only Redis can answer.
    async fn empty_mongodb(&self) {
        for name in ["idempotency", "payments"] {
            let collection = self.shop.collection(name).await;
            collection.delete_many(doc! {}).await.expect("deleted");
        }
    }
}

fn name(key: &str) -> String {
    format!("idempotency:http:payments.create:jwt%3Atester:{key}")
}

fn summary(answer: &Answer) -> (u16, String) {
    (answer.status, answer.text().to_owned())
}

/// Regression: `payments-create` replayed each record in Redis without a check. After a write by the Redis user of the
/// function `idempotency`, a declined payment was answered as succeeded.
#[tokio::test]
async fn forged_records_in_redis_are_not_replayed() {
    let world = World::tiered().await;
    let shop = &world.shop;
    let declined = shop.pay("k-1", &ten_euros(DECLINED)).await;
    assert_eq!(declined.status, 402);
    assert_eq!(shop.pay("k-2", &ten_euros(SUCCEEDS)).await.status, 201);
    let sound = world.text("k-1").await;
    let (record, other) = (Record::parse(&sound), world.record("k-2").await);
    let intents = shop.intents();

    for (what, forged) in forgeries(&record, &other) {
        world.write("k-1", &forged).await;
        let again = shop.pay("k-1", &ten_euros(DECLINED)).await;
        assert_eq!(summary(&again), summary(&declined), "{what}");
        assert_eq!(again.header("idempotent-replayed"), Some("true"), "{what}");
        // A forged record with a newer revision stays until its retention is over. Until then each replay queries MongoDB.
        if !what.starts_with("another key") {
            let repaired = world.text("k-1").await;
            assert_eq!(repaired, sound, "{what}: MongoDB repairs it");
        }
    }
    world.redis.command(&["DEL", &name("k-1")]).await;
    let again = shop.pay("k-1", &ten_euros(DECLINED)).await;
    assert_eq!(summary(&again), summary(&declined), "deleted");
    assert_eq!(shop.intents(), intents);
}

/// Like the test above, but Redis is the only store of keys.
#[tokio::test]
async fn a_forged_result_in_redis_alone_is_answered_from_the_ledger() {
    let world = World::redis_alone().await;
    let shop = &world.shop;
    let declined = shop.pay("k-1", &ten_euros(DECLINED)).await;
    assert_eq!(declined.status, 402);
    assert_eq!(shop.pay("k-2", &ten_euros(SUCCEEDS)).await.status, 201);
    let (record, other) = (world.record("k-1").await, world.record("k-2").await);
    let intents = shop.intents();

    for (what, forged) in forgeries(&record, &other) {
        world.write("k-1", &forged).await;
        let again = shop.pay("k-1", &ten_euros(DECLINED)).await;
        assert_eq!(summary(&again), summary(&declined), "{what}");
    }
    assert_eq!(shop.intents(), intents);
}

#[tokio::test]
async fn forged_records_in_mongodb_are_not_replayed() {
    let world = World::tiered().await;
    let shop = &world.shop;
    let declined = shop.pay("k-1", &ten_euros(DECLINED)).await;
    assert_eq!(shop.pay("k-2", &ten_euros(SUCCEEDS)).await.status, 201);
    let records = shop.collection("idempotency").await;
    let (sound, other) = (world.record("k-1").await, world.record("k-2").await);
    let answers = [
        sound.with(Record::forge),
        other.text(),
        sound.with(|it| {
            it.head.as_object_mut().expect("a head").remove("mac");
        }),
    ];

    for text in answers {
        let response = Binary {
            subtype: BinarySubtype::Generic,
            bytes: text[HEADER..].into(),
        };
        let forge = doc! { "$set": { "response": response } };
        let written = records.update_one(doc! { "_id": name("k-1") }, forge).await;
        assert_eq!(written.expect("written").matched_count, 1);
        world.redis.command(&["DEL", &name("k-1")]).await;
        let again = shop.pay("k-1", &ten_euros(DECLINED)).await;
        assert_eq!(summary(&again), summary(&declined));
    }
}

/// Regression: `payments-create` answered "in progress" as long as a forged claim of the key existed, although the ledger
/// had the response.
#[tokio::test]
async fn a_forged_claim_in_mongodb_does_not_block_a_replay() {
    let world = World::tiered().await;
    let shop = &world.shop;
    let declined = shop.pay("k-1", &ten_euros(DECLINED)).await;
    assert_eq!(declined.status, 402);
    let records = shop.collection("idempotency").await;
    let far_future = DateTime::from_millis(253_370_764_800_000);
    let claims = [
        doc! { "leased_at": far_future },
        doc! { "leased_at": DateTime::now(), "lease_ms": i64::MAX },
    ];

    for claim in claims {
        let mut set = doc! { "state": "in_progress" };
        set.extend(claim);
        let forge = doc! { "$set": set, "$unset": { "finished_at": "" } };
        let written = records.update_one(doc! { "_id": name("k-1") }, forge).await;
        assert_eq!(written.expect("written").modified_count, 1);
        world.redis.command(&["DEL", &name("k-1")]).await;
        let again = shop.pay("k-1", &ten_euros(DECLINED)).await;
        assert_eq!(summary(&again), summary(&declined));
    }
}

/// Another program stores a forged response under a key that no request has used.
#[tokio::test]
async fn a_forged_response_to_a_new_key_does_not_prevent_the_payment() {
    let world = World::tiered().await;
    let shop = &world.shop;
    let charged = shop.pay("k-1", &ten_euros(SUCCEEDS)).await;
    let forged = world.record("k-1").await.with(|it| {
        it.head["status"] = json!(402);
        it.header.replace_range(FINISHED_AT, "9999999999999");
    });

    for (key, forged) in [
        ("k-2", forged.clone()),
        ("k-3", replaced(&forged, FINGERPRINT, &"a".repeat(64))),
    ] {
        world.write(key, &forged).await;
        let answer = shop.pay(key, &ten_euros(SUCCEEDS)).await;
        assert_eq!(answer.status, 201, "{}", answer.text());
        assert_ne!(answer.json()["id"], charged.json()["id"]);
        let again = shop.pay(key, &ten_euros(SUCCEEDS)).await;
        assert_eq!(summary(&again), summary(&answer));
    }
    assert_eq!(shop.intents(), ["succeeded"; 3]);
}

#[tokio::test]
async fn a_valid_signed_response_is_replayed_without_a_query_to_mongodb() {
    let world = World::tiered().await;
    let declined = world.shop.pay("k-1", &ten_euros(DECLINED)).await;
    // The rewritten record has the same fields, possibly in another encoding. The MAC covers only the fields.
    let rewritten = world.record("k-1").await.text();
    world.write("k-1", &rewritten).await;
    world.empty_mongodb().await;

    let again = world.shop.pay("k-1", &ten_euros(DECLINED)).await;
    let other = world.shop.pay("k-1", &ten_euros(SUCCEEDS)).await;

    assert_eq!(summary(&again), summary(&declined));
    assert_eq!(problem(&other), "idempotency-key-reused");
    world.shop.create.plant_secret(CURRENT);
    world.shop.create.assert_no_secret_in_logs();
}

/// While the MAC key is rotated, repeated requests get the same response.
#[tokio::test]
async fn a_mac_key_can_be_rotated_while_functions_run() {
    let world = World::tiered().await;
    let shop = &world.shop;
    let with = async |keys: &str| {
        shop.function("payments-create", &[("PAYMENT_MAC_KEYS", keys)])
            .await
    };
    let (order, both) = (ten_euros(DECLINED), format!("{CURRENT},{PREVIOUS}"));
    let before = with(PREVIOUS).await;
    let during = with(&both).await;
    let pay = async |function: &harness::Lambda, key: &str| {
        let payment = super::shop::payment(key, &order);
        function.request(payment).await
    };
    let first = pay(&before, "k-1").await;
    let second = pay(&during, "k-2").await;
    assert_eq!((first.status, second.status), (402, 402));

    // A process with only one of the two MAC keys cannot verify some responses. For these responses, the process
    // queries MongoDB and the ledger.
    assert_eq!(summary(&pay(&before, "k-2").await), summary(&second));
    assert_eq!(summary(&shop.pay("k-1", &order).await), summary(&first));
    let unknown_key = with("planted-third-mac-key").await;
    for (key, expected) in [("k-1", &first), ("k-2", &second)] {
        assert_eq!(summary(&pay(&unknown_key, key).await), summary(expected));
    }
    // A process with both keys needs no query.
    world.empty_mongodb().await;
    for (key, expected) in [("k-1", &first), ("k-2", &second)] {
        assert_eq!(
            summary(&pay(&during, key).await),
            summary(expected),
            "{key}"
        );
    }
    assert_eq!(summary(&shop.pay("k-2", &order).await), summary(&second));
}

/// Regression: the webhook mistook a forged record for the result of an earlier delivery. The event was accepted and not
/// processed.
#[tokio::test]
async fn an_event_with_a_forged_record_is_processed() {
    let world = World::tiered().await;
    let more = [
        ("STRIPE_WEBHOOK_SECRETS", SECRET),
        ("STRIPE_API_KEY", STRIPE_TEST_KEY),
    ];
    let webhook = world.shop.function("payments-webhook", &more).await;
    let order = ten_euros("pm_sandbox_timeout_after");
    let unknown = world.shop.pay("k-1", &order).await.json();
    let member = |name: &str| unknown[name].as_str().expect("a text").to_owned();
    let (id, intent) = (member("id"), member("provider_reference"));
    let event = |event: &str| {
        StripeEvent::new(event, "payment_intent.succeeded", &intent, &id).request(&[SECRET])
    };
    assert_eq!(webhook.request(event("evt_1")).await.status, 200);
    let name = |event: &str| format!("idempotency:http:payments.webhook:stripe:{event}");
    let receipt: String = world.redis.query(&["GET", &name("evt_1")]).await;
    // A valid record, moved to the key of an event that has not arrived yet.
    world
        .redis
        .command(&["SET", &name("evt_2"), &receipt])
        .await;

    let answer = webhook.request(event("evt_2")).await;

    assert_eq!(answer.status, 200);
    assert_eq!(
        answer.header("idempotent-replayed"),
        None,
        "the event was processed"
    );
    let again = webhook.request(event("evt_2")).await;
    assert_eq!(again.header("idempotent-replayed"), Some("true"));
}
