use super::*;
use crate::ledger::tests::payment;

#[test]
fn an_operator_sees_what_each_run_tries_after_a_day() {
    let cases = [
        (State::Processing, Some("pi_1"), false, "still processing"),
        (State::Processing, Some("pi_1"), true, "still processing"),
        (
            State::RequiresAction,
            Some("pi_1"),
            false,
            "none yet: the customer",
        ),
        (
            State::RequiresAction,
            Some("pi_1"),
            true,
            "cancels the intent",
        ),
        (State::Unknown, None, false, "is closed after"),
        (State::Unknown, None, true, "tries to close"),
        (State::Unknown, Some("pi_1"), false, "no answer ends"),
        (State::Confirming, Some("pi_1"), true, "no answer ends"),
    ];
    for (state, intent, is_due, expected) in cases {
        let payment = payment(1, state, intent);
        let tried = tried_in_vain(&payment, DAY, is_due);
        let case = format!("{state:?} {intent:?} {is_due}: {tried:?}");
        assert!(
            tried.is_some_and(|tried| tried.contains(expected)),
            "{case}"
        );
        let younger = DAY - Duration::from_millis(1);
        assert_eq!(tried_in_vain(&payment, younger, is_due), None, "{case}");
    }
}

/// For each of these metrics there is an alarm, so a wrong value could raise or end an alarm.
#[test]
fn a_run_reports_only_what_it_has_counted() {
    let run = ReconcileReport {
        looked_at: 9,
        succeeded: 4,
        declined: 3,
        failed: 2,
        ..ReconcileReport::default()
    };
    let settled = ["succeeded=4", "declined=3", "failed=2"];
    let cut_off = ["ReconcileRuns=1", "ReconcileFinished=0"];
    let finished = ["ReconcileRuns=1", "ReconcileFinished=1"];
    let cases = [
        // An incomplete run does not report zero for rows that it has not seen.
        (run.clone(), cut_off, [].as_slice()),
        (
            ReconcileReport {
                unreadable: 5,
                ..run.clone()
            },
            cut_off,
            &["PaymentsUnreadable=5"],
        ),
        (
            ReconcileReport {
                finished: true,
                still_open: Some(0),
                ..run.clone()
            },
            finished,
            &[
                "PaymentsUnreadable=0",
                "PaymentsOpen=0",
                "OldestOpenPaymentAge=0",
            ],
        ),
        (
            ReconcileReport {
                finished: true,
                still_open: Some(7),
                oldest_open_seconds: Some(61),
                ..run
            },
            finished,
            &[
                "PaymentsUnreadable=0",
                "PaymentsOpen=7",
                "OldestOpenPaymentAge=61",
            ],
        ),
    ];
    for (run, first, more) in cases {
        let metrics = run.metrics().into_iter().flat_map(|((_, group), metrics)| {
            metrics.into_iter().map(move |metric| {
                let name = match metric.name {
                    "PaymentsSettled" => group,
                    name => name,
                };
                format!("{name}={}", metric.value)
            })
        });
        let expected: Vec<_> = settled.iter().chain(&first).chain(more).collect();
        assert_eq!(
            metrics.collect::<Vec<_>>().iter().collect::<Vec<_>>(),
            expected
        );
    }
}
