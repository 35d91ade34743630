//! A short hunt in each mode: what `make hunt` does for longer.

use tests::{Hunt, Mode, Work};

async fn nothing_is_found(payments: u32, seed: u64, mode: Mode) {
    let hunt = Hunt::new(payments, seed, Work::Payments, mode);
    let report = hunt.run(|_| ()).await;
    assert_eq!(
        report.broken(),
        Vec::<String>::new(),
        "{:#}",
        report.to_json()
    );
    assert_eq!(report.payments, payments as usize);
    assert!(
        report.charges > 0 && report.faults.len() > 2,
        "{:?}",
        report.faults
    );
}

#[tokio::test]
async fn nobody_is_charged_twice_where_mongodb_decides() {
    nothing_is_found(120, 2, Mode::Tiered).await;
}

#[tokio::test]
async fn nobody_is_charged_twice_where_redis_decides() {
    nothing_is_found(80, 1, Mode::Redis).await;
}
