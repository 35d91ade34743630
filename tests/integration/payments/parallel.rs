//! One process handles several requests concurrently, as on Lambda Managed Instances. Data of one request must not get into
//! another request.
//!
//! `PAYMENTS=10000 cargo test --package tests --test integration payments::parallel` makes more payments than a normal run.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use harness::{
    Answer, FaultProxy, Lambda, MongoServer, RedisServer, STRIPE_TEST_KEY, StripeServer,
    TestRequest, eventually, wanted_payments,
};
use serde_json::{Value, json};

use super::shop::{Shop, payment, ten_euros};
use crate::openapi;

/// The number of concurrent requests.
const AT_ONCE: usize = 8;

async fn shop(redis: &RedisServer) -> (Shop, Lambda) {
    let shop = Shop::with_mongodb(&[("REDIS_URL", &redis.url())]).await;
    let lambda = shop.parallel(AT_ONCE).await;
    (shop, lambda)
}

async fn pay(lambda: &Lambda, request: TestRequest) -> Answer {
    let answer = lambda.request(request).await;
    openapi::check("/api/payments", "post", &answer);
    answer
}

/// The order `number` of a tenant. Each order of each tenant has a different amount.
fn order(tenant: usize, number: usize) -> Value {
    json!({
        "amount": 1 + number * AT_ONCE + tenant,
        "currency": "EUR",
        "payment_method": "pm_card_visa",
        "metadata": {"tenant": tenant.to_string(), "number": number.to_string()},
    })
}

/// A tenant's request for this order. All tenants use the same keys.
fn request(tenant: usize, number: usize) -> TestRequest {
    payment(&format!("k-{number}"), &order(tenant, number)).subject(&format!("tenant-{tenant}"))
}

#[tokio::test]
async fn concurrent_requests_do_not_share_data() {
    let redis = RedisServer::start().await;
    let (shop, lambda) = shop(&redis).await;
    let each = wanted_payments(400) / AT_ONCE;

    let tenants = (0..AT_ONCE).map(async |tenant| {
        let mut made = Vec::new();
        for number in 0..each {
            let sent = request(tenant, number);
            let id = sent.request_id().to_owned();
            let answer = pay(&lambda, sent).await;
            assert_eq!(answer.status, 201, "{}", answer.text());
            let (answered, ordered) = (answer.json(), order(tenant, number));
            assert_eq!(answered["amount"], ordered["amount"], "{tenant} {number}");
            assert_eq!(answered["metadata"], ordered["metadata"]);
            made.push((id, answered["id"].as_str().expect("an id").to_owned()));
        }
        made
    });
    let made: Vec<_> = join_all(tenants).await.into_iter().flatten().collect();

    let ids: BTreeSet<_> = made.iter().map(|(_, payment)| payment).collect();
    assert_eq!(
        ids.len(),
        each * AT_ONCE,
        "each request has its own payment"
    );
    assert_eq!(shop.intents(), vec!["succeeded"; ids.len()]);
    assert_eq!(lambda.processes(), 1);
    assert_log_lines_belong_to_their_requests(&lambda, &made);
}

/// Checks that every log line about a payment has the id of its request, and that no two requests share an invocation.
fn assert_log_lines_belong_to_their_requests(lambda: &Lambda, made: &[(String, String)]) {
    let made: BTreeMap<_, _> = made.iter().cloned().collect();
    let mut invocations = BTreeMap::new();
    let mut ended = 0;
    for line in lambda.log_events() {
        let text = |name: &str| line[name].as_str().map(str::to_owned);
        let (Some(request), Some(invocation)) = (text("http.request_id"), text("requestId")) else {
            continue;
        };
        if let Some(payment) = text("payment.id") {
            assert_eq!(made.get(&request), Some(&payment), "{line}");
            ended += 1;
        }
        let known = invocations.entry(request).or_insert(invocation.clone());
        assert_eq!(*known, invocation, "{line}");
    }
    assert!(ended >= made.len(), "{ended} payments in the log");
    let distinct: BTreeSet<_> = invocations.values().collect();
    assert_eq!(distinct.len(), made.len());
}

#[tokio::test]
async fn of_eight_concurrent_repetitions_one_gets_the_lease() {
    let redis = RedisServer::start().await;
    let (shop, lambda) = shop(&redis).await;
    const ROUNDS: usize = 10;

    for round in 0..ROUNDS {
        let at_once = (0..AT_ONCE).map(|_| pay(&lambda, request(0, round)));
        let answers = join_all(at_once).await;

        let last = pay(&lambda, request(0, round)).await;
        assert_eq!(last.status, 201);
        let made: Vec<_> = answers
            .iter()
            .filter(|answer| answer.status == 201)
            .collect();
        assert!(!made.is_empty());
        assert!(made.iter().all(|answer| answer.body == last.body));
        let fresh = made
            .iter()
            .filter(|answer| answer.header("idempotent-replayed").is_none());
        assert_eq!(fresh.count(), 1, "only one request got the lease");
        for answer in &answers {
            assert!([201, 409].contains(&answer.status), "{}", answer.text());
        }
    }
    assert_eq!(shop.intents(), ["succeeded"; ROUNDS]);
}

#[tokio::test]
async fn each_request_has_its_own_deadline() {
    // The timeout of an invocation. On a busy machine, this time is enough to reach the provider.
    const TIMEOUT: Duration = Duration::from_secs(8);
    // The time between the starts of the two requests.
    const LATER: Duration = Duration::from_secs(3);
    let mongo = MongoServer::shared().await;
    let silent = FaultProxy::silent();
    let lambda = Lambda::function("payments-create")
        .env("MONGODB_URI", &mongo.uri())
        .env("MONGODB_DATABASE", &mongo.fresh_database())
        .env("PAYMENT_PROVIDER", "stripe")
        .env("STRIPE_API_KEY", STRIPE_TEST_KEY)
        .env("STRIPE_API_BASE", &StripeServer::url_at(silent.address()))
        .timeout(TIMEOUT)
        .concurrency(AT_ONCE)
        .start()
        .await;
    let began = Instant::now();
    let paying = async |key: &str| {
        let began = Instant::now();
        let answer = pay(&lambda, payment(key, &ten_euros("pm_card_visa"))).await;
        (answer.status, began.elapsed())
    };
    let first = paying("k-1");
    let second = async {
        eventually(TIMEOUT, async || began.elapsed() >= LATER).await;
        paying("k-2").await
    };

    let (first, second) = tokio::join!(first, second);

    assert_eq!((first.0, second.0), (202, 202));
    // Each request ends at its own deadline, so the two requests take about equal time. If the second request used the
    // deadline of the first request, the second request would take `LATER` less.
    assert!(
        first.1.abs_diff(second.1) < LATER / 2,
        "{first:?} {second:?}"
    );
    assert_eq!(lambda.processes(), 1);
}
