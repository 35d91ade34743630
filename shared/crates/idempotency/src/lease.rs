//! The lease of a claimed key: the permission to run the operation, and the only way to finish it.

mod writer;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use foundation::Deadline;
use parking_lot::Mutex;
use tokio::time::Instant;

use self::writer::Writer;
use super::config::{LONGEST_CHECKPOINT, LONGEST_LEASE};
use super::counters::Event;
use super::decision::{Change, Fence};
use super::engine::Engine;
use super::lease_token::LeaseToken;
use super::store::Grant;
use super::write_result::WriteResult;
use super::{DerivedKey, RecordKey, SavedResponse};

/// The permission to run an operation for a limited time.
///
/// Dropping a lease writes nothing, because the operation may have started. The key stays claimed until the lease ends.
/// Then the policy determines whether another attempt may follow.
///
/// A lease that was [resumed](super::Idempotency::resume) from a token can make the same writes. It does not have the
/// reply to the claim. At each write, the store checks that the key still belongs to this attempt.
pub struct Lease {
    writer: Writer,
    is_first: bool,
    repeated: bool,
    took_over: bool,
    checkpoint: Bytes,
    /// The end of the lease, or an earlier time; unknown for a resumed lease.
    ends: Deadline,
    /// The time by which the work has to end. Its base is the end of the lease or the end of the invocation, whichever
    /// is earlier. The time to store the result is subtracted. The code that limits the time for the work shares this
    /// value, because a renewal changes it.
    work_end: Arc<Mutex<Deadline>>,
    /// The time until which the provider recognises the derived key, or an earlier time; unknown if no limit applies.
    recognised: Deadline,
}

/// Time to store the result at the end of an invocation.
const STORING_TIME: Duration = Duration::from_millis(100);

impl Lease {
    /// Returns the lease that a store granted. It ends at `ends`.
    pub(super) fn granted(
        engine: Arc<Engine>,
        key: RecordKey,
        fence: Fence,
        deadline: Deadline,
        grant: Grant,
        ends: Deadline,
    ) -> Self {
        Self::new(Writer::new(engine, key, fence, deadline), grant, ends)
    }

    /// Returns the lease of an attempt that another process claimed.
    pub(super) fn resumed(engine: Arc<Engine>, token: LeaseToken, deadline: Deadline) -> Self {
        Self {
            writer: Writer::resumed(engine, token, deadline),
            is_first: false,
            repeated: false,
            took_over: true,
            checkpoint: Bytes::new(),
            ends: Deadline::UNKNOWN,
            work_end: Arc::new(Mutex::new(work_end(Deadline::UNKNOWN, deadline))),
            recognised: Deadline::after(Duration::ZERO),
        }
    }

    fn new(writer: Writer, grant: Grant, ends: Deadline) -> Self {
        let work_end = work_end(ends, writer.deadline());
        let recognised = grant.recognised_for;
        Self {
            writer,
            is_first: grant.is_first,
            repeated: grant.repeated,
            took_over: grant.took_over,
            checkpoint: grant.checkpoint,
            ends,
            work_end: Arc::new(Mutex::new(work_end)),
            recognised: recognised.map_or(Deadline::UNKNOWN, Deadline::after),
        }
    }

    /// The token with which another process resumes this attempt.
    pub fn token(&self) -> LeaseToken {
        self.writer.token()
    }

    /// The key to send to the provider. It is the same for every attempt, even after the loss of every store.
    pub fn derived_key(&self) -> DerivedKey {
        self.writer.derived_key()
    }

    /// The number of this attempt, from 1.
    pub fn attempt(&self) -> u64 {
        self.writer.attempt()
    }

    /// The revision of this attempt's last acknowledged write. `None`: the revision is unknown.
    #[cfg(feature = "invoke")]
    pub(super) fn rev(&self) -> Option<u64> {
        self.writer.rev()
    }

    /// Whether an earlier copy of this claim was already stored, and the reply to that copy was lost.
    pub fn is_repeated(&self) -> bool {
        self.repeated
    }

    /// Whether this is the first attempt, as far as the store has records. A later attempt is reported as the first if
    /// the store has deleted or lost the record of the earlier attempt. An attempt after a release is not the first.
    /// Always false for a resumed lease.
    pub fn is_first(&self) -> bool {
        self.is_first
    }

    /// Whether an earlier attempt was abandoned. The request of that attempt may still take effect, so check before you
    /// act. Always true for a resumed lease.
    pub fn took_over(&self) -> bool {
        self.took_over
    }

    /// The last checkpoint of this attempt or of an earlier attempt. Empty: there is none.
    pub fn last_checkpoint(&self) -> &Bytes {
        &self.checkpoint
    }

    /// A lower bound of the time until the lease ends; zero: the lease has ended. A repeated claim gets the lease
    /// of the first claim, and part of that lease is already over. For a resumed lease, the time is unknown, and this
    /// function returns the longest lease.
    pub fn lasts(&self) -> Duration {
        self.ends.remaining().unwrap_or(LONGEST_LEASE)
    }

    /// Time left for the work: until the lease or the invocation ends, less the time to store the result.
    pub fn time_left(&self) -> Duration {
        self.work_end.lock().clip(Duration::MAX)
    }

    /// Whether a request with the derived key may be sent to the provider now. The result is `false` if an earlier
    /// attempt may have sent such a request and the provider may have forgotten the key. It is also `false` for a
    /// resumed lease, and if no time is left.
    pub fn may_send(&self) -> bool {
        let is_over = |deadline: Deadline| deadline.remaining().is_some_and(|left| left.is_zero());
        !is_over(self.recognised) && !is_over(*self.work_end.lock())
    }

    /// Stores the result. Returns the stored result: an earlier call whose reply was lost may have stored another
    /// result.
    ///
    /// [`NotDurable`](WriteResult::NotDurable): the operation took effect, but its result may or may not be stored. If
    /// the work can be resumed, respond that the outcome is not final. Otherwise respond with the result, marked as not
    /// durable.
    ///
    /// # Cancel safety
    ///
    /// A dropped call may or may not have stored the result.
    pub async fn complete(self, response: SavedResponse) -> WriteResult<SavedResponse> {
        self.writer.complete(response).await
    }

    /// Releases the key: this attempt has had no effect and will have none, so the key may be claimed again. After a
    /// takeover the outcome stays unknown, because the abandoned attempt may still take effect.
    ///
    /// # Cancel safety
    ///
    /// A dropped call may or may not have released the key.
    pub async fn release(self) -> WriteResult {
        self.writer.finish(&Change::Release).await
    }

    /// Marks the outcome as unknown.
    ///
    /// # Cancel safety
    ///
    /// A dropped call may or may not have stored the mark. Without the mark, the outcome is unknown after the end of
    /// the lease.
    pub async fn mark_unknown(self) -> WriteResult {
        let marked = self.writer.update(&Change::MarkUnknown).await;
        if let WriteResult::Stored(()) = marked {
            self.writer.count(Event::Unknown);
        }
        marked
    }

    /// Stores a checkpoint of at most 64 KiB for the next attempt, in case this attempt is abandoned. If two processes
    /// write for one attempt at the same time, one of them gets [`Outdated`](WriteResult::Outdated).
    ///
    /// # Cancel safety
    ///
    /// A dropped call may or may not have stored the checkpoint.
    pub async fn checkpoint(&mut self, checkpoint: impl Into<Bytes>) -> WriteResult {
        let checkpoint = checkpoint.into();
        if checkpoint.len() > LONGEST_CHECKPOINT {
            return WriteResult::TooLarge;
        }
        let written = self
            .writer
            .update(&Change::Checkpoint(checkpoint.clone()))
            .await;
        if let WriteResult::Stored(()) = written {
            self.checkpoint = checkpoint;
        }
        written
    }

    /// Renews the lease. It then lasts for `lease` from now, but at most for the longest lease. Returns a lower bound
    /// of the time until the lease ends.
    ///
    /// # Cancel safety
    ///
    /// A dropped call may or may not have renewed the lease.
    pub async fn renew(&mut self, lease: Duration) -> WriteResult<Duration> {
        let lease = lease.min(LONGEST_LEASE);
        // This time is taken before the store starts the lease. So the lease ends for the holder before it ends in the
        // store.
        let asked = Instant::now();
        let written = self.writer.update(&Change::Renew(lease)).await;
        let written = written.map(|()| lease.saturating_sub(asked.elapsed()));
        if let WriteResult::Stored(lasts) = written {
            self.ends = Deadline::after(lasts);
            *self.work_end.lock() = work_end(self.ends, self.writer.deadline());
        }
        written
    }

    pub(super) fn work_end(&self) -> Arc<Mutex<Deadline>> {
        Arc::clone(&self.work_end)
    }
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lease")
            .field("writer", &self.writer)
            .finish_non_exhaustive()
    }
}

fn work_end(lease_ends: Deadline, invocation_ends: Deadline) -> Deadline {
    let lease = lease_ends.clip(Duration::MAX);
    invocation_ends.within(lease).reserving(STORING_TIME)
}

#[cfg(test)]
mod tests;
