//! A process is killed at any time between the claim and the response.

use std::time::Duration;

use harness::{RedisServer, eventually};

use super::shop::{Shop, payment, ten_euros};

/// After the kill, retries by two other processes lead to one charge and one response.
#[tokio::test]
async fn a_payment_is_charged_once_if_its_process_is_killed_at_any_time() {
    let redis = RedisServer::start().await;
    let shop = Shop::with_mongodb(&[
        ("REDIS_URL", &redis.url()),
        ("IDEMPOTENCY_LEASE_GRACE_MS", "0"),
    ])
    .await;
    let [one, two] = [shop.another().await, shop.another().await];
    let order = ten_euros("pm_card_visa");
    let kills = 40;
    for kill in 0..kills {
        let victim = &shop.create;
        let warm = payment(&format!("warm-{kill}"), &order);
        victim.request(warm).await;
        drop(victim.queue(payment(&format!("k-{kill}"), &order)).await);
        tokio::time::sleep(Duration::from_micros(kill * 400)).await;
        victim.stop().await;
    }

    for kill in 0..kills {
        let request = payment(&format!("k-{kill}"), &order);
        let mut answers = None;
        eventually(Duration::from_secs(40), async || {
            let both = (one.request(request.clone()), two.request(request.clone()));
            let (first, second) = tokio::join!(both.0, both.1);
            let are_final = first.status == 201 && second.status == 201;
            answers = Some((first.body, second.body));
            are_final
        })
        .await;
        let (first, second) = answers.expect("two");
        assert_eq!(first, second, "k-{kill}");
    }
    let intents = shop.intents();
    assert_eq!(
        intents,
        vec!["succeeded"; 2 * usize::try_from(kills).expect("few")]
    );
}
