//! Claims a key, runs the operation and stores the result, in one call.

use std::pin::pin;

use foundation::deadline::{Deadline, Elapsed};

use super::blocked::{Blocked, UnknownCause};
use super::lease::Lease;
use super::operation::Operation;
use super::outcome::ClaimOutcome;
use super::store::{Answer, StoreError};
use super::write_result::WriteResult;
use super::{Idempotency, SavedResponse};

/// Why an operation has no result, and whether it may have taken effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure<E> {
    /// The operation had no effect and will have none. A retry may run. If an earlier attempt was abandoned, the policy
    /// determines whether a retry may run.
    NothingHappened(E),
    /// The operation may have taken effect. The policy determines whether a retry may run.
    MayHaveHappened(E),
}

/// The outcome of running an operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RunOutcome<E> {
    /// The work ran, and its result is stored.
    Fresh(SavedResponse),
    /// The work ran, and no store has acknowledged its result.
    NotDurable(SavedResponse),
    /// The work did not run, or its attempt was superseded.
    Blocked(Blocked),
    /// The work failed, and had no effect. A retry may run. But if an earlier attempt was abandoned, or the store did
    /// not acknowledge the release, the key may be blocked.
    NothingHappened(E),
    /// The work failed, and may have taken effect.
    MayHaveHappened(E),
    /// The work did not end in time, and may have taken effect.
    Overran,
}

impl Idempotency {
    /// Claims the key, runs `work` if the claim succeeds, and stores the result of `work`.
    ///
    /// `work` gets the [`Lease`] with the derived key, the attempt, the last checkpoint and the time left. At the end
    /// of that time, `work` is dropped. `work` gets more time if it renews the lease.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: the claim has no outcome, because the authoritative store is unavailable or too little time is
    /// left. Nothing ran. A retry is safe.
    ///
    /// # Cancel safety
    ///
    /// A dropped call drops `work`. The key stays claimed until its lease ends. Then the policy determines whether
    /// another attempt may run.
    pub async fn run<E>(
        &self,
        operation: &Operation,
        deadline: Deadline,
        work: impl AsyncFnOnce(&mut Lease) -> Result<SavedResponse, Failure<E>>,
    ) -> Result<Answer<RunOutcome<E>>, StoreError> {
        let claimed = self.claim(operation, deadline).await?;
        let value = match claimed.value {
            ClaimOutcome::Claimed(lease) => finish(lease, work).await,
            ClaimOutcome::Blocked(blocked) => RunOutcome::Blocked(blocked),
        };
        Ok(Answer {
            value,
            degraded_to: claimed.degraded_to,
        })
    }
}

async fn finish<E>(
    mut lease: Lease,
    work: impl AsyncFnOnce(&mut Lease) -> Result<SavedResponse, Failure<E>>,
) -> RunOutcome<E> {
    match in_time(&mut lease, work).await {
        Ok(Ok(response)) => match lease.complete(response.clone()).await {
            WriteResult::Stored(response) => RunOutcome::Fresh(response),
            WriteResult::Superseded(Some(blocked)) => RunOutcome::Blocked(blocked),
            // A reconciler released the key, or the store lost it: this attempt cannot tell which.
            WriteResult::Superseded(None) => {
                RunOutcome::Blocked(Blocked::Unknown(UnknownCause::Abandoned))
            }
            WriteResult::NotDurable
            | WriteResult::Outdated(_)
            | WriteResult::TooLate
            | WriteResult::TooLarge => RunOutcome::NotDurable(response),
        },
        // The caller gets the error of the work even if the release is not stored.
        Ok(Err(Failure::NothingHappened(error))) => {
            lease.release().await;
            RunOutcome::NothingHappened(error)
        }
        Ok(Err(Failure::MayHaveHappened(error))) => {
            lease.mark_unknown().await;
            RunOutcome::MayHaveHappened(error)
        }
        Err(_) => {
            lease.mark_unknown().await;
            RunOutcome::Overran
        }
    }
}

/// Runs the work until the time for it is over. A renewal extends that time.
async fn in_time<E>(
    lease: &mut Lease,
    work: impl AsyncFnOnce(&mut Lease) -> Result<SavedResponse, Failure<E>>,
) -> Result<Result<SavedResponse, Failure<E>>, Elapsed> {
    let end = lease.work_end();
    let mut work = pin!(work(lease));
    loop {
        let until = *end.lock();
        match until.bound(&mut work).await {
            // The lease was renewed meanwhile.
            Err(Elapsed) if *end.lock() != until => {}
            ended => return ended,
        }
    }
}
