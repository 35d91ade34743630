//! A claim that waits for the result of a running attempt.

use std::time::Duration;

use foundation::Deadline;

use super::idempotency::Idempotency;
use super::operation::Operation;
use super::outcome::Outcome;
use super::store::{Backend, Standing, Undecided};

/// How a claim came out that may have waited.
#[derive(Debug)]
pub struct PatientClaim {
    /// What the claim came to; an error where no store decided.
    pub outcome: Result<Outcome, Undecided>,
    /// The store that answered alone, where not all that are configured could take part.
    pub stand_in: Option<Backend>,
    /// Whether it waited.
    pub has_waited: bool,
}

/// What a wait leaves of an invocation's time, for the claim that may follow and for the work.
const WAIT_RESERVE: Duration = Duration::from_secs(1);

impl Idempotency {
    /// Claims a key. Where another attempt is at work, waits for its result, at most for `patience` and as long as the invocation has
    /// time for the work besides. If that attempt ends without a result, the key is claimed again.
    ///
    /// # Cancel safety
    ///
    /// As [`claim`](Self::claim).
    pub async fn claim_patiently(
        &self,
        operation: &Operation,
        patience: Option<Duration>,
        deadline: Deadline,
    ) -> PatientClaim {
        let (outcome, stand_in) = match self.claim(operation, deadline).await {
            Ok(answered) => (answered.outcome, answered.stand_in),
            Err(undecided) => {
                return PatientClaim {
                    outcome: Err(undecided),
                    stand_in: None,
                    has_waited: false,
                };
            }
        };
        let limit = patience.map(|patience| {
            let limit = deadline.reserving(WAIT_RESERVE + operation.least_time);
            limit.within(patience)
        });
        match (outcome, limit) {
            (Outcome::InProgress { .. }, Some(limit)) if !limit.is_over() => PatientClaim {
                outcome: self.wait_or_claim(operation, limit, deadline).await,
                stand_in,
                has_waited: true,
            },
            (outcome, _) => PatientClaim {
                outcome: Ok(outcome),
                stand_in,
                has_waited: false,
            },
        }
    }

    async fn wait_or_claim(
        &self,
        operation: &Operation,
        limit: Deadline,
        deadline: Deadline,
    ) -> Result<Outcome, Undecided> {
        match self.wait_for(operation, limit).await? {
            Standing::Free => {
                let claimed = self.claim(operation, deadline).await?;
                Ok(claimed.outcome)
            }
            standing => Ok(Outcome::of(standing)),
        }
    }
}
