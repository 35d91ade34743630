//! Short hunts: what `make hunt` does for longer.

use std::time::Duration;

use hunt::{Fault, Hunt, Mode, Report, Work};

/// The shortest that there is.
const RETENTION: Duration = Duration::from_secs(1);

async fn nothing_is_found(payments: u32, seed: u64, work: Work, mode: Mode) {
    find_nothing(Hunt::new(payments, seed, work, mode)).await;
}

async fn find_nothing(hunt: Hunt) -> Report {
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
async fn nobody_is_charged_twice_where_mongodb_decides() {
    nothing_is_found(120, 2, Work::Payments, Mode::Tiered).await;
}

#[tokio::test]
async fn nobody_is_charged_twice_where_redis_decides() {
    nothing_is_found(80, 1, Work::Payments, Mode::Redis).await;
}

/// Whatever fails, with no fence but the claim.
#[tokio::test]
async fn the_engine_alone_lets_nobody_be_charged_twice() {
    nothing_is_found(100, 3, Work::Once, Mode::Tiered).await;
}

#[tokio::test]
async fn work_that_runs_again_has_one_answer() {
    nothing_is_found(100, 4, Work::Rerun, Mode::Redis).await;
}

/// Short outages only: no caller may miss the end of the retention.
#[tokio::test]
async fn a_key_runs_as_new_when_its_retention_is_over_and_not_before() {
    use Fault::{ClockSkew, Kill, KillBeforeAnswer, MongoBreaks, MongoRepliesLate};
    let mut hunt = Hunt::new(40, 6, Work::Once, Mode::MongoDb).with_retention(RETENTION);
    hunt.faults = vec![
        ClockSkew,
        Kill,
        KillBeforeAnswer,
        MongoBreaks,
        MongoRepliesLate,
    ];
    let report = find_nothing(hunt).await;
    assert!(report.renewals > 0 && report.expired > 0, "{report:?}");
}
