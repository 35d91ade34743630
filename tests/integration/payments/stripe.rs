//! Payments at a Stripe-compatible server, with network faults.

use std::time::Duration;

use harness::{
    Answer, FaultProxy, MongoServer, RedisServer, STRIPE_TEST_KEY, StripeServer, eventually,
};
use mongodb::bson::Document;
use serde_json::{Value, json};

use super::shop::{Shop, problem, ten_euros};

/// The payment functions, with a simulated Stripe behind a proxy as their provider.
struct World {
    stripe: StripeServer,
    proxy: FaultProxy,
    shop: Shop,
}

/// The timeout of a request to the provider, longer than any response takes.
const TIMEOUT_MS: &str = "1000";

impl World {
    async fn new() -> Self {
        let stripe = StripeServer::start().await;
        let proxy = FaultProxy::in_front_of(stripe.address());
        let shop = Shop::with_mongodb(&variables(&StripeServer::url_at(proxy.address()))).await;
        shop.create.plant_secret(STRIPE_TEST_KEY);
        Self {
            stripe,
            proxy,
            shop,
        }
    }

    async fn pay(&self, key: &str, method: &str) -> Answer {
        self.shop.pay(key, &ten_euros(method)).await
    }

    /// Repeats a payment until its answer is final.
    async fn final_answer(&self, key: &str, method: &str) -> Answer {
        let mut last = None;
        eventually(Duration::from_secs(30), async || {
            let answer = self.pay(key, method).await;
            let is_final = [201, 402].contains(&answer.status);
            last = Some(answer);
            is_final
        })
        .await;
        last.expect("an answer")
    }

    /// The number of intents in a status.
    async fn intents(&self, status: &str) -> usize {
        let all = self.stripe.intents().await;
        all.into_iter().filter(|intent| intent == status).count()
    }
}

fn variables(url: &str) -> [(&'static str, &str); 4] {
    [
        ("PAYMENT_PROVIDER", "stripe"),
        ("STRIPE_API_KEY", STRIPE_TEST_KEY),
        ("STRIPE_API_BASE", url),
        ("PAYMENT_PROVIDER_TIMEOUT_MS", TIMEOUT_MS),
    ]
}

fn text(value: &Value) -> &str {
    value.as_str().expect("a text")
}

#[tokio::test]
async fn a_payment_is_one_succeeded_intent() {
    let world = World::new().await;
    let order = json!({
        "amount": 1999, "currency": "EUR", "payment_method": "pm_card_visa",
        "description": "Premium, one month", "metadata": {"order": "A-1"},
    });

    let first = world.shop.pay("k-1", &order).await;
    let again = world.shop.pay("k-1", &order).await;

    assert_eq!(first.status, 201, "{}", first.text());
    assert_eq!((again.status, &again.body), (201, &first.body));
    let payment = first.json();
    assert_eq!(payment["provider"], "stripe");
    assert_eq!(world.stripe.intents().await, ["succeeded"]);
    let intent = world
        .stripe
        .intent(text(&payment["provider_reference"]))
        .await;
    assert_eq!(
        (&intent["amount"], &intent["currency"]),
        (&json!(1999), &json!("eur"))
    );
    let metadata = json!({
        "description": "Premium, one month", "order": "A-1", "payment_id": payment["id"],
        "environment": "development",
    });
    assert_eq!(intent["metadata"], metadata);
    world.shop.create.assert_no_secret_in_logs();
}

/// Regression: the Stripe client sent amounts in the wrong unit. 5000 ISK were charged as 50, and 100 MGA as 10000.
#[tokio::test]
async fn an_amount_is_sent_in_stripes_unit() {
    let world = World::new().await;
    let cases = [
        (5_000, "ISK", 500_000),
        (10_000, "MGA", 100),
        (1_010, "KWD", 1_010),
        (500, "JPY", 500),
    ];
    for (ours, currency, stripes) in cases {
        let order = json!({"amount": ours, "currency": currency, "payment_method": "pm_card_visa"});

        let paid = world.shop.pay(currency, &order).await;

        assert_eq!(paid.status, 201, "{}", paid.text());
        let payment = paid.json();
        assert_eq!(
            (&payment["amount"], &payment["currency"]),
            (&json!(ours), &json!(currency))
        );
        let reference = text(&payment["provider_reference"]);
        let intent = world.stripe.intent(reference).await;
        assert_eq!(
            (&intent["amount"], &intent["currency"]),
            (&json!(stripes), &json!(currency.to_lowercase()))
        );
    }
}

#[tokio::test]
async fn an_amount_that_stripe_cannot_represent_is_rejected_before_the_claim() {
    let world = World::new().await;
    let wrong = [
        (1_005, "KWD", "/amount"),
        (150, "MGA", "/amount"),
        (1_000_000, "UGX", "/amount"),
        (1_000, "CLF", "/currency"),
    ];
    for (amount, currency, pointer) in wrong {
        let order =
            json!({"amount": amount, "currency": currency, "payment_method": "pm_card_visa"});
        let refused = world.shop.pay("k-1", &order).await;
        assert_eq!(
            (refused.status, &*problem(&refused)),
            (400, "validation-failed")
        );
        assert_eq!(refused.json()["errors"][0]["pointer"], pointer);
    }
    let rows = world.shop.ledger().await;
    let rows = rows.count_documents(Document::new()).await;
    assert_eq!(rows.expect("a number"), 0);

    // If the rejected request had claimed the key, this request with another body would be refused.
    let corrected = world.pay("k-1", "pm_card_visa").await;

    assert_eq!(corrected.status, 201, "{}", corrected.text());
    assert_eq!(corrected.header("idempotent-replayed"), None);
    assert_eq!(world.stripe.intents().await, ["succeeded"]);
}

#[tokio::test]
async fn a_decline_is_cancelled_and_final() {
    let world = World::new().await;

    let declined = world.pay("k-1", "pm_card_chargeCustomerFail").await;

    assert_eq!(
        (declined.status, &*problem(&declined)),
        (402, "payment-declined")
    );
    assert_eq!(declined.json()["decline_code"], "generic_decline");
    let row = world.shop.ledger().await.find_one(Document::new()).await;
    let row = row.expect("read").expect("a row");
    assert_eq!(row.get_str("decline_code"), Ok("card_declined"));
    assert_eq!(world.stripe.intents().await, ["canceled"]);
    let again = world.pay("k-1", "pm_card_chargeCustomerFail").await;
    assert_eq!(again.body, declined.body);
}

#[tokio::test]
async fn a_payment_with_an_unknown_payment_method_fails() {
    let world = World::new().await;
    let failed = world.pay("k-1", "pm_unknown").await;
    assert_eq!((failed.status, &*problem(&failed)), (402, "payment-failed"));
    assert_eq!(world.stripe.intents().await.len(), 0);
}

#[tokio::test]
async fn a_payment_ends_when_the_customer_authenticates_or_fails_to() {
    let world = World::new().await;
    let card = world.stripe.card("4000002500003155").await;
    for (key, success, status) in [("k-1", true, 201), ("k-2", false, 402)] {
        let acting = world.pay(key, &card).await;
        assert_eq!(
            (acting.status, &acting.json()["status"]),
            (202, &json!("requires_action"))
        );
        assert_eq!(acting.json()["next_action"]["type"], "use_stripe_sdk");
        let still_acting = world.pay(key, &card).await;
        assert_eq!(
            (still_acting.status, &still_acting.json()["client_secret"]),
            (202, &acting.json()["client_secret"])
        );
        let payment = acting.json();
        world
            .stripe
            .authenticate(
                text(&payment["provider_reference"]),
                text(&payment["client_secret"]),
                success,
            )
            .await;

        let settled = world.pay(key, &card).await;

        assert_eq!(settled.status, status, "{}", settled.text());
        assert_eq!(world.pay(key, &card).await.body, settled.body);
    }
    assert_eq!(world.stripe.intents().await, ["canceled", "succeeded"]);
}

#[tokio::test]
async fn an_unreachable_provider_is_answered_as_unavailable() {
    let world = World::new().await;
    world.proxy.refuse();
    let refused = world.pay("k-1", "pm_card_visa").await;
    assert_eq!((refused.status, &*problem(&refused)), (503, "unavailable"));

    world.proxy.heal();

    let charged = world.pay("k-1", "pm_card_visa").await;
    assert_eq!(charged.status, 201);
    assert_eq!(world.stripe.intents().await, ["succeeded"]);
}

/// The key was released after a request for ten euros. If a request for twenty euros could claim the key, that request
/// would confirm the intent for ten euros.
#[tokio::test]
async fn a_released_key_is_refused_for_another_request() {
    let world = World::new().await;
    world.proxy.refuse();
    assert_eq!(world.pay("k-1", "pm_card_visa").await.status, 503);
    world.proxy.heal();
    let twenty = json!({"amount": 2000, "currency": "EUR", "payment_method": "pm_card_visa"});

    let refused = world.shop.pay("k-1", &twenty).await;

    assert_eq!(
        (refused.status, &*problem(&refused)),
        (422, "idempotency-key-reused")
    );
    let honest = world.pay("k-1", "pm_card_visa").await;
    assert_eq!(
        (honest.status, &honest.json()["amount"]),
        (201, &json!(1000))
    );
    assert_eq!(world.stripe.intents().await, ["succeeded"]);
}

#[tokio::test]
async fn an_api_key_that_the_provider_rejects_charges_no_customer() {
    let stripe = StripeServer::start().await;
    let url = StripeServer::url_at(stripe.address());
    let mut variables = variables(&url);
    variables[1].1 = "wrong";
    let shop = Shop::with_mongodb(&variables).await;

    let refused = shop.pay("k-1", &ten_euros("pm_card_visa")).await;

    assert_eq!((refused.status, &*problem(&refused)), (503, "unavailable"));
    assert_eq!(stripe.intents().await.len(), 0);
}

/// The provider carries out each request, but its first or second response is lost.
#[tokio::test]
async fn a_payment_is_charged_once_if_any_response_is_lost() {
    let delay = Duration::from_millis(150);
    let faults: [fn(&FaultProxy); 3] = [
        FaultProxy::drop_next_reply,
        FaultProxy::close_on_next_reply,
        FaultProxy::reset_connections,
    ];
    for fault in faults {
        let world = World::new().await;
        assert_eq!(world.pay("warm", "pm_card_visa").await.status, 201);
        world.proxy.delay(delay);
        for step in 0..2_u32 {
            let key = format!("k-{step}");
            let strike = async {
                // At this time the function waits for the first or the second response.
                tokio::time::sleep(delay * step + delay / 2).await;
                fault(&world.proxy);
            };
            let (first, ()) = tokio::join!(world.pay(&key, "pm_card_visa"), strike);
            assert!([201, 202].contains(&first.status), "{}", first.text());
            world.proxy.heal();
            world.proxy.delay(delay);

            let settled = world.final_answer(&key, "pm_card_visa").await;

            assert_eq!(settled.status, 201);
            if first.status == 201 {
                assert_eq!(settled.body, first.body);
            }
            assert_eq!(world.pay(&key, "pm_card_visa").await.body, settled.body);
        }
        assert_eq!(world.intents("succeeded").await, 3);
    }
}

#[tokio::test]
async fn a_payment_takes_a_known_number_of_round_trips() {
    let (redis, stripe) = (RedisServer::start().await, StripeServer::start().await);
    let mongo = MongoServer::shared().await;
    let proxies = [redis.address(), mongo.address(), stripe.address()].map(FaultProxy::in_front_of);
    let [to_redis, to_mongo, to_stripe] = &proxies;
    let url = StripeServer::url_at(to_stripe.address());
    let (redis_url, uri) = (redis.url_through(to_redis), mongo.uri_through(to_mongo));
    let database = mongo.fresh_database();
    let mut all = variables(&url).to_vec();
    all.extend([
        ("REDIS_URL", &*redis_url),
        ("MONGODB_URI", &uri),
        ("MONGODB_DATABASE", &database),
    ]);
    let shop = Shop::with(&all).await;
    shop.pay("warm", &ten_euros("pm_card_visa")).await;
    shop.pay("warm", &ten_euros("pm_card_visa")).await;
    let trips = async |key: &str| {
        proxies.iter().for_each(FaultProxy::reset_counters);
        assert_eq!(shop.pay(key, &ten_euros("pm_card_visa")).await.status, 201);
        [to_redis, to_mongo, to_stripe].map(FaultProxy::round_trips)
    };

    // The round trips of the first request: two to Redis (claim, result), five to MongoDB (claim, row, intent, final
    // status, result), two to Stripe (create, confirm). A replay takes one round trip to Redis.
    assert_eq!(trips("k-1").await, [2, 5, 2]);
    assert_eq!(trips("k-1").await, [1, 0, 0]);
}
