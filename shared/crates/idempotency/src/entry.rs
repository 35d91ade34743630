//! The state of a key, for operators, reconcilers and the request `status`. Also the ways to resolve an unknown
//! outcome.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;

use super::blocked::Blocked;
use super::decision::{self, ClaimRequest, Decision};
use super::record::{Record, State, Version};
use super::store_time::StoreTime;
use super::{Fingerprint, OwnerId, Policy, RecordKey, Revision, SavedResponse};

/// The state of a key.
#[derive(Clone, PartialEq, Eq)]
pub struct Entry {
    /// The key.
    pub key: RecordKey,
    /// The progress of the operation.
    pub progress: Progress,
    /// Number of attempts so far.
    pub attempt: u64,
    /// Time since the first claim of the key. If Redis is authoritative, it can be the time since the result was
    /// stored.
    pub first_seen: Duration,
    /// Time since the lease of an unfinished attempt ended; zero while the lease runs, and for a finished key.
    pub lease_over_for: Duration,
    /// Whether another attempt is allowed after an abandoned one.
    pub policy: Policy,
    /// Digest of the request.
    pub fingerprint: Fingerprint,
    /// The last checkpoint of the attempts.
    pub checkpoint: Bytes,
    /// The version of the record. A resolution applies to this version only.
    pub(super) version: Version,
}

/// The progress of an operation. It matches the outcome of a claim with the same request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    /// An attempt is running.
    InProgress {
        /// Time until the attempt's lease ends.
        lease_left: Duration,
    },
    /// The attempt was abandoned, or marked its outcome as unknown. The next claim takes over.
    Abandoned,
    /// The operation may have taken effect, and no claim succeeds until the key is resolved.
    Unknown,
    /// The attempt had no effect. The next claim succeeds.
    Released,
    /// The operation has a result.
    Completed(SavedResponse),
}

/// The resolved outcome of an operation whose outcome was unknown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Resolution {
    /// The operation took effect, with this result.
    Completed(SavedResponse),
    /// The operation had no effect, and can have none later.
    Released(NoEffect),
    /// The same request can be attempted again, as a takeover, because the abandoned attempt may still take effect.
    /// Reopening is only for operations that check their state before they act. So it is allowed only under
    /// [`Policy::RerunAlways`]. A reopened record expires after the retention.
    Reopened,
}

/// Why an abandoned attempt can no longer take effect. "It has had no effect yet" is not a reason. The process of the
/// attempt may be frozen, and continue later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoEffect {
    /// If a request of that attempt still arrives, the provider refuses it.
    FencedByProvider,
    /// The attempt reported that it had no effect, and has ended.
    AttemptEnded,
}

impl NoEffect {
    /// The name of this reason in requests and logs.
    pub fn name(self) -> &'static str {
        match self {
            Self::FencedByProvider => "fenced_by_provider",
            Self::AttemptEnded => "attempt_ended",
        }
    }
}

impl Entry {
    pub(super) fn of(key: &RecordKey, record: Record, retention: Duration, now: StoreTime) -> Self {
        let is_unfinished = record.finished_at().is_none();
        Self {
            key: key.clone(),
            attempt: record.attempt,
            version: record.version(),
            first_seen: now.since(record.first_at),
            lease_over_for: if is_unfinished {
                now.since(record.lease_end())
            } else {
                Duration::ZERO
            },
            policy: record.policy,
            fingerprint: record.fingerprint,
            progress: Progress::of(&record, retention, now),
            checkpoint: record.checkpoint,
        }
    }

    /// The revision of the record that this entry was read from.
    pub fn revision(&self) -> Revision {
        Revision::of(self.version)
    }
}

impl Progress {
    /// Whether the operation has no result and no running attempt. Then the key can be resolved.
    pub fn is_abandoned(&self) -> bool {
        matches!(self, Self::Abandoned | Self::Unknown)
    }

    /// Returns the progress. A claim with the stored request would have the matching outcome.
    fn of(record: &Record, retention: Duration, now: StoreTime) -> Self {
        let again = ClaimRequest {
            owner: OwnerId::NONE,
            fingerprint: record.fingerprint,
            policy: record.policy,
            lease: record.lease,
            retention,
        };
        match (decision::decide(Some(record), &again, now), &record.state) {
            (_, State::Completed { response, .. }) => Self::Completed(response.clone()),
            // A released record with `took_over` was reopened: the abandoned attempt may still take effect.
            (_, State::Released { .. }) if record.took_over => Self::Abandoned,
            (_, State::Released { .. }) => Self::Released,
            (Decision::Blocked(Blocked::InProgress { retry_after }), _) => Self::InProgress {
                lease_left: retry_after,
            },
            (Decision::Start(_), _) => Self::Abandoned,
            _ => Self::Unknown,
        }
    }
}

/// Omits the checkpoint, which must not be logged.
impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entry")
            .field("key", &self.key)
            .field("progress", &self.progress)
            .field("attempt", &self.attempt)
            .field("revision", &self.revision())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use http::StatusCode;

    use super::*;
    use crate::{IdempotencyKey, Scope};

    fn at(ms: u64) -> StoreTime {
        StoreTime::from_ms(1_764_000_000_000 + ms)
    }

    /// An entry whose key was first seen at 0, and whose lease runs from 1000 to 2000.
    fn entry(state: State, policy: Policy, now_ms: u64) -> Entry {
        let key = IdempotencyKey::parse("k").expect("a key");
        let record = Record {
            state,
            owner: OwnerId::fresh(),
            attempt: 3,
            rev: 7,
            leased_at: at(1_000),
            lease: Duration::from_millis(1_000),
            fingerprint: Fingerprint::from_hex(&"a".repeat(64)).expect("a fingerprint"),
            policy,
            first_at: at(0),
            took_over: false,
            checkpoint: Bytes::new(),
        };
        let (key, retention) = (RecordKey::new(&Scope::none(), &key), Duration::from_secs(9));
        Entry::of(&key, record, retention, at(now_ms))
    }

    #[test]
    fn progress_matches_the_outcome_of_a_claim_with_the_same_request() {
        let (once, always) = (Policy::AtMostOnce, Policy::RerunAlways);
        let finished_at = at(1_500);
        let response = SavedResponse::new(StatusCode::CREATED, "charged");
        let completed = State::Completed {
            finished_at,
            response: response.clone(),
        };
        let running = Progress::InProgress {
            lease_left: Duration::from_millis(300),
        };
        let cases = [
            (State::InProgress, once, 1_700, running, 0),
            (State::InProgress, once, 2_100, Progress::Unknown, 100),
            (State::InProgress, always, 2_100, Progress::Abandoned, 100),
            (State::Unknown, once, 1_700, Progress::Unknown, 0),
            (State::Unknown, always, 1_700, Progress::Abandoned, 0),
            (
                State::Released { finished_at },
                once,
                2_100,
                Progress::Released,
                0,
            ),
            (completed, once, 2_100, Progress::Completed(response), 0),
        ];
        for (state, policy, now_ms, progress, over_ms) in cases {
            let case = format!("{state:?}, {policy:?}, {now_ms}");
            let entry = entry(state, policy, now_ms);
            assert_eq!(entry.progress, progress, "{case}");
            let over = Duration::from_millis(over_ms);
            assert_eq!(entry.lease_over_for, over, "{case}");
            assert_eq!(entry.first_seen, Duration::from_millis(now_ms), "{case}");
            assert_eq!(entry.revision().rev(), 7, "{case}");
        }
    }

    #[test]
    fn each_reason_has_the_name_used_in_requests_and_logs() {
        let names = [NoEffect::FencedByProvider, NoEffect::AttemptEnded].map(NoEffect::name);
        assert_eq!(names, ["fenced_by_provider", "attempt_ended"]);
    }
}
