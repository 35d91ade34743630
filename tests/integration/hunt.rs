//! Short hunts. A hunt makes random payments with random faults, and checks the guarantees. `make
//! hunt` runs longer hunts.

use std::time::Duration;

use hunt::{Fault, Hunt, Mode, Report, Work};

/// The shortest retention that can be configured.
const RETENTION: Duration = Duration::from_secs(1);

async fn find_no_violation(payments: u32, seed: u64, work: Work, mode: Mode) {
    assert_no_violation(Hunt::new(payments, seed, work, mode)).await;
}

async fn assert_no_violation(hunt: Hunt) -> Report {
    let report = hunt.run(|_| ()).await;
    let nothing = Vec::<String>::new();
    assert_eq!(report.broken(), nothing, "{:#}", report.to_json());
    assert_eq!(report.payments, hunt.payments as usize);
    assert!(report.charges > 0);
    assert!(report.faults().len() > 2, "{:?}", report.faults());
    assert!(report.to_svg().contains("nothing found"));
    report
}

#[tokio::test]
async fn with_mongodb_no_customer_is_charged_twice() {
    find_no_violation(120, 2, Work::Payments, Mode::Tiered).await;
}

#[tokio::test]
async fn with_redis_alone_no_customer_is_charged_twice() {
    find_no_violation(80, 1, Work::Payments, Mode::Redis).await;
}

/// The hunt injects all faults, and the provider does not reject a second charge.
#[tokio::test]
async fn the_engine_alone_prevents_a_second_charge() {
    find_no_violation(100, 3, Work::Once, Mode::Tiered).await;
}

#[tokio::test]
async fn work_that_may_rerun_has_one_result() {
    find_no_violation(100, 4, Work::Rerun, Mode::Redis).await;
}

/// All faults of this hunt are short. So callers get their first responses early, and send requests
/// after the end of the retention.
#[tokio::test]
async fn a_key_runs_as_new_only_after_its_retention() {
    use Fault::{ClockSkew, Kill, KillBeforeAnswer, MongoBreaks, MongoRepliesLate};
    let mut hunt = Hunt::new(40, 6, Work::Once, Mode::MongoDb).with_retention(RETENTION);
    hunt.faults = vec![
        ClockSkew,
        Kill,
        KillBeforeAnswer,
        MongoBreaks,
        MongoRepliesLate,
    ];
    let report = assert_no_violation(hunt).await;
    assert!(report.renewals > 0 && report.expired > 0, "{report:?}");
}
