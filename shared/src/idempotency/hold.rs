//! The hold on a key: whose word changes its record.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use tokio::time::sleep;

use super::counters::Event;
use super::decision::{Change, Claim, Fence};
use super::engine::{Idempotency, LONGEST_LEASE};
use super::store::{Answer, Changed, Standing, Undecided};
use super::{DerivedKey, Fingerprint, OwnerId, Policy, RecordKey, SavedResponse};
use crate::deadline::Deadline;

/// An attempt's right to change the record of its key. A [`Lease`](super::Lease) has one; who kept only its [`Token`], in
/// another process or another language, gets it back from [`Idempotency::resume`].
///
/// It does not say that the lease still lasts, nor that anything was ever claimed: the store finds out with each word.
pub struct Hold {
    engine: Idempotency,
    key: RecordKey,
    fence: Fence,
    /// The last writing of the record that is known here.
    rev: AtomicU64,
    /// Whether others may speak for this attempt at the same time: it was resumed, or its token was given away.
    is_shared: AtomicBool,
    /// By when a word has to be stored.
    deadline: Deadline,
}

/// What tells an attempt from all others: enough to go on with it elsewhere.
#[derive(Clone, PartialEq, Eq)]
pub struct Token {
    /// Whose key it is, and which.
    pub key: RecordKey,
    /// Who claimed it.
    pub owner: OwnerId,
    /// Which attempt that was.
    pub attempt: u64,
    /// What is being done. A result whose claim the store has lost is kept under it.
    pub fingerprint: Fingerprint,
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
    /// The store that decides did not acknowledge. The lease lasts as long as it did before, or as was asked for.
    NotDurable,
}

/// How long a result is tried to be stored where no deadline is known.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long anything is tried that the work, or its caller, should not wait for much longer.
const SHORT_PATIENCE: Duration = Duration::from_secs(2);
/// The longest note, in bytes.
pub(super) const LONGEST_NOTE: usize = 64 * 1024;
/// How long it waits between two tries, at first and at most.
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

impl Hold {
    pub(super) fn new(
        engine: Idempotency,
        key: RecordKey,
        fence: Fence,
        deadline: Deadline,
    ) -> Self {
        Self {
            engine,
            key,
            rev: AtomicU64::new(fence.rev),
            is_shared: AtomicBool::new(false),
            fence,
            deadline,
        }
    }

    /// The hold of an attempt that was claimed elsewhere.
    pub(super) fn resumed(engine: Idempotency, token: Token, deadline: Deadline) -> Self {
        let fence = Fence {
            attempt: token.attempt,
            rev: 0,
            claim: Claim {
                owner: token.owner,
                fingerprint: token.fingerprint,
                // Nobody can claim with it any more: these two tell nothing.
                policy: Policy::AtMostOnce,
                lease: Duration::ZERO,
                window: engine.inner.config.window,
            },
        };
        Self {
            is_shared: AtomicBool::new(true),
            ..Self::new(engine, token.key, fence, deadline)
        }
    }

    /// What tells this attempt from all others.
    pub fn token(&self) -> Token {
        self.is_shared.store(true, Ordering::Relaxed);
        Token {
            key: self.key.clone(),
            owner: self.fence.claim.owner,
            attempt: self.fence.attempt,
            fingerprint: self.fence.claim.fingerprint,
        }
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
            Ok(Changed::TooLate | Changed::Moved(_)) | Err(_) => Completion::NotDurable(response),
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
        let marked = noted(self.insist(&Change::MarkUnknown, self.short_time()).await);
        if marked == Noted::Done {
            let counters = &self.engine.inner.counters;
            counters.count(Event::Unknown, &self.key);
        }
        marked
    }

    /// Leaves a note of at most 64 KiB for the next attempt, should this one end without a word. Of two holds of one attempt
    /// that speak at the same time, the one that began last is heard; the other is told that its word is not durable. Said again, it
    /// would be the last one.
    ///
    /// # Cancel safety
    ///
    /// A dropped call may or may not have left it.
    pub async fn checkpoint(&self, note: impl Into<Bytes>) -> Noted {
        let note = note.into();
        if note.len() > LONGEST_NOTE {
            return Noted::TooLong;
        }
        let change = Change::Checkpoint(note);
        noted(self.insist(&change, self.short_time()).await)
    }

    /// Lets the lease last so long from now, at most as long as the longest invocation.
    ///
    /// # Cancel safety
    ///
    /// A dropped call may or may not have renewed it.
    pub async fn renew(&self, lease: Duration) -> Renewal {
        let change = Change::Renew(lease.min(LONGEST_LEASE));
        match self.insist(&change, self.short_time()).await {
            Ok(Changed::Done | Changed::Already(_)) => Renewal::Renewed,
            Ok(Changed::TooLate) => Renewal::TooLate,
            Ok(Changed::Superseded(standing)) => Renewal::Superseded(standing),
            Ok(Changed::Moved(_)) | Err(_) => Renewal::NotDurable,
        }
    }

    fn is_shared(&self) -> bool {
        self.is_shared.load(Ordering::Relaxed)
    }

    /// The writing that the next word follows; zero where others may have written since, so that it is asked for.
    fn known_rev(&self) -> u64 {
        if self.is_shared() {
            0
        } else {
            self.rev.load(Ordering::Relaxed)
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
        let mut fence = Fence {
            rev: self.known_rev(),
            ..self.fence.clone()
        };
        let changed = loop {
            let changed = inner.store.change(&self.key, &fence, change, until).await;
            let undecided = match inner.noting(&self.key, changed) {
                // Who speaks alone has been heard without knowing. Where others may have spoken since this word was begun, theirs
                // is the later one.
                Ok(Answer {
                    value: Changed::Moved(rev),
                    ..
                }) if fence.rev == 0 || !self.is_shared() => {
                    fence.rev = rev;
                    continue;
                }
                Ok(Answer { value, .. }) => {
                    self.rev.store(fence.rev + 1, Ordering::Relaxed);
                    break value;
                }
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

impl fmt::Debug for Hold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hold")
            .field("key", &self.key)
            .field("attempt", &self.fence.attempt)
            .finish_non_exhaustive()
    }
}

/// Whoever has the owner may finish the work, so it is not for the log.
impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Token")
            .field("key", &self.key)
            .field("attempt", &self.attempt)
            .finish_non_exhaustive()
    }
}

fn noted(changed: Result<Changed, Undecided>) -> Noted {
    match changed {
        Ok(Changed::Done | Changed::Already(_)) => Noted::Done,
        Ok(Changed::Superseded(standing)) => Noted::Superseded(standing),
        Ok(Changed::TooLate | Changed::Moved(_)) | Err(_) => Noted::NotDurable,
    }
}
