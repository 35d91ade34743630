//! The common case in one call: claim, work, store.

use std::pin::pin;

use foundation::deadline::{Deadline, Elapsed};

use super::blocked::{Blocked, UnknownCause};
use super::lease::Lease;
use super::operation::Operation;
use super::outcome::ClaimOutcome;
use super::store::{Answer, StoreError};
use super::write_result::WriteResult;
use super::{Idempotency, SavedResponse};

/// Why work did not end in a result, and what may be concluded from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure<E> {
    /// Nothing happened and nothing will: a repetition may run, unless an attempt before this one ended without a word.
    NothingHappened(E),
    /// It may have taken effect: what a repetition is told is the policy's to say.
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
    /// The work failed without effect. A repetition may run, unless an earlier attempt was abandoned or the store did not acknowledge the
    /// release: then the key is blocked.
    NothingHappened(E),
    /// The work failed, and may have taken effect.
    MayHaveHappened(E),
    /// The work did not end in time, and may have taken effect.
    Overran,
}

impl Idempotency {
    /// Runs `work` if it may run, and stores what becomes of it. The work gets its [`Lease`]: the derived key, the attempt, the
    /// last checkpoint and the time left; when that is over it is dropped where it stands, unless it has renewed the lease.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when no store decided. Nothing ran, and asking again is safe.
    ///
    /// # Cancel safety
    ///
    /// A dropped call drops the work where it stands. The key stays claimed until its lease is over, and then the policy
    /// says what happens.
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
            // Released by a reconciler that is sure of it, or lost: this attempt cannot tell which.
            WriteResult::Superseded(None) => {
                RunOutcome::Blocked(Blocked::Unknown(UnknownCause::Abandoned))
            }
            WriteResult::NotDurable
            | WriteResult::Outdated(_)
            | WriteResult::TooLate
            | WriteResult::TooLarge => RunOutcome::NotDurable(response),
        },
        // The caller gets the error of the work, also where the release is not stored.
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

/// Works until the lease's time is over. Renewing gives more of it.
async fn in_time<E>(
    lease: &mut Lease,
    work: impl AsyncFnOnce(&mut Lease) -> Result<SavedResponse, Failure<E>>,
) -> Result<Result<SavedResponse, Failure<E>>, Elapsed> {
    let end = lease.work_end();
    let mut work = pin!(work(lease));
    loop {
        let until = *end.lock();
        match until.bound(&mut work).await {
            // Renewed meanwhile.
            Err(Elapsed) if *end.lock() != until => {}
            ended => return ended,
        }
    }
}
