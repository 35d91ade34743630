//! Makes abandoned attempts for the laws. The leases of these attempts are over, but their owners may still write.

use std::time::Duration;

use foundation::Deadline;

use super::Subject;
use super::payment::{a_resumable_payment, claim, claim_as, lease_of, patience, started};
use super::waiting::eventually;
use crate::{Blocked, ClaimOutcome, Idempotency, Lease, Operation, OwnerId, Progress};

/// The length of a lease whose attempt is abandoned. It is short, so that the lease ends soon.
pub(super) const SHORT_LEASE: Duration = Duration::from_millis(150);
pub(super) const LIMIT: Duration = Duration::from_secs(10);

pub(super) fn with_short_leases(subject: Subject) -> Subject {
    subject.with_lease(SHORT_LEASE)
}

/// Waits until the record shows that the lease has ended.
pub(super) async fn lease_is_over(engine: &Idempotency, operation: &Operation) {
    eventually(LIMIT, async || {
        let entry = engine.entry(&operation.key, patience()).await;
        !matches!(
            entry.expect("read").expect("there").progress,
            Progress::InProgress { .. }
        )
    })
    .await;
}

/// Makes a lease that blocks the claim of another caller. Tries longer and longer leases, until the other caller's
/// claim arrives before the lease ends. Returns the lease, the operation, and the other caller's engine.
pub(super) async fn seen_at_work(subject: &Subject) -> (Lease, Operation, Idempotency) {
    for milliseconds in [150, 600, 2_400, 9_600] {
        let (engine, elsewhere) = (subject.engine(), subject.engine());
        let (payment, lease) = (a_resumable_payment(), Duration::from_millis(milliseconds));
        let held = claim_as(&engine, OwnerId::fresh(), lease, &payment).await;
        match claim(&elsewhere, &payment).await {
            ClaimOutcome::Blocked(Blocked::InProgress { .. }) => {
                return (lease_of(held), payment, elsewhere);
            }
            ClaimOutcome::Claimed(later) => assert!(later.took_over(), "{later:?}"),
            other => panic!("{other:?}"),
        }
    }
    panic!("no caller asked in time");
}

/// Claims a key, and waits until the lease is over. Returns this lease, with which the attempt may still write.
pub(super) async fn overdue(engine: &Idempotency, operation: &Operation) -> Lease {
    let lease = started(engine, operation).await;
    lease_is_over(engine, operation).await;
    // If the memory of the process is in front of Redis, the memory has its own clock. So for a claim, the lease can
    // end later than for `lease_is_over`.
    let waited = engine.wait_for(operation, Deadline::after(LIMIT)).await;
    let blocked = waited.expect("read");
    assert!(
        !matches!(blocked, Some(Blocked::InProgress { .. })),
        "{blocked:?}"
    );
    lease
}
