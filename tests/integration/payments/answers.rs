//! Payments whose provider answers with an error or an unexpected intent.

use harness::STRIPE_TEST_KEY;
use serde_json::json;

use super::scripted_stripe::{ScriptedStripe, Step};
use super::shop::{Shop, anomalies, problem, ten_euros};

async fn shop_at(stripe: &ScriptedStripe) -> Shop {
    shop_with("false", STRIPE_TEST_KEY, stripe).await
}

async fn shop_with(livemode: &str, key: &str, stripe: &ScriptedStripe) -> Shop {
    Shop::with_mongodb(&[
        ("PAYMENT_PROVIDER", "stripe"),
        ("PAYMENT_LIVEMODE", livemode),
        ("STRIPE_API_KEY", key),
        ("STRIPE_API_BASE", &stripe.url()),
    ])
    .await
}

/// Regression: a new version of the function created the intent again, with an old idempotency key and another body (form).
/// Stripe rejected the request, and the function answered a final 402. But an attempt of the previous version had possibly
/// charged the customer.
#[tokio::test]
async fn an_idempotency_key_reused_with_another_form_does_not_fail_the_payment() {
    let stripe = ScriptedStripe::start().await;
    let shop = shop_at(&stripe).await;
    let order = ten_euros("pm_card_visa");
    stripe.refuse(Step::Confirm, 429, "rate_limit_error");
    assert_eq!(shop.pay("k-1", &order).await.status, 503);
    stripe.change_forms();
    let unset = mongodb::bson::doc! { "$set": { "intent": null } };
    let ledger = shop.ledger().await;
    ledger
        .update_one(mongodb::bson::doc! {}, unset)
        .await
        .expect("the intent is removed from the row");

    let unknown = shop.pay("k-1", &order).await;

    assert_eq!(
        (unknown.status, &unknown.json()["status"]),
        (202, &json!("unknown"))
    );
}

/// The idempotency key of a creation depends on its body (form). So two different orders have different keys, even with the same
/// payment id.
#[tokio::test]
async fn the_idempotency_key_of_a_creation_depends_on_its_form() {
    let stripe = ScriptedStripe::start().await;
    let shop = shop_at(&stripe).await;
    let order = ten_euros("pm_card_visa");
    stripe.refuse(Step::Confirm, 429, "rate_limit_error");
    assert_eq!(shop.pay("k-1", &order).await.status, 503);
    let ledger = shop.ledger().await;
    let other_form =
        mongodb::bson::doc! { "$set": { "intent": null, "order.description": "other" } };
    ledger
        .update_one(mongodb::bson::doc! {}, other_form)
        .await
        .expect("the row is changed");
    stripe.heal();

    let paid = shop.pay("k-1", &order).await;

    assert_eq!(paid.status, 201, "{}", paid.text());
    let statuses: Vec<_> = stripe
        .intents()
        .into_iter()
        .map(|intent| intent["status"].clone())
        .collect();
    assert_eq!(statuses, ["requires_confirmation", "succeeded"]);
    assert_eq!(stripe.keys().len(), 2);
    // If a creation is repeated with the same form, Stripe returns the same intent.
    let again = ten_euros("pm_card_visa");
    stripe.refuse(Step::Confirm, 429, "rate_limit_error");
    assert_eq!(shop.pay("k-2", &again).await.status, 503);
    let unset = mongodb::bson::doc! { "$set": { "intent": null } };
    let open = mongodb::bson::doc! { "state": "confirming" };
    ledger
        .update_one(open, unset)
        .await
        .expect("the intent is removed from the row again");
    stripe.heal();
    assert_eq!(shop.pay("k-2", &again).await.status, 201);
    assert_eq!(stripe.intents().len(), 3);
}

/// Stripe answers 409 while it processes another request with the same key. That request can create the intent, and its sender
/// can confirm the intent.
#[tokio::test]
async fn a_conflict_at_the_provider_is_answered_as_unknown() {
    let stripe = ScriptedStripe::start().await;
    let shop = shop_at(&stripe).await;
    let order = ten_euros("pm_card_visa");
    for step in [Step::Create, Step::Confirm] {
        let key = format!("{step:?}");
        stripe.refuse(step, 409, "idempotency_error");

        let unknown = shop.pay(&key, &order).await;

        assert_eq!(unknown.status, 202, "{}", unknown.text());
        assert_eq!(unknown.json()["status"], "unknown");
        stripe.heal();
        assert_eq!(shop.pay(&key, &order).await.status, 201);
    }
}

/// The function confirms only an intent with the amount and the currency of the order.
#[tokio::test]
async fn an_intent_of_another_amount_or_currency_is_never_confirmed() {
    for (member, value) in [("amount", json!(100_000)), ("currency", json!("usd"))] {
        let stripe = ScriptedStripe::start().await;
        let shop = shop_at(&stripe).await;
        let order = ten_euros("pm_card_visa");
        stripe.refuse(Step::Confirm, 429, "rate_limit_error");
        let refused = shop.pay("k-1", &order).await;
        assert_eq!((refused.status, &*problem(&refused)), (503, "unavailable"));
        stripe.heal();
        stripe.set(member, &value);

        let unknown = shop.pay("k-1", &order).await;

        assert_eq!(unknown.status, 202, "{}", unknown.text());
        assert_eq!(unknown.json()["status"], "unknown");
        let last = stripe.asked().pop();
        assert_eq!(last, Some(Step::Inspect), "nothing after the look");
        assert_eq!(stripe.intents()[0]["status"], "requires_confirmation");
    }
}

/// Regression: with a test key in production, the function answered "succeeded", and no customer was charged.
#[tokio::test]
async fn an_intent_of_the_other_mode_is_never_confirmed() {
    // The prefix of most API keys shows their mode (live or test). The function sends no request with such a key of the wrong
    // mode. The second key has no such prefix.
    for (key, asked) in [
        (STRIPE_TEST_KEY, vec![]),
        ("sk_of_no_mode", vec![Step::Create]),
    ] {
        let stripe = ScriptedStripe::start().await;
        let shop = shop_with("true", key, &stripe).await;
        let order = ten_euros("pm_card_visa");

        let refused = shop.pay("k-1", &order).await;

        assert_eq!((refused.status, &*problem(&refused)), (503, "unavailable"));
        assert_eq!(stripe.asked(), asked);
        assert_eq!(anomalies(&shop.create), ["livemode_mismatch"]);
        assert!(shop.create.log_text().contains("other_livemode"));
    }
}

/// The payment already has an intent, and its mode (live or test) is not the configured mode, as after a change of the API key.
#[tokio::test]
async fn a_payment_waits_while_its_intent_is_of_the_other_mode() {
    let stripe = ScriptedStripe::start().await;
    let shop = shop_at(&stripe).await;
    let order = ten_euros("pm_card_visa");
    stripe.refuse(Step::Confirm, 429, "rate_limit_error");
    assert_eq!(shop.pay("k-1", &order).await.status, 503);
    stripe.heal();
    stripe.set("livemode", &json!(true));

    let unknown = shop.pay("k-1", &order).await;

    assert_eq!(
        (unknown.status, &unknown.json()["status"]),
        (202, &json!("unknown"))
    );
    assert_eq!(
        stripe.asked().pop(),
        Some(Step::Inspect),
        "nothing after the look"
    );
    assert_eq!(anomalies(&shop.create), ["livemode_mismatch"]);
    stripe.set("livemode", &json!(false));
    assert_eq!(shop.pay("k-1", &order).await.status, 201);
}
