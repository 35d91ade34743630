//! Writes of one attempt to its record.
//!
//! The writer retries each write until the authoritative store acknowledges it or the time is over. At each write, the
//! store checks that the record still belongs to this attempt.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use std::{fmt, mem};

use bytes::Bytes;
use foundation::Deadline;
use parking_lot::Mutex;
use tokio::time::sleep;

use crate::blocked::{Blocked, UnknownCause};
use crate::counters::Event;
use crate::decision::{Change, ClaimRequest, Fence};
use crate::engine::Engine;
use crate::lease_token::LeaseToken;
use crate::store::{Answer, StoreError};
use crate::write_result::WriteResult;
use crate::{DerivedKey, Policy, RecordKey, SavedResponse};

/// Makes the writes of one attempt.
pub(super) struct Writer {
    engine: Arc<Engine>,
    key: RecordKey,
    fence: Fence,
    /// The record after this attempt's last acknowledged write. It is unknown while a write is in flight. So the store
    /// never mistakes a later write for a retry of a write whose reply was lost.
    known: Mutex<Known>,
    /// Whether another process may write for this attempt at the same time, because that process may have the token of
    /// this writer, or because this writer was made from a token without a revision.
    is_shared: AtomicBool,
    /// Whether each write follows the revision of the token, and is refused if another write came first.
    follows_strictly: bool,
    /// The end of the invocation.
    deadline: Deadline,
}

/// The part of its record that the holder of a lease knows.
#[derive(Default)]
struct Known {
    /// The revision; zero: unknown.
    rev: u64,
    /// The checkpoint; `None`: unknown, or the attempt has changed more than its checkpoint since the claim.
    checkpoint: Option<Bytes>,
}

/// How long a write that ends the attempt is retried if no deadline is known.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long any other write is retried. This time is short, because the work, or its caller, waits for the write.
const SHORT_PATIENCE: Duration = Duration::from_secs(2);
/// The pause after the first try.
const FIRST_PAUSE: Duration = Duration::from_millis(20);
/// The longest pause between two tries.
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

impl Writer {
    pub(super) fn new(
        engine: Arc<Engine>,
        key: RecordKey,
        fence: Fence,
        deadline: Deadline,
    ) -> Self {
        Self {
            engine,
            key,
            known: Mutex::new(Known {
                rev: fence.rev,
                checkpoint: fence.checkpoint.clone(),
            }),
            is_shared: AtomicBool::new(false),
            follows_strictly: false,
            fence,
            deadline,
        }
    }

    /// A writer for an attempt that another process claimed.
    pub(super) fn resumed(engine: Arc<Engine>, token: LeaseToken, deadline: Deadline) -> Self {
        let fence = Fence {
            attempt: token.attempt,
            rev: token.rev.unwrap_or(0),
            checkpoint: None,
            claim: ClaimRequest {
                owner: token.owner,
                fingerprint: token.fingerprint,
                // Only a claim needs the policy and the lease, and a resumed attempt never claims.
                policy: Policy::AtMostOnce,
                lease: Duration::ZERO,
                retention: engine.config.retention,
            },
        };
        Self {
            is_shared: AtomicBool::new(token.rev.is_none()),
            follows_strictly: token.rev.is_some(),
            ..Self::new(engine, token.key, fence, deadline)
        }
    }

    /// The token of this attempt. After this call, another process can write for this attempt.
    pub(super) fn token(&self) -> LeaseToken {
        self.is_shared.store(true, Ordering::Relaxed);
        LeaseToken {
            rev: self.rev(),
            key: self.key.clone(),
            owner: self.fence.claim.owner,
            attempt: self.fence.attempt,
            fingerprint: self.fence.claim.fingerprint,
        }
    }

    /// The revision of this attempt's last acknowledged write, if known.
    pub(super) fn rev(&self) -> Option<u64> {
        Some(self.known.lock().rev).filter(|rev| *rev > 0)
    }

    pub(super) fn derived_key(&self) -> DerivedKey {
        self.engine.derived_key(&self.key)
    }

    pub(super) fn attempt(&self) -> u64 {
        self.fence.attempt
    }

    pub(super) fn deadline(&self) -> Deadline {
        self.deadline
    }

    /// Stores the result. Returns the stored result: an earlier write of this attempt may have stored another result.
    pub(super) async fn complete(&self, response: SavedResponse) -> WriteResult<SavedResponse> {
        let (engine, until) = (&self.engine, self.whole_time());
        let fingerprint = &self.fence.claim.fingerprint;
        let kept = engine.storable(&self.key, fingerprint, &response, until);
        let kept = kept.await;
        let written = self.write(&Change::Complete(kept.clone()), until).await;
        written.map(|stored| match stored {
            Some(stored) if stored != kept => stored,
            _ => response,
        })
    }

    /// Writes a change that ends the attempt.
    pub(super) async fn finish(&self, change: &Change) -> WriteResult {
        self.write(change, self.whole_time()).await.map(drop)
    }

    /// Writes a change that the work, or its caller, waits for.
    pub(super) async fn update(&self, change: &Change) -> WriteResult {
        self.write(change, self.short_time()).await.map(drop)
    }

    pub(super) fn count(&self, event: Event) {
        self.engine.counters.count(event, &self.key);
    }

    fn is_shared(&self) -> bool {
        self.is_shared.load(Ordering::Relaxed)
    }

    /// The record that the next write follows; unknown if another process may have written since. From this call until
    /// the write is acknowledged, the record is unknown: the write may be stored even if its reply is lost or this call
    /// is dropped.
    fn take_known(&self) -> Known {
        let known = mem::take(&mut *self.known.lock());
        if self.is_shared() {
            Known::default()
        } else {
            known
        }
    }

    /// The time until which a write that ends the attempt is retried: the end of the invocation, if known.
    fn whole_time(&self) -> Deadline {
        match self.deadline.remaining() {
            Some(_) => self.deadline,
            None => Deadline::after(PATIENCE),
        }
    }

    fn short_time(&self) -> Deadline {
        self.deadline.within(SHORT_PATIENCE)
    }

    /// Retries a write until the authoritative store replies, at most until `until`.
    async fn write(&self, change: &Change, until: Deadline) -> WriteResult<Option<SavedResponse>> {
        let written = match self.retry(change, until).await {
            Ok(written) => self.check(written, until).await,
            Err(_) => WriteResult::NotDurable,
        };
        if let WriteResult::Superseded(_) = written {
            self.count(Event::Superseded);
        }
        written
    }

    async fn retry(
        &self,
        change: &Change,
        until: Deadline,
    ) -> Result<WriteResult<Option<SavedResponse>>, StoreError> {
        let mut pause = FIRST_PAUSE;
        let known = self.take_known();
        let mut fence = Fence {
            rev: known.rev,
            checkpoint: known.checkpoint,
            ..self.fence.clone()
        };
        loop {
            let written = self.engine.store.change(&self.key, &fence, change, until);
            let written = written.await;
            let error = match self.engine.count_degraded(&self.key, written) {
                // If this writer is the only one, the write that came first was its own earlier try. So the writer
                // retries at the new revision. If another process may write for this attempt, the write of that process
                // is the later one, and stays.
                Ok(Answer {
                    value: WriteResult::Outdated(rev),
                    ..
                }) if fence.rev == 0 || !(self.is_shared() || self.follows_strictly) => {
                    fence.rev = rev;
                    fence.checkpoint = None;
                    continue;
                }
                Ok(Answer { value, .. }) => {
                    *self.known.lock() = known_after(&value, change, fence);
                    return Ok(value);
                }
                Err(error) => error,
            };
            if until.clip(pause) < pause {
                return Err(error);
            }
            sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// Checks the response in a reply. If the response is not accepted, returns the reason that blocks the key instead.
    async fn check(
        &self,
        written: WriteResult<Option<SavedResponse>>,
        until: Deadline,
    ) -> WriteResult<Option<SavedResponse>> {
        let (engine, claim) = (&self.engine, &self.fence.claim);
        match written {
            WriteResult::Superseded(Some(blocked)) => {
                let checking = engine.check(&self.key, claim, blocked, until);
                WriteResult::Superseded(Some(checking.await))
            }
            WriteResult::Stored(Some(response))
                if !engine
                    .is_authentic(&self.key, claim, &response, until)
                    .await =>
            {
                let unreadable = Blocked::Unknown(UnknownCause::Unreadable);
                WriteResult::Superseded(Some(unreadable))
            }
            written => written,
        }
    }
}

impl fmt::Debug for Writer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Writer")
            .field("key", &self.key)
            .field("attempt", &self.fence.attempt)
            .finish_non_exhaustive()
    }
}

/// The record after this result of a change.
fn known_after(
    written: &WriteResult<Option<SavedResponse>>,
    change: &Change,
    fence: Fence,
) -> Known {
    let Fence {
        rev, checkpoint, ..
    } = fence;
    match written {
        WriteResult::Stored(_) if rev > 0 => Known {
            rev: rev + 1,
            checkpoint: match change {
                Change::Checkpoint(stored) => checkpoint.map(|_| stored.clone()),
                _ => None,
            },
        },
        WriteResult::Outdated(rev) => Known {
            rev: *rev,
            checkpoint: None,
        },
        WriteResult::TooLate | WriteResult::TooLarge => Known { rev, checkpoint },
        WriteResult::Stored(_) | WriteResult::Superseded(_) | WriteResult::NotDurable => {
            Known::default()
        }
    }
}

#[cfg(test)]
mod tests;
