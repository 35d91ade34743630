//! Payments that do not succeed at the first request, with the sandbox provider.

use std::time::Duration;

use harness::eventually;
use serde_json::json;

use super::shop::{Shop, problem, ten_euros};

#[tokio::test]
async fn a_decline_is_final_and_its_intent_is_cancelled() {
    let shop = Shop::on_a_laptop().await;
    let order = ten_euros("pm_card_chargeDeclined");

    let first = shop.pay("k-1", &order).await;
    let again = shop.pay("k-1", &order).await;

    assert_eq!((first.status, &*problem(&first)), (402, "payment-declined"));
    assert_eq!(first.json()["decline_code"], "generic_decline");
    assert_eq!((again.status, &again.body), (402, &first.body));
    assert_eq!(
        again.header("content-type"),
        Some("application/problem+json")
    );
    assert_eq!(shop.intents(), ["canceled"]);
    let id = first.json()["payment_id"]
        .as_str()
        .expect("an id")
        .to_owned();
    let shown = shop.show(&id).await.json();
    assert_eq!(
        (&shown["status"], &shown["decline_code"]),
        (&json!("declined"), &json!("generic_decline"))
    );
}

#[tokio::test]
async fn a_payment_that_the_provider_rejects_fails() {
    let shop = Shop::on_a_laptop().await;

    let failed = shop.pay("k-1", &ten_euros("pm_unknown")).await;

    assert_eq!((failed.status, &*problem(&failed)), (402, "payment-failed"));
    assert_eq!(shop.intents().len(), 0);
    assert_eq!(
        shop.pay("k-1", &ten_euros("pm_unknown")).await.body,
        failed.body
    );
}

#[tokio::test]
async fn a_retry_ends_an_unknown_payment() {
    for method in ["pm_sandbox_timeout_before", "pm_sandbox_5xx"] {
        let shop = Shop::on_a_laptop().await;
        let order = ten_euros(method);
        let unknown = shop.pay("k-1", &order).await;
        assert_eq!(
            (unknown.status, &unknown.json()["status"]),
            (202, &json!("unknown"))
        );
        assert!(unknown.header("retry-after").is_some());
        assert_eq!(shop.intents(), ["requires_confirmation"]);

        let settled = shop.pay("k-1", &order).await;

        assert_eq!(settled.status, 201, "{method}: {}", settled.text());
        assert_eq!(settled.json()["id"], unknown.json()["id"]);
        assert_eq!(shop.pay("k-1", &order).await.body, settled.body);
        assert_eq!(shop.intents(), ["succeeded"]);
    }
}

#[tokio::test]
async fn a_charge_with_a_lost_reply_is_found() {
    let shop = Shop::on_a_laptop().await;
    let charged = shop
        .pay("k-1", &ten_euros("pm_sandbox_timeout_after"))
        .await;
    assert_eq!(charged.status, 201);
    assert_eq!(shop.intents(), ["succeeded"]);
}

#[tokio::test]
async fn a_customer_acts_and_the_payment_succeeds() {
    for shop in [Shop::on_a_laptop().await, Shop::with_mongodb(&[]).await] {
        let order = ten_euros("pm_sandbox_requires_action");
        let acting = shop.pay("k-1", &order).await;
        assert_eq!(
            (acting.status, &acting.json()["status"]),
            (202, &json!("requires_action"))
        );
        assert!(acting.json()["client_secret"].is_string());
        assert_eq!(acting.json()["next_action"]["type"], "redirect_to_url");
        assert!(acting.header("retry-after").is_none());
        let id = acting.json()["id"].as_str().expect("an id").to_owned();
        let shown = shop.show(&id).await;
        assert_eq!(shown.json()["status"], "requires_action");
        assert!(!shown.text().contains("secret"));

        let settled = shop.pay("k-1", &order).await;

        assert_eq!(
            (settled.status, &settled.json()["status"]),
            (201, &json!("succeeded"))
        );
        // No client got this response before, so it is no replay.
        assert_eq!(settled.header("idempotent-replayed"), None);
        let again = shop.pay("k-1", &order).await;
        assert_eq!(again.body, settled.body);
        assert_eq!(again.header("idempotent-replayed"), Some("true"));
        assert_eq!(shop.show(&id).await.json()["status"], "succeeded");
    }
}

/// The rows of the table of payment methods in docs/payments.md. Each row has a payment method, the
/// answer, and the answer to a repeated request.
fn documented() -> Vec<[String; 3]> {
    let page = include_str!("../../../docs/payments.md");
    let table = page.split("| `payment_method` | answer |").nth(1);
    let rows = table.expect("the table").lines().skip(2);
    let rows = rows.map_while(|row| {
        let mut cells = row.strip_prefix("| ")?.split(" | ");
        Some([cells.next()?, cells.next()?, cells.next()?].map(|cell| cell.replace('`', "")))
    });
    rows.collect()
}

/// Regression: the table did not list the payment method `pm_sandbox_timeout_after`, for which the
/// function answers 201.
#[tokio::test]
async fn each_payment_method_is_answered_as_documented_in_the_readme() {
    let rows = documented();
    assert_eq!(rows.len(), 8, "{rows:?}");
    let source = include_str!("../../../shared/crates/payments/src/provider/sandbox.rs");
    let methods = source.matches(r#"#[serde(rename = "pm_"#).count();
    assert_eq!(
        methods,
        rows.len() - 1,
        "the last row is for any other payment method"
    );
    let shop = Shop::on_a_laptop().await;
    for [method, answer, again] in rows {
        let any = "pm_unknown".to_owned();
        let method = if method == "any other" { any } else { method };
        let order = ten_euros(&method);

        let first = shop.pay(&method, &order).await;
        let second = shop.pay(&method, &order).await;

        let status = match first.json()["status"].as_str() {
            Some(status) => status.to_owned(),
            None => problem(&first),
        };
        assert_eq!(format!("{} {status}", first.status), answer, "{method}");
        assert_eq!(second.status.to_string(), again, "{method}");
    }
}

#[tokio::test]
async fn concurrent_requests_with_one_key_are_one_payment() {
    let redis = harness::RedisServer::start().await;
    let shop = Shop::with_mongodb(&[("REDIS_URL", &redis.url())]).await;
    let others = [shop.another().await, shop.another().await];
    let order = ten_euros("pm_card_visa");
    let request = || super::shop::payment("k-1", &order);
    let (a, b, c) = tokio::join!(
        shop.create.request(request()),
        others[0].request(request()),
        others[1].request(request())
    );
    for answer in [&a, &b, &c] {
        assert!([201, 409].contains(&answer.status), "{}", answer.text());
    }

    eventually(Duration::from_secs(5), async || {
        shop.pay("k-1", &order).await.status == 201
    })
    .await;

    assert_eq!(shop.intents(), ["succeeded"]);
}
