//! The permission to do one piece of work, and the only way to finish it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use foundation::Deadline;
use parking_lot::Mutex;

use super::config::LONGEST_LEASE;
use super::hold::{Completion, Hold, Noted, Renewal, Token};
use super::store::Grant;
use super::{DerivedKey, SavedResponse};

/// The permission to work, for a limited time.
///
/// Dropping it says nothing to the store: the work may have begun, so the key stays claimed until its lease is over, and
/// then the policy says what happens.
pub struct Lease {
    hold: Hold,
    is_first: bool,
    repeated: bool,
    took_over: bool,
    checkpoint: Bytes,
    /// When the lease is over, or sooner.
    ends: Deadline,
    /// By when the work has to be done: before the lease or the invocation ends, less what storing the result needs. Shared with
    /// who bounds the work, since renewing moves it.
    work_end: Arc<Mutex<Deadline>>,
    /// Until when a provider recognises the derived key, or sooner; unknown where it does not matter.
    recognised: Deadline,
}

/// What the storing of a result needs at the end of an invocation.
const STORING_TIME: Duration = Duration::from_millis(100);

impl Lease {
    pub(super) fn new(hold: Hold, grant: Grant, ends: Deadline) -> Self {
        let recognised = grant.recognised_for;
        let work_end = work_end(ends, hold.deadline());
        Self {
            hold,
            is_first: grant.is_first,
            repeated: grant.repeated,
            took_over: grant.took_over,
            checkpoint: grant.checkpoint,
            ends,
            work_end: Arc::new(Mutex::new(work_end)),
            recognised: recognised.map_or(Deadline::UNKNOWN, Deadline::after),
        }
    }

    /// What tells this attempt from all others, for whoever goes on with it elsewhere.
    pub fn token(&self) -> Token {
        self.hold.token()
    }

    /// The key to hand to a provider: the same for every attempt, and after the loss of every store.
    pub fn derived_key(&self) -> DerivedKey {
        self.hold.derived_key()
    }

    /// Which attempt this is, from 1.
    pub fn attempt(&self) -> u64 {
        self.hold.attempt()
    }

    /// Whether this claim was sent before and its reply was lost. An owner is fresh for every claim, so it is no other's.
    pub fn is_repeated(&self) -> bool {
        self.repeated
    }

    /// Whether the store knows of no earlier attempt. There may have been one, of which it has forgotten: after a retention, or where a
    /// store has lost its data. An attempt that comes after one which was released is not the first; one may be called so that is not.
    pub fn is_first(&self) -> bool {
        self.is_first
    }

    /// Whether an earlier attempt ended without a word: its request may still take effect, so look before you act.
    pub fn took_over(&self) -> bool {
        self.took_over
    }

    /// What an earlier attempt noted last, or this one; empty: nothing.
    pub fn last_checkpoint(&self) -> &Bytes {
        &self.checkpoint
    }

    /// How long the key is this attempt's yet, or less; zero: it is over. A repeated claim has what is left of the first.
    pub fn lasts(&self) -> Duration {
        self.ends.remaining().unwrap_or(LONGEST_LEASE)
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
        self.hold.complete(response).await
    }

    /// Says that this attempt did nothing and will do nothing: the key may be claimed again. After a takeover it stays unknown, for
    /// the attempt before has not said so.
    ///
    /// # Cancel safety
    ///
    /// A dropped call may or may not have released it.
    pub async fn release(self) -> Noted {
        self.hold.release().await
    }

    /// Says that it is not known whether the work took effect.
    ///
    /// # Cancel safety
    ///
    /// A dropped call may or may not have said so; without it, it is so when the lease is over.
    pub async fn mark_unknown(self) -> Noted {
        self.hold.mark_unknown().await
    }

    /// Leaves a note of at most 64 KiB for the next attempt, should this one end without a word.
    ///
    /// # Cancel safety
    ///
    /// A dropped call may or may not have left it.
    pub async fn checkpoint(&mut self, note: impl Into<Bytes>) -> Noted {
        let note = note.into();
        let noted = self.hold.checkpoint(note.clone()).await;
        if noted == Noted::Done {
            self.checkpoint = note;
        }
        noted
    }

    /// Lets the lease last so long from now, at most as long as the longest invocation.
    ///
    /// # Cancel safety
    ///
    /// A dropped call may or may not have renewed it.
    pub async fn renew(&mut self, lease: Duration) -> Renewal {
        let renewal = self.hold.renew(lease).await;
        if let Renewal::Renewed { lasts } = renewal {
            self.ends = Deadline::after(lasts);
            *self.work_end.lock() = work_end(self.ends, self.hold.deadline());
        }
        renewal
    }

    pub(super) fn work_end(&self) -> Arc<Mutex<Deadline>> {
        Arc::clone(&self.work_end)
    }
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lease")
            .field("hold", &self.hold)
            .finish_non_exhaustive()
    }
}

fn work_end(lease_ends: Deadline, invocation_ends: Deadline) -> Deadline {
    let lease = lease_ends.clip(Duration::MAX);
    invocation_ends.within(lease).reserving(STORING_TIME)
}

#[cfg(test)]
mod tests;
