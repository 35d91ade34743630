//! Keys and secrets are rotated in Secrets Manager while functions run.

use std::time::Duration;

use harness::{
    Answer, Lambda, MongoServer, RedisServer, STRIPE_TEST_KEY, SecretsManager, StripeEvent,
    StripeServer, TestRequest, eventually,
};
use serde_json::json;

use super::shop::{Shop, problem, ten_euros};
use crate::openapi;

const LIMIT: Duration = Duration::from_secs(20);
/// An API key that the simulated Stripe rejects, because it accepts only keys with a certain prefix.
const OLD_KEY: &str = "planted-old-key";

/// The payment functions, with secrets in Secrets Manager and a simulated Stripe.
struct World {
    aws: SecretsManager,
    stripe: StripeServer,
    shop: Shop,
}

impl World {
    /// Stores each value of `kept` as a secret, and sets the variable of the value to the ARN of the secret. Returns
    /// the ARNs, in the same order.
    async fn new(kept: &[(&str, &str)], variables: &[(&str, &str)]) -> (Self, Vec<String>) {
        let aws = SecretsManager::start().await;
        let stripe = StripeServer::start().await;
        let base = StripeServer::url_at(stripe.address());
        let mut all = vec![
            ("PAYMENT_PROVIDER", "stripe".to_owned()),
            ("STRIPE_API_BASE", base),
        ];
        all.extend(aws.variables());
        let mut arns = Vec::new();
        for (variable, value) in kept {
            let arn = aws.create(&variable.to_lowercase(), value).await;
            all.push((variable, arn.clone()));
            arns.push(arn);
        }
        all.extend(
            variables
                .iter()
                .map(|(name, value)| (*name, (*value).to_owned())),
        );
        let all: Vec<_> = all
            .iter()
            .map(|(name, value)| (*name, value.as_str()))
            .collect();
        let shop = match kept
            .iter()
            .any(|(variable, _)| variable.starts_with("MONGODB"))
        {
            true => Shop::with(&all).await,
            false => Shop::with_mongodb(&all).await,
        };
        for secret in [STRIPE_TEST_KEY, OLD_KEY] {
            shop.create.plant_secret(secret);
        }
        (Self { aws, stripe, shop }, arns)
    }
}

#[tokio::test]
async fn the_first_payment_after_a_rotation_uses_the_new_api_key() {
    let (world, arns) = World::new(&[("STRIPE_API_KEY_SECRET_ARN", OLD_KEY)], &[]).await;
    let pay = async |number| {
        let key = format!("k-{number}");
        world.shop.pay(&key, &ten_euros("pm_card_visa")).await
    };

    let refused = pay(1).await;
    world.aws.replace(&arns[0], STRIPE_TEST_KEY).await;
    eventually(LIMIT, async || pay(1).await.status == 201).await;
    let reads = world.aws.reads();
    for number in 2..10 {
        assert_eq!(pay(number).await.status, 201);
    }

    assert_eq!((refused.status, &*problem(&refused)), (503, "unavailable"));
    assert_eq!(world.aws.reads(), reads, "the secret is not read again");
    assert_eq!(world.stripe.intents().await, ["succeeded"; 9]);
    world.shop.create.assert_no_secret_in_logs();
}

#[tokio::test]
async fn without_an_api_key_a_payment_is_unavailable_and_succeeds_later() {
    let (world, _) = World::new(&[("STRIPE_API_KEY_SECRET_ARN", STRIPE_TEST_KEY)], &[]).await;
    let pay = async || world.shop.pay("k-1", &ten_euros("pm_card_visa")).await;

    world.aws.proxy().refuse();
    let refused = pay().await;
    world.aws.proxy().heal();
    eventually(LIMIT, async || pay().await.status == 201).await;

    assert_eq!((refused.status, &*problem(&refused)), (503, "unavailable"));
    assert_eq!(world.stripe.intents().await, ["succeeded"]);
}

#[tokio::test]
async fn every_secret_can_be_in_secrets_manager_and_is_read_once() {
    let redis = RedisServer::builder()
        .password("planted-password")
        .start()
        .await;
    let mongo = MongoServer::shared().await;
    let kept = [
        ("REDIS_URL_SECRET_ARN", redis.url()),
        ("MONGODB_URI_SECRET_ARN", mongo.uri()),
        ("STRIPE_API_KEY_SECRET_ARN", STRIPE_TEST_KEY.to_owned()),
        (
            "PAYMENT_MAC_KEYS_SECRET_ARN",
            "planted-mac-key-1".to_owned(),
        ),
    ];
    let kept: Vec<_> = kept
        .iter()
        .map(|(name, value)| (*name, value.as_str()))
        .collect();
    let database = mongo.fresh_database();
    let (world, _) = World::new(&kept, &[("MONGODB_DATABASE", &database)]).await;

    let first = world.shop.pay("k-1", &ten_euros("pm_card_visa")).await;
    let again = world.shop.pay("k-1", &ten_euros("pm_card_visa")).await;

    assert_eq!((first.status, again.status), (201, 201), "{}", first.text());
    assert_eq!(again.header("idempotency-store"), None, "Redis answered");
    assert_eq!(world.aws.reads(), 4);
    world.shop.create.plant_secret("planted-password");
    world.shop.create.plant_secret("planted-mac-key-1");
    world.shop.create.assert_no_secret_in_logs();
}

/// Regression: each request waited one second for the MAC keys, and the next request started to read
/// them again. Keys that took longer to read were never used.
#[tokio::test]
async fn mac_keys_that_take_more_than_a_second_to_read_are_used() {
    let redis = RedisServer::start().await;
    let kept = [
        ("STRIPE_API_KEY_SECRET_ARN", STRIPE_TEST_KEY),
        ("PAYMENT_MAC_KEYS_SECRET_ARN", "planted-mac-key-1"),
    ];
    let (world, _) = World::new(&kept, &[("REDIS_URL", &redis.url())]).await;
    world.aws.proxy().delay(Duration::from_millis(1_400));

    eventually(LIMIT, async || {
        let paid = world.shop.pay("k-1", &ten_euros("pm_card_visa")).await;
        assert_eq!(paid.status, 201, "{}", paid.text());
        let events = world.shop.create.log_events();
        events.iter().any(|event| {
            event["message"] == "read a new value of a secret"
                && event["secret.variable"] == "PAYMENT_MAC_KEYS_SECRET_ARN"
        })
    })
    .await;
    world.shop.create.plant_secret("planted-mac-key-1");
    world.shop.create.assert_no_secret_in_logs();
}

/// A webhook with its secrets in Secrets Manager.
async fn webhook(secrets: &str) -> (World, String, Lambda) {
    let key = [("STRIPE_API_KEY", STRIPE_TEST_KEY)];
    let (world, _) = World::new(&[], &key).await;
    let arn = world.aws.create("truebond/webhook", secrets).await;
    let more = [("STRIPE_WEBHOOK_SECRETS_SECRET_ARN", arn.as_str())];
    let webhook = world.shop.function("payments-webhook", &more).await;
    for secret in ["planted-first", "planted-next"] {
        webhook.plant_secret(secret);
    }
    (world, arn, webhook)
}

/// An event that is about a customer, not about a payment intent. It is signed with `secret`.
fn event(secret: &str) -> TestRequest {
    let object = json!({"id": "cus_1", "object": "customer"});
    StripeEvent::about("evt_1", "customer.created", &object).request(&[secret])
}

async fn send(webhook: &Lambda, secret: &str) -> Answer {
    let answer = webhook.request(event(secret)).await;
    openapi::check("/api/payments/webhook", "post", &answer);
    answer
}

#[tokio::test]
async fn the_first_event_after_a_rotation_uses_the_new_webhook_secret() {
    let (world, arn, webhook) = webhook("planted-first").await;
    assert_eq!(send(&webhook, "planted-first").await.status, 200);
    assert_eq!(world.aws.reads(), 1);

    world.aws.replace(&arn, "planted-next,planted-first").await;

    assert_eq!(send(&webhook, "planted-next").await.status, 200);
    assert_eq!(send(&webhook, "planted-first").await.status, 200);
    assert_eq!(world.aws.reads(), 2);
    webhook.assert_no_secret_in_logs();
}

#[tokio::test]
async fn invalid_signatures_do_not_overload_secrets_manager() {
    let (world, _, webhook) = webhook("planted-first").await;

    for _ in 0..200 {
        assert_eq!(send(&webhook, "a-stranger").await.status, 400);
    }

    assert!(world.aws.reads() <= 5, "{}", world.aws.reads());
    assert_eq!(send(&webhook, "planted-first").await.status, 200);
}

#[tokio::test]
async fn while_the_webhook_secrets_are_unavailable_events_are_retried() {
    let (world, arn, webhook) = webhook("planted-first").await;
    world.aws.proxy().refuse();

    let unread = send(&webhook, "planted-first").await;
    world.aws.proxy().heal();
    eventually(LIMIT, async || {
        send(&webhook, "planted-first").await.status == 200
    })
    .await;
    assert_eq!((unread.status, &*problem(&unread)), (503, "unavailable"));

    world.aws.replace(&arn, "one,two,three").await;
    // The new value is invalid, because it has three secrets. The webhook continues with the value
    // that it read before.
    assert_eq!(send(&webhook, "planted-first").await.status, 200);
}
