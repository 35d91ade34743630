//! The hold on a key: the right to write its record.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use foundation::Deadline;
use tokio::time::{Instant, sleep};

use super::config::{LONGEST_LEASE, LONGEST_NOTE};
use super::counters::Event;
use super::decision::{Change, Claim, Fence};
use super::engine::Engine;
use super::store::{Answer, Changed, Doubt, Standing, Undecided};
use super::{DerivedKey, Fingerprint, OwnerId, Policy, RecordKey, SavedResponse};

/// An attempt's right to change the record of its key. A [`Lease`](super::Lease) has one; who kept only its [`Token`], in
/// another process or another language, gets it back from [`Idempotency::resume`](super::Idempotency::resume).
///
/// It does not say that the lease still lasts, nor that anything was ever claimed: the store checks that at each write.
pub struct Hold {
    engine: Arc<Engine>,
    key: RecordKey,
    fence: Fence,
    /// The revision of this attempt's last acknowledged write; zero: not known. It is unknown from when a write is sent until
    /// it is acknowledged, so that a later write is never taken for the repetition of one whose reply was lost.
    rev: AtomicU64,
    /// Whether another process may write for this attempt at the same time: the token was given away, or came without a
    /// revision.
    is_shared: AtomicBool,
    /// Whether a write follows the revision that the token brought, and is refused where another one came first.
    follows_strictly: bool,
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
    /// The revision of the attempt's last write, which a renewal or a checkpoint follows and no other; `None`: the store is
    /// asked for it first, which costs a round trip, and a write that is delayed may undo a later one.
    pub rev: Option<u64>,
}

/// What becomes of a result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Completion {
    /// It is stored, and this is everybody's answer.
    Completed(SavedResponse),
    /// The key was taken over or settled: this attempt's result is not the answer, the key's is.
    Superseded(Standing),
    /// The store that decides did not acknowledge in time. The work took effect, but its result may not be stored. Work that resumes
    /// has to answer that it is not final yet; other work answers with this result, marked as not durable.
    NotDurable(SavedResponse),
}

/// Result of a release, a mark or a checkpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Noted {
    /// It is stored.
    Done,
    /// The key was taken over or settled, and this is how it stands.
    Superseded(Standing),
    /// Another write of this attempt came first, perhaps an earlier try of this call whose reply was lost. The hold knows the current
    /// revision now, so the same call again replaces that write.
    Outdated,
    /// The store that decides did not acknowledge. It may be stored or not.
    NotDurable,
    /// It is longer than 64 KiB, and is not stored.
    TooLong,
}

/// Result of a renewal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Renewal {
    /// The lease is renewed.
    Renewed {
        /// How long it lasts from now, at least.
        lasts: Duration,
    },
    /// The key was taken over or settled, and this is how it stands: stop.
    Superseded(Standing),
    /// By the end of such a lease the provider may have forgotten the derived key: what is not sent by now must not be.
    TooLate,
    /// Another write of this attempt came first, perhaps an earlier try of this call whose reply was lost. The hold knows the current
    /// revision now, so the same call again renews.
    Outdated,
    /// The store that decides did not acknowledge. The lease lasts as long as it did before, or as was asked for.
    NotDurable,
}

/// How long a result is tried to be stored where no deadline is known.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long anything is tried that the work, or its caller, should not wait for much longer.
const SHORT_PATIENCE: Duration = Duration::from_secs(2);
/// How long it waits between two tries, at first and at most.
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

impl Hold {
    pub(super) fn new(
        engine: Arc<Engine>,
        key: RecordKey,
        fence: Fence,
        deadline: Deadline,
    ) -> Self {
        Self {
            engine,
            key,
            rev: AtomicU64::new(fence.rev),
            is_shared: AtomicBool::new(false),
            follows_strictly: false,
            fence,
            deadline,
        }
    }

    /// The hold of an attempt that was claimed elsewhere.
    pub(super) fn resumed(engine: Arc<Engine>, token: Token, deadline: Deadline) -> Self {
        let fence = Fence {
            attempt: token.attempt,
            rev: 0,
            claim: Claim {
                owner: token.owner,
                fingerprint: token.fingerprint,
                // Nobody can claim with it any more: these two tell nothing.
                policy: Policy::AtMostOnce,
                lease: Duration::ZERO,
                window: engine.config.window,
            },
        };
        Self {
            rev: AtomicU64::new(token.rev.unwrap_or(0)),
            is_shared: AtomicBool::new(token.rev.is_none()),
            follows_strictly: token.rev.is_some(),
            ..Self::new(engine, token.key, fence, deadline)
        }
    }

    /// What tells this attempt from all others.
    pub fn token(&self) -> Token {
        self.is_shared.store(true, Ordering::Relaxed);
        Token {
            rev: self.rev(),
            key: self.key.clone(),
            owner: self.fence.claim.owner,
            attempt: self.fence.attempt,
            fingerprint: self.fence.claim.fingerprint,
        }
    }

    /// The revision of this attempt's last acknowledged write, where it is known.
    pub(super) fn rev(&self) -> Option<u64> {
        Some(self.rev.load(Ordering::Relaxed)).filter(|rev| *rev > 0)
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
        let (inner, until) = (&self.engine, self.whole_time());
        let fingerprint = &self.fence.claim.fingerprint;
        let kept = inner.storable(&self.key, fingerprint, &response, until);
        let kept = kept.await;
        let change = Change::Complete(kept.clone());
        match self.insist(&change, until).await {
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
            let counters = &self.engine.counters;
            counters.count(Event::Unknown, &self.key);
        }
        marked
    }

    /// Leaves a note of at most 64 KiB for the next attempt, should this one be abandoned. Of two holds of one attempt that
    /// write at the same time, one is [`Outdated`](Noted::Outdated).
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
        let lease = lease.min(LONGEST_LEASE);
        // Taken before the store begins to count, so that the holder's own reckoning ends first.
        let asked = Instant::now();
        match self.insist(&Change::Renew(lease), self.short_time()).await {
            Ok(Changed::Done) => Renewal::Renewed {
                lasts: lease.saturating_sub(asked.elapsed()),
            },
            Ok(Changed::TooLate) => Renewal::TooLate,
            Ok(Changed::Superseded(standing)) => Renewal::Superseded(standing),
            Ok(Changed::Moved(_)) => Renewal::Outdated,
            Ok(Changed::Already(_)) | Err(_) => Renewal::NotDurable,
        }
    }

    fn is_shared(&self) -> bool {
        self.is_shared.load(Ordering::Relaxed)
    }

    /// The revision that the next write follows; zero where others may have written since, so that it is asked for. Until that
    /// write is acknowledged none is known: it may be stored although its reply is lost, or this call is dropped.
    fn take_rev(&self) -> u64 {
        let rev = self.rev.swap(0, Ordering::Relaxed);
        if self.is_shared() { 0 } else { rev }
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
        let inner = &self.engine;
        let mut pause = FIRST_PAUSE;
        let mut fence = Fence {
            rev: self.take_rev(),
            ..self.fence.clone()
        };
        let changed = loop {
            let changed = inner.store.change(&self.key, &fence, change, until).await;
            let undecided = match inner.noting(&self.key, changed) {
                // A sole holder: an earlier write of its own landed, and this one follows that. Where another process may
                // write for this attempt, its write is the later one.
                Ok(Answer {
                    value: Changed::Moved(rev),
                    ..
                }) if fence.rev == 0 || !(self.is_shared() || self.follows_strictly) => {
                    fence.rev = rev;
                    continue;
                }
                Ok(Answer { value, .. }) => {
                    self.rev
                        .store(rev_after(&value, fence.rev), Ordering::Relaxed);
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
        let changed = self.check(changed, until).await;
        if let Changed::Superseded(_) = changed {
            inner.counters.count(Event::Superseded, &self.key);
        }
        Ok(changed)
    }
}

impl Hold {
    /// The outcome, as far as a stored result is believed.
    async fn check(&self, changed: Changed, until: Deadline) -> Changed {
        let (inner, claim) = (&self.engine, &self.fence.claim);
        match changed {
            Changed::Superseded(standing) => {
                Changed::Superseded(inner.check(&self.key, claim, standing, until).await)
            }
            Changed::Already(Some(response))
                if !inner.believe(&self.key, claim, &response, until).await =>
            {
                Changed::Superseded(Standing::Unknown(Doubt::Unreadable))
            }
            changed => changed,
        }
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
        Ok(Changed::Moved(_)) => Noted::Outdated,
        Ok(Changed::TooLate) | Err(_) => Noted::NotDurable,
    }
}

/// The revision that the holder knows after a write that followed `rev` was answered so; zero: none.
fn rev_after(changed: &Changed, rev: u64) -> u64 {
    match changed {
        Changed::Done | Changed::Already(_) if rev > 0 => rev + 1,
        Changed::TooLate => rev,
        Changed::Moved(rev) => *rev,
        Changed::Done | Changed::Already(_) | Changed::Superseded(_) => 0,
    }
}

#[cfg(test)]
mod tests;
