//! The responses that clients get.

use harness::{RedisServer, TestRequest};
use serde_json::{Value, json};

use super::shop::{Shop, payment, problem, shown, ten_euros};
use crate::openapi;

#[tokio::test]
async fn a_repeated_request_is_charged_once_and_replays_the_response() {
    let shop = Shop::on_a_laptop().await;
    let order = json!({
        "amount": 1999, "currency": "EUR", "payment_method": "pm_card_visa",
        "description": "Premium, one month", "metadata": {"order": "A-1"},
        "return_url": "https://app.example/done",
    });

    let first = shop.pay("k-1", &order).await;
    let again = shop.pay("k-1", &order).await;

    assert_eq!(first.status, 201, "{}", first.text());
    assert_eq!(first.header("idempotent-replayed"), None);
    let payment = first.json();
    let id = payment["id"].as_str().expect("an id");
    assert_eq!(
        first.header("location"),
        Some(&*format!("/api/payments/{id}"))
    );
    let mut shape = payment.clone();
    for member in ["id", "provider_reference", "created_at", "status_since"] {
        assert!(payment[member].is_string());
        shape[member] = member.into();
    }
    insta::assert_json_snapshot!(shape, @r#"
    {
      "id": "id",
      "status": "succeeded",
      "amount": 1999,
      "currency": "EUR",
      "description": "Premium, one month",
      "metadata": {
        "order": "A-1"
      },
      "provider": "sandbox",
      "provider_reference": "provider_reference",
      "livemode": false,
      "created_at": "created_at",
      "status_since": "status_since"
    }
    "#);
    assert_eq!(
        (again.status, &again.body, again.header("location")),
        (201, &first.body, first.header("location"))
    );
    assert_eq!(again.header("idempotent-replayed"), Some("true"));
    assert_eq!(shop.intents(), ["succeeded"]);
    let seen = shop.show(id).await;
    assert_eq!((seen.status, seen.json()), (200, payment));
}

/// The engine keeps only a summary of a long response. The ledger has the whole response.
#[tokio::test]
async fn a_response_that_is_too_long_for_the_engine_is_replayed_whole() {
    let shop = Shop::with_mongodb(&[("IDEMPOTENCY_MAX_RESPONSE_BYTES", "16")]).await;
    let first = shop.pay("k-1", &ten_euros("pm_card_visa")).await;
    let again = shop.pay("k-1", &ten_euros("pm_card_visa")).await;
    assert_eq!((again.status, &again.body), (201, &first.body));
    assert_eq!(again.header("idempotent-replayed"), Some("true"));
    assert_eq!(shop.intents(), ["succeeded"]);
}

#[tokio::test]
async fn a_body_with_the_same_json_value_is_the_same_request() {
    let shop = Shop::on_a_laptop().await;
    let first = shop.pay("k-1", &ten_euros("pm_card_visa")).await;
    let reordered = TestRequest::post("/api/payments")
        .header("Idempotency-Key", "\"k-1\"")
        .header("Content-Type", "application/json; charset=utf-8")
        .body(r#"{ "payment_method":"pm_card_visa", "currency":"EUR",  "amount":1000 }"#);

    let again = shop.create.request(reordered).await;

    assert_eq!(again.body, first.body);
    assert_eq!(again.header("idempotent-replayed"), Some("true"));
}

#[tokio::test]
async fn another_request_with_the_key_is_refused() {
    let shop = Shop::on_a_laptop().await;
    let first = shop.pay("k-1", &ten_euros("pm_card_visa")).await;
    let other = json!({"amount": 2000, "currency": "EUR", "payment_method": "pm_card_visa"});

    let refused = shop.pay("k-1", &other).await;

    assert_eq!(
        (refused.status, &*problem(&refused)),
        (422, "idempotency-key-reused")
    );
    let honest = shop.pay("k-1", &ten_euros("pm_card_visa")).await;
    assert_eq!((honest.status, honest.body), (201, first.body));
    assert_eq!(shop.intents().len(), 1);
}

#[tokio::test]
async fn a_refusal_before_the_claim_stores_nothing() {
    let shop = Shop::on_a_laptop().await;
    let order = ten_euros("pm_card_visa").to_string();
    let base = || TestRequest::post("/api/payments");
    let keyed = || base().header("Idempotency-Key", "k-1");
    let json = |request: TestRequest| request.header("Content-Type", "application/json");
    let cases = [
        (
            json(base()).body(order.clone()),
            400,
            "idempotency-key-missing",
        ),
        (
            json(base().header("Idempotency-Key", "a,b")).body(order.clone()),
            400,
            "idempotency-key-invalid",
        ),
        (
            json(keyed().header("Idempotency-Key", "k-1")).body(order.clone()),
            400,
            "idempotency-key-invalid",
        ),
        (
            json(keyed()).body(" ".repeat(64 * 1024 + 1)),
            413,
            "body-too-large",
        ),
        (keyed().body(order.clone()), 415, "unsupported-media-type"),
        (
            keyed().header("Content-Type", "text/plain").body(order),
            415,
            "unsupported-media-type",
        ),
        (
            json(keyed()).body(&b"\xff\xfe"[..]),
            400,
            "validation-failed",
        ),
        (
            json(keyed()).body("[".repeat(60_000)),
            400,
            "validation-failed",
        ),
        (
            json(keyed()).body(r#"{"amount":1,"amount":2,"currency":"EUR","payment_method":"pm"}"#),
            400,
            "validation-failed",
        ),
        (
            json(keyed()).body(r#"{"amount":1e400,"currency":"EUR","payment_method":"pm"}"#),
            400,
            "validation-failed",
        ),
        (json(keyed()), 400, "validation-failed"),
    ];
    for (request, status, kind) in cases {
        let refused = shop.create.request(request.clone()).await;
        openapi::check("/api/payments", "post", &refused);
        assert_eq!(
            (refused.status, &*problem(&refused)),
            (status, kind),
            "{request:?}"
        );
    }

    let corrected = shop.pay("k-1", &ten_euros("pm_card_visa")).await;

    assert_eq!(corrected.status, 201);
    assert_eq!(corrected.header("idempotent-replayed"), None);
    assert_eq!(shop.create.processes(), 1);
}

/// Some cases are texts that some JSON writers produce. In the other cases, the provider or a browser would change the
/// text, or a screen would show it differently.
#[tokio::test]
async fn an_invalid_text_is_reported_with_its_member_and_the_reason() {
    let shop = Shop::on_a_laptop().await;
    let body = |more: &str| {
        format!(r#"{{"amount": 1000, "currency": "EUR", "payment_method": "pm_card_visa"{more}}}"#)
    };
    let cases = [
        (
            r#", "description": "a\ud83d""#,
            "/description",
            "half of a surrogate pair",
        ),
        (
            r#", "metadata": {"a": "\ude00"}"#,
            "/metadata/a",
            "half of a surrogate pair",
        ),
        (
            r#", "description": "a\u202eb""#,
            "/description",
            "without invisible characters",
        ),
        (
            r#", "metadata": {"payment_id": "x"}"#,
            "/metadata/payment_id",
            "are reserved",
        ),
        (
            r#", "metadata": {"a": ""}"#,
            "/metadata/a",
            "drops empty members",
        ),
        (
            r#", "return_url": "https://a.example\\@b.example/""#,
            "/return_url",
            "backslash",
        ),
        (
            r#", "return_url": "https://user@a.example/""#,
            "/return_url",
            "without user",
        ),
        (
            r#", "return_url": "http://a.example/""#,
            "/return_url",
            "`https://` URL",
        ),
    ];
    let ask = |body: String| {
        let request = TestRequest::post("/api/payments").header("Idempotency-Key", "k-1");
        let request = request.header("Content-Type", "application/json");
        shop.create.request(request.body(body))
    };
    for (more, pointer, reason) in cases {
        let refused = ask(body(more)).await;
        openapi::check("/api/payments", "post", &refused);
        assert_eq!(&*problem(&refused), "validation-failed", "{more}");
        let errors = &refused.json()["errors"];
        assert_eq!(
            (errors[0]["pointer"].as_str(), &errors[1]),
            (Some(pointer), &Value::Null)
        );
        let detail = errors[0]["detail"].as_str().expect("a detail");
        assert!(detail.contains(reason), "{detail}");
    }

    let marked = ask(format!("\u{feff}{}", body(""))).await;
    let unmarked = shop.pay("k-1", &ten_euros("pm_card_visa")).await;

    assert_eq!(marked.status, 201, "{}", marked.text());
    assert_eq!(
        unmarked.body, marked.body,
        "the byte order mark is not part of the request"
    );
}

#[tokio::test]
async fn all_errors_of_a_body_are_reported_at_once() {
    let shop = Shop::on_a_laptop().await;
    let wrong = json!({"amount": 19.99, "currency": "eur", "price": 1});

    let refused = shop.pay("k-1", &wrong).await;

    insta::assert_json_snapshot!(refused.json(), @r#"
    {
      "type": "urn:truebond:problem:validation-failed",
      "title": "The body is invalid",
      "status": 400,
      "detail": "This request charged nothing. Correct what `errors` lists and send it again; the same Idempotency-Key may be used.",
      "errors": [
        {
          "pointer": "/amount",
          "detail": "a whole number from 1 to 99999999"
        },
        {
          "pointer": "/currency",
          "detail": "an ISO 4217 code in upper case"
        },
        {
          "pointer": "/payment_method",
          "detail": "1 to 255 letters, digits, `_` or `-`"
        },
        {
          "pointer": "/price",
          "detail": "an unknown member"
        }
      ]
    }
    "#);
}

/// Regression: the functions of a deployed development environment accepted unauthenticated callers, and treated all of
/// them as one tenant.
#[tokio::test]
async fn a_deployed_function_requires_an_authenticated_caller() {
    let shop = Shop::with_mongodb(&[("ENVIRONMENT", "development")]).await;
    let request = payment("k-1", &ten_euros("pm_card_visa")).without_authorizer();
    let unauthenticated = shop.create.request(request).await;
    assert_eq!(unauthenticated.header("www-authenticate"), Some("Bearer"));
    assert_eq!(
        (unauthenticated.status, &*problem(&unauthenticated)),
        (401, "unauthenticated")
    );
    let id = format!("pay_{}", "0".repeat(32));
    let refused = shop.get.request(shown(&id).without_authorizer()).await;
    assert_eq!(refused.status, 401);
    let named = shop.get.request(shown(&id).subject("alice")).await;
    assert_eq!(named.status, 404);
}

#[tokio::test]
async fn a_payment_is_visible_only_to_its_tenant() {
    let shop = Shop::with_mongodb(&[]).await;
    let order = ten_euros("pm_card_visa");
    let alice = shop
        .create
        .request(payment("k-1", &order).subject("alice"))
        .await;
    let bob = shop
        .create
        .request(payment("k-1", &order).subject("bob"))
        .await;
    let shop_tenant = shop
        .create
        .request(payment("k-1", &order).tenant("alice"))
        .await;
    for other in [&bob, &shop_tenant] {
        assert_eq!(other.status, 201);
        assert_eq!(other.header("idempotent-replayed"), None);
        assert_ne!(other.json()["id"], alice.json()["id"]);
    }

    let id = alice.json()["id"].as_str().expect("an id").to_owned();
    let own = shop.get.request(shown(&id).subject("alice")).await;
    let foreign = shop.get.request(shown(&id).subject("bob")).await;
    let never = format!("pay_{}", "0".repeat(32));
    let unknown = shop.get.request(shown(&never).subject("bob")).await;
    let malformed = shop.get.request(shown("pay_1").subject("bob")).await;

    assert_eq!(own.status, 200);
    assert_eq!(
        (foreign.status, &*problem(&foreign)),
        (404, "payment-not-found")
    );
    assert_eq!((unknown.status, &unknown.body), (404, &foreign.body));
    assert_eq!((malformed.status, &malformed.body), (404, &foreign.body));
    assert_eq!(shop.get.request(shown(&id)).await.status, 404);
}

#[tokio::test]
async fn a_concurrent_repetition_waits_or_gets_in_progress() {
    let redis = RedisServer::start().await;
    let shop = Shop::with_mongodb(&[("REDIS_URL", &redis.url())]).await;
    let slow = ten_euros("pm_sandbox_slow");
    let other = shop.another().await;
    other
        .request(payment("warm", &ten_euros("pm_card_visa")))
        .await;
    let first = shop.create.queue(payment("k-1", &slow)).await;
    tokio::time::sleep(std::time::Duration::from_millis(700)).await;

    let turned_away = other.request(payment("k-1", &slow)).await;
    let impatient = other
        .request(payment("k-1", &slow).header("Prefer", "wait=1"))
        .await;
    let waiting = other.request(payment("k-1", &slow).header("Prefer", "respond-async, wait=9"));
    let (first, waited) = tokio::join!(first, waiting);

    assert_eq!(
        (turned_away.status, &*problem(&turned_away)),
        (409, "in-progress")
    );
    let seconds: u64 = turned_away
        .header("retry-after")
        .expect("a time")
        .parse()
        .expect("seconds");
    assert!((1..=30).contains(&seconds), "{seconds}");
    assert_eq!(
        (impatient.status, impatient.header("preference-applied")),
        (409, Some("wait=1"))
    );
    assert_eq!(first.status, 201, "{}", first.text());
    assert_eq!((waited.status, &waited.body), (201, &first.body));
    assert_eq!(waited.header("preference-applied"), Some("wait=9"));
    assert_eq!(waited.header("idempotent-replayed"), Some("true"));
}

#[tokio::test]
async fn without_a_ledger_or_a_provider_payments_are_refused() {
    let variables = [
        ("ENVIRONMENT", "production"),
        ("PAYMENT_PROVIDER", "stripe"),
        ("STRIPE_API_KEY", "sk_test_1"),
    ];
    let production = [("ENVIRONMENT", "production")];
    let (ledger, provider) = ("no ledger is configured", "no provider is configured");
    let cases = [
        (Shop::with(&variables).await, [true, false]),
        (Shop::with_mongodb(&production).await, [false, true]),
        (Shop::with(&production).await, [true, true]),
    ];
    for (shop, missing) in cases {
        let request = payment("k-1", &ten_euros("pm_card_visa")).subject("alice");
        let refused = shop.create.request(request).await;
        assert_eq!((refused.status, &*problem(&refused)), (503, "unavailable"));
        assert!(refused.header("retry-after").is_some());
        let log = shop.create.log_text();
        let logged =
            [ledger, provider].map(|part| log.contains(&format!("payments are refused: {part}")));
        assert_eq!(logged, missing, "{log}");
    }
}

#[tokio::test]
async fn other_methods_get_the_allowed_methods() {
    let shop = Shop::on_a_laptop().await;
    let refused = shop.create.request(TestRequest::get("/api/payments")).await;
    assert_eq!(
        (refused.status, refused.header("allow")),
        (405, Some("POST"))
    );
    let refused = shop
        .get
        .request(TestRequest::new("DELETE", "/api/payments/pay_1"))
        .await;
    assert_eq!(
        (refused.status, refused.header("allow")),
        (405, Some("GET, HEAD"))
    );
}

#[tokio::test]
async fn no_data_of_a_payment_is_in_the_log() {
    let shop = Shop::on_a_laptop().await;
    let order = json!({
        "amount": 1000, "currency": "EUR", "payment_method": "pm_sandbox_requires_action",
        "description": "planted-description", "metadata": {"planted-name": "planted-value"},
    });
    for secret in [
        "planted-key",
        "planted-description",
        "planted-name",
        "planted-value",
        "_secret_sandbox",
    ] {
        shop.create.plant_secret(&format!("no-{secret}"));
    }
    let answer = shop.pay("planted-key", &order).await;
    assert_eq!(answer.status, 202);
    shop.pay("planted-key", &order).await;
    let log = shop.create.log_text();
    assert!(log.contains("answered"), "{log}");
    for secret in ["planted", "_secret_sandbox"] {
        assert!(!log.contains(secret), "{log}");
    }
}

#[tokio::test]
async fn a_degraded_response_names_the_store_that_took_part() {
    let redis = RedisServer::start().await;
    let shop = Shop::with_mongodb(&[
        ("REDIS_URL", &redis.url()),
        ("REDIS_CONNECT_TIMEOUT_MS", "300"),
    ])
    .await;
    let order: Value = ten_euros("pm_card_visa");
    assert_eq!(
        shop.pay("k-1", &order).await.header("idempotency-store"),
        None
    );
    redis.stop().await;

    let degraded = shop.pay("k-2", &order).await;

    assert_eq!(degraded.status, 201);
    assert_eq!(degraded.header("idempotency-store"), Some("mongodb"));
    assert_eq!(
        shop.pay("k-1", &order).await.header("idempotent-replayed"),
        Some("true")
    );
}
