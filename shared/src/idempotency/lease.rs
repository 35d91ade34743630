//! The permission to do one piece of work, and the only way to finish it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::time::sleep;

use super::counters::Event;
use super::decision::{Change, Fence};
use super::engine::Idempotency;
use super::store::{Answer, Changed, Grant, Standing, Undecided};
use super::{DerivedKey, RecordKey, SavedResponse};
use crate::deadline::Deadline;

/// The permission to work, for a limited time.
///
/// Dropping it says nothing to the store: the work may have begun, so the key stays claimed until its lease is over, and
/// then the policy says what happens.
pub struct Lease {
    engine: Idempotency,
    key: RecordKey,
    derived_key: DerivedKey,
    fence: Fence,
    grant: Grant,
    /// By when the work has to be done: before the lease or the invocation ends, less what storing the result needs. Shared with
    /// who bounds the work, since renewing moves it.
    work_end: Arc<Mutex<Deadline>>,
    /// Until when a provider recognises the derived key, or sooner; unknown where it does not matter.
    recognised: Deadline,
    /// When the invocation is over.
    deadline: Deadline,
}

/// What becomes of a result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Completion {
    /// It is stored, and this is everybody's answer.
    Completed(SavedResponse),
    /// The key was taken over or settled: this attempt's result is not the answer, the key's is.
    Superseded(Standing),
    /// The store that decides did not acknowledge in time. The work has happened and this is its result, but a repetition may not
    /// be told it: work that resumes answers that it is not final yet, other work answers this and says that it is not durable.
    NotDurable(SavedResponse),
}

/// What becomes of any other word of the owner's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Noted {
    /// It is stored.
    Done,
    /// The key was taken over or settled, and this is how it stands.
    Superseded(Standing),
    /// The store that decides did not acknowledge. It may be stored or not.
    NotDurable,
    /// It is longer than 64 KiB, and is not stored.
    TooLong,
}

/// What becomes of a renewal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Renewal {
    /// The lease lasts so long from now.
    Renewed,
    /// The key was taken over or settled, and this is how it stands: stop.
    Superseded(Standing),
    /// By the end of such a lease the provider may have forgotten the derived key: what is not sent by now must not be.
    TooLate,
    /// The store that decides did not acknowledge. The lease lasts as long as it did before, or longer.
    NotDurable,
}

/// What the storing of a result needs at the end of an invocation.
const STORING_TIME: Duration = Duration::from_millis(100);
/// How long a result is tried to be stored where no deadline is known.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long anything is tried that the work, or its caller, should not wait for much longer.
const SHORT_PATIENCE: Duration = Duration::from_secs(2);
/// The longest note, in bytes.
const LONGEST_NOTE: usize = 64 * 1024;
/// How long it waits between two tries, at first and at most.
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

impl Lease {
    pub(super) fn new(
        engine: Idempotency,
        key: RecordKey,
        derived_key: DerivedKey,
        fence: Fence,
        grant: Grant,
        ends: Deadline,
        deadline: Deadline,
    ) -> Self {
        let recognised = grant
            .recognised_for
            .map_or(Deadline::UNKNOWN, Deadline::after);
        Self {
            engine,
            key,
            derived_key,
            fence,
            grant,
            work_end: Arc::new(Mutex::new(work_end(ends, deadline))),
            recognised,
            deadline,
        }
    }

    pub(super) fn work_end(&self) -> Arc<Mutex<Deadline>> {
        Arc::clone(&self.work_end)
    }

    /// The key to hand to a provider: the same for every attempt, and after the loss of every store.
    pub fn derived_key(&self) -> &DerivedKey {
        &self.derived_key
    }

    /// Which attempt this is, from 1.
    pub fn attempt(&self) -> u64 {
        self.grant.attempt
    }

    /// Whether this claim was sent before and its reply was lost. An owner is fresh for every claim, so it is no other's.
    pub fn is_repeated(&self) -> bool {
        self.grant.repeated
    }

    /// Whether an earlier attempt ended without a word: its request may still take effect, so look before you act.
    pub fn took_over(&self) -> bool {
        self.grant.took_over
    }

    /// What an earlier attempt noted last, or this one; empty: nothing.
    pub fn last_checkpoint(&self) -> &Bytes {
        &self.grant.checkpoint
    }

    /// How long the work may take: until the lease or the invocation ends, less what storing the result needs.
    pub fn time_left(&self) -> Duration {
        self.work_end.lock().clip(Duration::MAX)
    }

    /// Whether a request with the derived key may be sent now. Not when an earlier attempt may have sent it and the provider
    /// may have forgotten it since, nor when no time is left.
    pub fn may_send(&self) -> bool {
        let is_over = |deadline: Deadline| deadline.remaining().is_some_and(|left| left.is_zero());
        !is_over(self.recognised) && !is_over(*self.work_end.lock())
    }

    /// Stores the result. It never fails what has happened: at worst it is not durable.
    ///
    /// # Cancel safety
    ///
    /// A dropped call may or may not have stored it.
    pub async fn complete(self, response: SavedResponse) -> Completion {
        let kept = response.limited_to(self.engine.inner.config.max_response_bytes);
        let change = Change::Complete(kept.clone());
        match self.insist(&change, self.whole_time()).await {
            Ok(Changed::Done) => Completion::Completed(response),
            Ok(Changed::Already(Some(stored))) if stored != kept => Completion::Completed(stored),
            Ok(Changed::Already(_)) => Completion::Completed(response),
            Ok(Changed::Superseded(standing)) => Completion::Superseded(standing),
            Ok(Changed::TooLate) | Err(_) => Completion::NotDurable(response),
        }
    }

    /// Says that this attempt did nothing and will do nothing: the key may be claimed again. After a takeover it stays unknown, for
    /// the attempt before has not said so.
    ///
    /// # Cancel safety
    ///
    /// A dropped call may or may not have released it.
    pub async fn release(self) -> Noted {
        noted(self.insist(&Change::Release, self.whole_time()).await)
    }

    /// Says that it is not known whether the work took effect.
    ///
    /// # Cancel safety
    ///
    /// A dropped call may or may not have said so; without it, it is so when the lease is over.
    pub async fn mark_unknown(self) -> Noted {
        noted(self.insist(&Change::MarkUnknown, self.short_time()).await)
    }

    /// Leaves a note of at most 64 KiB for the next attempt, should this one end without a word.
    ///
    /// # Cancel safety
    ///
    /// A dropped call may or may not have left it.
    pub async fn checkpoint(&mut self, note: impl Into<Bytes>) -> Noted {
        let note = note.into();
        if note.len() > LONGEST_NOTE {
            return Noted::TooLong;
        }
        let change = Change::Checkpoint(note.clone());
        let noted = noted(self.insist(&change, self.short_time()).await);
        if noted == Noted::Done {
            self.grant.checkpoint = note;
        }
        noted
    }

    /// Lets the lease last so long from now, at most as long as the longest invocation.
    ///
    /// # Cancel safety
    ///
    /// A dropped call may or may not have renewed it.
    pub async fn renew(&mut self, lease: Duration) -> Renewal {
        let lease = lease.min(super::engine::LONGEST_LEASE);
        let ends = Deadline::after(lease);
        match self.insist(&Change::Renew(lease), self.short_time()).await {
            Ok(Changed::Done | Changed::Already(_)) => {
                *self.work_end.lock() = work_end(ends, self.deadline);
                Renewal::Renewed
            }
            Ok(Changed::TooLate) => Renewal::TooLate,
            Ok(Changed::Superseded(standing)) => Renewal::Superseded(standing),
            Err(_) => Renewal::NotDurable,
        }
    }

    /// Until the invocation is over.
    fn whole_time(&self) -> Deadline {
        match self.deadline.remaining() {
            Some(_) => self.deadline,
            None => Deadline::after(PATIENCE),
        }
    }

    fn short_time(&self) -> Deadline {
        self.deadline.within(SHORT_PATIENCE)
    }

    /// Asks the store that decides until it answers, or `until`.
    async fn insist(&self, change: &Change, until: Deadline) -> Result<Changed, Undecided> {
        let inner = &self.engine.inner;
        let mut pause = FIRST_PAUSE;
        let changed = loop {
            let changed = inner
                .store
                .change(&self.key, &self.fence, change, until)
                .await;
            let undecided = match inner.noting(&self.key, changed) {
                Ok(Answer { value, .. }) => break value,
                Err(undecided) => undecided,
            };
            if until.clip(pause) < pause {
                return Err(undecided);
            }
            sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        };
        if let Changed::Superseded(_) = changed {
            inner.counters.count(Event::Superseded, &self.key);
        }
        Ok(changed)
    }
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lease")
            .field("key", &self.key)
            .field("attempt", &self.grant.attempt)
            .finish_non_exhaustive()
    }
}

fn work_end(lease_ends: Deadline, invocation_ends: Deadline) -> Deadline {
    let lease = lease_ends.clip(Duration::MAX);
    invocation_ends.within(lease).reserving(STORING_TIME)
}

fn noted(changed: Result<Changed, Undecided>) -> Noted {
    match changed {
        Ok(Changed::Done | Changed::Already(_)) => Noted::Done,
        Ok(Changed::Superseded(standing)) => Noted::Superseded(standing),
        Ok(Changed::TooLate) | Err(_) => Noted::NotDurable,
    }
}
