//! The common case in one call: claim, work, store.

use std::pin::pin;
use std::time::Duration;

use foundation::deadline::{Deadline, Elapsed};

use super::hold::Completion;
use super::lease::Lease;
use super::operation::Operation;
use super::outcome::{Answered, Outcome};
use super::store::{Backend, Doubt, Standing, Undecided};
use super::{Idempotency, SavedResponse};

/// Why work did not end in a result, and what may be concluded from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure<E> {
    /// Nothing happened and nothing will: a repetition may run, unless an attempt before this one ended without a word.
    NothingHappened(E),
    /// It may have taken effect: what a repetition is told is the policy's to say.
    MayHaveHappened(E),
}

/// What becomes of work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ran<E> {
    /// How it ended.
    pub end: End<E>,
    /// The store that answered alone, where not all that are configured could take part.
    pub stand_in: Option<Backend>,
}

/// How work ended, or why it did not begin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End<E> {
    /// It ran, and its result is stored.
    Fresh(SavedResponse),
    /// It ran, and no store has acknowledged its result.
    NotDurable(SavedResponse),
    /// It ran before: this is its result.
    Replay(SavedResponse),
    /// The key stands for another request.
    Mismatch,
    /// Somebody is at it.
    InProgress {
        /// When it makes sense to ask again.
        retry_after: Duration,
    },
    /// It is not known whether it took effect.
    Unknown(Doubt),
    /// It failed, and this attempt did nothing: a repetition may run, unless an attempt before it ended without a word, or the
    /// release was not acknowledged. Then it is told so.
    NothingHappened(E),
    /// It failed, and it is not known whether it took effect.
    MayHaveHappened(E),
    /// It did not end in its time, and it is not known whether it took effect.
    Overran,
}

impl Idempotency {
    /// Runs `work` if it may run, and stores what becomes of it. The work gets its [`Lease`]: the derived key, the attempt, the
    /// last checkpoint and the time left; when that is over it is dropped where it stands, unless it has renewed the lease.
    ///
    /// # Errors
    ///
    /// [`Undecided`] when no store decided. Nothing ran, and asking again is safe.
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
    ) -> Result<Ran<E>, Undecided> {
        let Answered { outcome, stand_in } = self.claim(operation, deadline).await?;
        let end = match outcome {
            Outcome::Started(lease) => finish(lease, work).await,
            Outcome::Replay(response) => End::Replay(response),
            Outcome::Mismatch => End::Mismatch,
            Outcome::InProgress { retry_after } => End::InProgress { retry_after },
            Outcome::Unknown(doubt) => End::Unknown(doubt),
        };
        Ok(Ran { end, stand_in })
    }
}

async fn finish<E>(
    mut lease: Lease,
    work: impl AsyncFnOnce(&mut Lease) -> Result<SavedResponse, Failure<E>>,
) -> End<E> {
    match in_time(&mut lease, work).await {
        Ok(Ok(response)) => match lease.complete(response).await {
            Completion::Completed(response) => End::Fresh(response),
            Completion::NotDurable(response) => End::NotDurable(response),
            Completion::Superseded(standing) => End::of(standing),
        },
        // What the work says is what the caller hears, whatever becomes of the release.
        Ok(Err(Failure::NothingHappened(error))) => {
            lease.release().await;
            End::NothingHappened(error)
        }
        Ok(Err(Failure::MayHaveHappened(error))) => {
            lease.mark_unknown().await;
            End::MayHaveHappened(error)
        }
        Err(_) => {
            lease.mark_unknown().await;
            End::Overran
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

impl<E> End<E> {
    /// The answer to somebody whose attempt was superseded.
    fn of(standing: Standing) -> Self {
        match standing {
            Standing::Replay(response) => Self::Replay(response),
            Standing::Mismatch => Self::Mismatch,
            Standing::InProgress { retry_after } => Self::InProgress { retry_after },
            Standing::Unknown(doubt) => Self::Unknown(doubt),
            // Released by a reconciler that is sure of it, or lost: either way this attempt cannot tell.
            Standing::Free => Self::Unknown(Doubt::NoWord),
        }
    }
}
