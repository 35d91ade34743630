//! Events of the provider: their signatures and their effects.

use std::time::Duration;

use harness::stripe_event::signature;
use harness::{
    Answer, FaultProxy, Lambda, STRIPE_TEST_KEY, StripeEvent, StripeServer, TestRequest,
};
use mongodb::bson::{Document, doc};
use serde_json::{Value, json};

use super::shop::{Shop, anomalies, problem, ten_euros};
use crate::openapi;

const SECRET: &str = "whsec_planted_one";
const NEXT_SECRET: &str = "whsec_planted_two";

/// A payment that waits for an action of its customer, and the webhook.
struct World {
    stripe: StripeServer,
    proxy: FaultProxy,
    shop: Shop,
    webhook: Lambda,
    /// The payment in the response that the client received.
    payment: Value,
    card: String,
}

impl World {
    async fn new() -> Self {
        let stripe = StripeServer::start().await;
        let proxy = FaultProxy::in_front_of(stripe.address());
        let shop = Shop::with_mongodb(&[
            ("PAYMENT_PROVIDER", "stripe"),
            ("STRIPE_API_KEY", STRIPE_TEST_KEY),
            ("STRIPE_API_BASE", &StripeServer::url_at(proxy.address())),
            ("PAYMENT_PROVIDER_TIMEOUT_MS", "1000"),
        ])
        .await;
        let secrets = format!("{SECRET},{NEXT_SECRET}");
        let webhook = shop
            .function("payments-webhook", &[("STRIPE_WEBHOOK_SECRETS", &secrets)])
            .await;
        webhook.plant_secret(SECRET);
        webhook.plant_secret(NEXT_SECRET);
        let card = stripe.card("4000002500003155").await;
        let acting = shop.pay("k-1", &ten_euros(&card)).await;
        assert_eq!(acting.status, 202, "{}", acting.text());
        Self {
            stripe,
            proxy,
            shop,
            webhook,
            payment: acting.json(),
            card,
        }
    }

    fn member(&self, name: &str) -> &str {
        self.payment[name].as_str().expect("a text")
    }

    fn event(&self, id: &str, kind: &str) -> StripeEvent {
        StripeEvent::new(
            id,
            kind,
            self.member("provider_reference"),
            self.member("id"),
        )
    }

    async fn authenticate(&self, success: bool) {
        let (intent, secret) = (
            self.member("provider_reference"),
            self.member("client_secret"),
        );
        self.stripe.authenticate(intent, secret, success).await;
    }

    async fn send(&self, event: &StripeEvent) -> Answer {
        self.request(event.request(&[SECRET])).await
    }

    async fn request(&self, request: TestRequest) -> Answer {
        let answer = self.webhook.request(request).await;
        openapi::check("/api/payments/webhook", "post", &answer);
        answer
    }

    /// The payment's status in the ledger.
    async fn status(&self) -> String {
        let shown = self.shop.show(self.member("id")).await.json();
        shown["status"].as_str().expect("a status").to_owned()
    }
}

#[tokio::test]
async fn an_event_ends_its_payment_once() {
    let world = World::new().await;
    world.authenticate(true).await;
    let mut event = world.event("evt_1", "payment_intent.succeeded");

    let first = world.send(&event).await;
    let settled = world.status().await;
    event.body["pending_webhooks"] = json!(0);
    let again = world.send(&event).await;

    assert_eq!((first.status, first.text()), (200, r#"{"received":true}"#));
    assert_eq!(settled, "succeeded");
    assert_eq!((again.status, &again.body), (200, &first.body));
    assert_eq!(again.header("idempotent-replayed"), Some("true"));
    let told = world.shop.pay("k-1", &ten_euros(&world.card)).await;
    assert_eq!(told.status, 201);
    world.webhook.assert_no_secret_in_logs();
}

/// The webhook ignores the status in an event and reads the intent's current status, so the order of events does not
/// matter.
#[tokio::test]
async fn an_event_only_triggers_a_look_at_the_intent() {
    let world = World::new().await;
    let lie = world.event("evt_1", "payment_intent.succeeded");
    assert_eq!(world.send(&lie).await.status, 200);
    assert_eq!(world.status().await, "requires_action");

    world.authenticate(true).await;
    let late = world.event("evt_2", "payment_intent.requires_action");
    assert_eq!(world.send(&late).await.status, 200);
    assert_eq!(world.status().await, "succeeded");
    for (id, kind) in [
        ("evt_3", "payment_intent.canceled"),
        ("evt_4", "payment_intent.processing"),
    ] {
        assert_eq!(world.send(&world.event(id, kind)).await.status, 200);
        assert_eq!(world.status().await, "succeeded");
    }
}

#[tokio::test]
async fn an_event_ends_the_payment_of_a_customer_who_fails_to_authenticate() {
    let world = World::new().await;
    world.authenticate(false).await;
    let event = world.event("evt_1", "payment_intent.payment_failed");
    assert_eq!(world.send(&event).await.status, 200);
    let told = world.shop.pay("k-1", &ten_euros(&world.card)).await;
    assert_eq!(told.status, 402);
    assert_eq!(world.stripe.intents().await, ["canceled"]);
}

#[tokio::test]
async fn an_event_that_cannot_be_processed_is_retried() {
    let world = World::new().await;
    world.authenticate(true).await;
    let event = world.event("evt_1", "payment_intent.succeeded");
    world.proxy.refuse();

    let refused = world.send(&event).await;

    assert_eq!((refused.status, &*problem(&refused)), (503, "unavailable"));
    world.proxy.heal();
    assert_eq!(world.send(&event).await.status, 200);
    assert_eq!(world.status().await, "succeeded");
}

#[tokio::test]
async fn an_event_of_another_system_is_accepted_and_ignored() {
    let world = World::new().await;
    let ours = world.member("provider_reference").to_owned();
    let unknown = format!("pay_{}", "0".repeat(32));
    let mut elsewhere = StripeEvent::new("evt_9", "payment_intent.succeeded", &ours, &unknown);
    elsewhere.body["data"]["object"]["metadata"]["environment"] = json!("elsewhere");
    let mut live = world.event("evt_live", "payment_intent.succeeded");
    live.body["livemode"] = json!(true);
    let kind = "payment_intent.succeeded";
    let events = [
        live,
        elsewhere,
        StripeEvent::new("evt_1", "payment_intent.canceled", &ours, &unknown),
        StripeEvent::new("evt_2", kind, &ours, "somebody's"),
        StripeEvent::new(
            "evt_3",
            "payment_intent.canceled",
            "pi_unknown",
            world.member("id"),
        ),
        StripeEvent::about(
            "evt_4",
            "charge.refunded",
            &json!({"object": "charge", "id": "ch_1"}),
        ),
        StripeEvent::about(
            "evt_6",
            "invoice.created",
            &json!({"object": "invoice", "id": null, "metadata": null}),
        ),
        StripeEvent::about("evt_7", "balance.available", &json!({})),
        StripeEvent::about(
            "evt_5",
            kind,
            &json!({"object": "payment_intent", "id": "pi_1"}),
        ),
    ];
    world.authenticate(true).await;
    for event in events {
        let answer = world.send(&event).await;
        assert_eq!(answer.status, 200, "{}", event.body);
        assert_eq!(world.status().await, "requires_action");
    }
    assert_eq!(anomalies(&world.webhook), Vec::<String>::new());
}

/// Regression: the webhook logged and accepted an event that contradicts the ledger. So there was no alarm, and Stripe
/// did not send the event again.
#[tokio::test]
async fn an_event_of_a_charge_that_contradicts_the_ledger_is_counted_and_retried() {
    let world = World::new().await;
    let ledger = world.shop.ledger().await;
    let ours = world.member("provider_reference").to_owned();
    let kind = "payment_intent.succeeded";
    let unnamed = StripeEvent::new("evt_1", kind, "pi_unknown", world.member("id"));
    let unknown = format!("pay_{}", "0".repeat(32));
    let rowless = StripeEvent::new("evt_2", kind, &ours, &unknown);
    let row = doc! { "_id": world.member("id") };
    for state in ["failed", "declined"] {
        let ended = doc! { "$set": { "state": state, "answer": "{}" } };
        ledger.update_one(row.clone(), ended).await.expect("ended");
        let id = format!("evt_{state}");
        let event = world.event(&id, kind);
        for _ in 0..2 {
            let refused = world.send(&event).await;
            assert_eq!((refused.status, &*problem(&refused)), (503, "unavailable"));
        }
    }
    for event in [&unnamed, &unnamed, &rowless] {
        let refused = world.send(event).await;
        assert_eq!((refused.status, &*problem(&refused)), (503, "unavailable"));
    }

    let expected = [
        ["charged_after_failed"; 4].as_slice(),
        &["charged_intent_unnamed"; 2],
        &["charged_without_row"],
    ];
    assert_eq!(anomalies(&world.webhook), expected.concat());
}

#[tokio::test]
async fn an_event_is_processed_once_the_row_of_its_payment_is_restored() {
    let world = World::new().await;
    let ledger = world.shop.ledger().await;
    world.authenticate(true).await;
    let row = doc! { "_id": world.member("id") };
    let lost = ledger.find_one_and_delete(row).await.expect("deleted");
    let mut event = world.event("evt_1", "payment_intent.succeeded");
    event.body["data"]["object"]["metadata"]["environment"] = json!("development");
    assert_eq!(world.send(&event).await.status, 503);
    assert_eq!(anomalies(&world.webhook), ["charged_without_row"]);

    ledger.insert_one(lost.expect("a row")).await.expect("back");

    assert_eq!(world.send(&event).await.status, 200);
    assert_eq!(world.status().await, "succeeded");
}

#[tokio::test]
async fn every_function_that_reads_an_intent_with_another_amount_counts_it() {
    let world = World::new().await;
    world.authenticate(true).await;
    let ledger = world.shop.ledger().await;
    let row = doc! { "_id": world.member("id") };
    let change = async |members: Document| {
        let changed = doc! { "$set": members };
        ledger.update_one(row.clone(), changed).await.expect("set");
    };
    let mut event = world.event("evt_1", "payment_intent.succeeded");
    change(doc! { "order.amount": 999_i64 }).await;
    assert_eq!(world.send(&event).await.status, 200);
    change(doc! { "order.amount": 1000_i64, "order.currency": "USD" }).await;
    event.body["id"] = json!("evt_2");
    assert_eq!(world.send(&event).await.status, 200);
    change(doc! { "order.currency": "EUR" }).await;
    let intent = world.member("provider_reference");
    // Payments in this currency are not supported.
    world.stripe.change_currency(intent, "clf").await;
    event.body["id"] = json!("evt_3");
    assert_eq!(world.send(&event).await.status, 200);
    assert_eq!(anomalies(&world.webhook), ["amount_mismatch"; 3]);

    let again = world.shop.pay("k-1", &ten_euros(&world.card)).await;

    let status = &again.json()["status"];
    assert_eq!((again.status, status), (202, &json!("unknown")));
    assert_eq!(anomalies(&world.shop.create), ["amount_mismatch"]);
    world.stripe.change_currency(intent, "eur").await;
    event.body["id"] = json!("evt_4");
    assert_eq!(world.send(&event).await.status, 200);
    assert_eq!(world.status().await, "succeeded");
}

/// Regression: if the provider did not have the intent of an event, the webhook answered each delivery of the event
/// with a server error. So Stripe sent the event again for days.
#[tokio::test]
async fn an_event_of_an_intent_that_the_provider_does_not_have_is_accepted() {
    let world = World::new().await;
    let ledger = world.shop.ledger().await;
    let row = doc! { "_id": world.member("id") };
    let other = doc! { "$set": { "intent": "pi_gone" } };
    ledger.update_one(row, other).await.expect("set");
    let mut event = world.event("evt_1", "payment_intent.processing");
    event.body["data"]["object"]["id"] = json!("pi_gone");

    assert_eq!(world.send(&event).await.status, 200);

    let logged = world.webhook.log_text();
    let message = "the provider sent an event of an intent that it does not have";
    assert!(logged.contains(message), "{logged}");
    assert_eq!(world.status().await, "unknown");
}

#[tokio::test]
async fn only_events_with_a_valid_signature_are_accepted() {
    let world = World::new().await;
    world.authenticate(true).await;
    let event = world.event("evt_1", "payment_intent.succeeded");
    let mut old = event.clone();
    old.time -= 301;
    let altered = event.request(&[SECRET]).body(event.body.to_string() + " ");
    let requests = [
        event.request(&["whsec_unknown"]),
        event.request(&[]),
        old.request(&[SECRET]),
        altered,
        TestRequest::post("/api/payments/webhook").json(&event.body),
    ];
    for request in requests {
        let refused = world.request(request).await;
        assert_eq!(
            (refused.status, &*problem(&refused)),
            (400, "webhook-signature-invalid")
        );
    }
    assert_eq!(world.status().await, "requires_action");
    // While a secret is rotated, the old and the new secret are valid.
    let signed = event.request(&["whsec_unknown", NEXT_SECRET]);
    assert_eq!(world.request(signed).await.status, 200);
    assert_eq!(world.status().await, "succeeded");
}

#[tokio::test]
async fn the_signature_covers_the_exact_bytes_of_the_body() {
    let world = World::new().await;
    world.authenticate(true).await;
    let event = world.event("evt_1", "payment_intent.succeeded");
    // API Gateway encodes binary bodies in Base64. The webhook rejects JSON that is not an event, even if its signature
    // is valid.
    let body = event.body.to_string().replace("\"evt_1\"", " \"evt_1\" ");
    let signed = |body: &[u8]| {
        let header = signature(body, event.time, &[SECRET]);
        TestRequest::post("/api/payments/webhook")
            .header("Content-Type", "application/json")
            .header("Stripe-Signature", &header)
            .body(body.to_vec())
    };
    // Regression: the webhook accepted an array as an event, and used its elements as the members of the event.
    let array = br#"["evt_2","payment_intent.succeeded",false,{}]"#;
    for nonsense in [&b"\xff\xfe"[..], b"[]", array, b"{\"id\":\"evt_2\"}", b""] {
        let refused = world.request(signed(nonsense)).await;
        assert_eq!(
            (refused.status, &*problem(&refused)),
            (400, "webhook-event-invalid")
        );
    }
    let longest = 256 * 1024;
    for (length, expected) in [
        (longest, (400, "webhook-event-invalid")),
        (longest + 1, (413, "body-too-large")),
    ] {
        let refused = world.request(signed(&vec![b' '; length])).await;
        assert_eq!((refused.status, &*problem(&refused)), expected, "{length}");
    }
    let received = world.request(signed(body.as_bytes()).encoded()).await;
    assert_eq!(received.status, 200, "{}", received.text());
    assert_eq!(world.status().await, "succeeded");
}

#[tokio::test]
async fn without_a_webhook_secret_events_are_retried_later() {
    let shop = Shop::on_a_laptop().await;
    let webhook = shop.function("payments-webhook", &[]).await;
    let event = StripeEvent::new("evt_1", "payment_intent.succeeded", "pi_1", "pay_1");
    let refused = webhook.request(event.request(&[SECRET])).await;
    assert_eq!((refused.status, &*problem(&refused)), (503, "unavailable"));
    let get = webhook.get("/api/payments/webhook").await;
    assert_eq!(get.status, 405);
}

/// Regression: the webhook logged an error at each start on a laptop, although Stripe sends no events to a laptop.
#[tokio::test]
async fn a_missing_webhook_secret_is_an_error_in_deployments_only() {
    let deployed = Lambda::function("payments-webhook").env("AWS_LAMBDA_LOG_FORMAT", "JSON");
    let laptop = Lambda::function("payments-webhook")
        .env("AWS_LAMBDA_LOG_FORMAT", "JSON")
        .unset("AWS_LAMBDA_INITIALIZATION_TYPE");
    for (function, expected) in [(deployed, "ERROR"), (laptop, "INFO")] {
        let webhook = function.start().await;
        webhook.get("/api/payments/webhook").await;
        let events = webhook.log_events();
        let logged = events.iter().find(|event| {
            let message = event["message"].as_str();
            message.is_some_and(|text| text.starts_with("events are refused"))
        });
        let logged = logged.unwrap_or_else(|| panic!("{}", webhook.log_text()));
        assert_eq!(logged["level"], expected);
    }
}

#[tokio::test]
async fn two_concurrent_deliveries_of_an_event_end_the_payment_once() {
    let world = World::new().await;
    let other = world
        .shop
        .function("payments-webhook", &[("STRIPE_WEBHOOK_SECRETS", SECRET)])
        .await;
    world.authenticate(true).await;
    world.proxy.delay(Duration::from_millis(50));
    let event = world.event("evt_1", "payment_intent.succeeded");
    let (one, two) = tokio::join!(world.send(&event), other.request(event.request(&[SECRET])));
    let mut statuses = [one.status, two.status];
    statuses.sort_unstable();
    assert!([[200, 200], [200, 409]].contains(&statuses), "{statuses:?}");
    assert_eq!(world.status().await, "succeeded");
}

/// Regression: the webhook refused events about an intent in `requires_capture`, a status that this project does not
/// use. So Stripe sent the events again for days.
#[tokio::test]
async fn an_event_that_does_not_end_its_payment_is_accepted() {
    let shop = Shop::with_mongodb(&[]).await;
    let webhook = shop
        .function("payments-webhook", &[("STRIPE_WEBHOOK_SECRETS", SECRET)])
        .await;
    let order = ten_euros("pm_sandbox_requires_action");
    let acting = shop.pay("k-1", &order).await.json();
    let [id, intent] =
        ["id", "provider_reference"].map(|name| acting[name].as_str().expect("a text"));
    let file = shop.folder.path().join(format!("sandbox/{intent}.json"));
    let kept = std::fs::read_to_string(&file).expect("readable");
    let held = kept.replace("\"requires_action\"", "\"requires_capture\"");
    assert_ne!(kept, held);
    std::fs::write(&file, held).expect("written");
    let event = StripeEvent::new(
        "evt_1",
        "payment_intent.amount_capturable_updated",
        intent,
        id,
    );

    let followed = webhook.request(event.request(&[SECRET])).await;

    assert_eq!(followed.status, 200, "{}", followed.text());
    assert_eq!(shop.show(id).await.json()["status"], "unknown");
}
