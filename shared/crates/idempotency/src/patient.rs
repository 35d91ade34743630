//! A claim that waits for the result of a running attempt.

use std::time::Duration;

use foundation::Deadline;

use super::blocked::Blocked;
use super::idempotency::Idempotency;
use super::lease::Lease;
use super::operation::Operation;
use super::outcome::ClaimOutcome;
use super::store::{Backend, StoreError};

/// The outcome of a claim that may have waited.
#[derive(Debug)]
pub struct PatientClaim {
    /// The outcome.
    pub outcome: Result<ClaimOutcome<Lease>, StoreError>,
    /// The store that replied alone, because another configured store did not take part.
    pub degraded_to: Option<Backend>,
    /// Whether the claim waited for another attempt.
    pub has_waited: bool,
}

/// The part of the invocation's time that a wait does not use. It is reserved for the claim that may follow the wait,
/// and for the work.
const WAIT_RESERVE: Duration = Duration::from_secs(1);

impl Idempotency {
    /// Claims a key. If another attempt is running, waits for the result of that attempt. The wait lasts at most
    /// `patience`, and leaves time for the work. Without `patience`, the call does not wait. If the wait ends because
    /// the key is free, claims the key again.
    ///
    /// # Cancel safety
    ///
    /// See [`claim`](Self::claim).
    pub async fn claim_patiently(
        &self,
        operation: &Operation,
        patience: Option<Duration>,
        deadline: Deadline,
    ) -> PatientClaim {
        let (outcome, degraded_to) = match self.claim(operation, deadline).await {
            Ok(claimed) => (claimed.value, claimed.degraded_to),
            Err(error) => {
                return PatientClaim {
                    outcome: Err(error),
                    degraded_to: None,
                    has_waited: false,
                };
            }
        };
        let limit = patience.map(|patience| {
            let limit = deadline.reserving(WAIT_RESERVE + operation.least_time);
            limit.within(patience)
        });
        match (outcome, limit) {
            (ClaimOutcome::Blocked(Blocked::InProgress { .. }), Some(limit))
                if !limit.is_over() =>
            {
                PatientClaim {
                    outcome: self.wait_or_claim(operation, limit, deadline).await,
                    degraded_to,
                    has_waited: true,
                }
            }
            (outcome, _) => PatientClaim {
                outcome: Ok(outcome),
                degraded_to,
                has_waited: false,
            },
        }
    }

    async fn wait_or_claim(
        &self,
        operation: &Operation,
        limit: Deadline,
        deadline: Deadline,
    ) -> Result<ClaimOutcome<Lease>, StoreError> {
        match self.wait_for(operation, limit).await? {
            Some(blocked) => Ok(ClaimOutcome::Blocked(blocked)),
            None => Ok(self.claim(operation, deadline).await?.value),
        }
    }
}
