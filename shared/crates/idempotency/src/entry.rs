//! What is known of a key, for an operator, a reconciler or `status`; and how an unknown outcome is resolved.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;

use super::blocked::Blocked;
use super::decision::{self, ClaimRequest, Decision};
use super::record::{Record, State, Version};
use super::store_time::StoreTime;
use super::{Fingerprint, OwnerId, Policy, RecordKey, Revision, SavedResponse};

/// What is known of a key.
#[derive(Clone, PartialEq, Eq)]
pub struct Entry {
    /// The key.
    pub key: RecordKey,
    /// How far the work is.
    pub progress: Progress,
    /// How many attempts there were.
    pub attempt: u64,
    /// How long ago the key was first seen.
    pub first_seen: Duration,
    /// How long ago the lease ended, of an attempt that did not finish; zero while it runs, and of what has finished.
    pub lease_over_for: Duration,
    /// What happens to an abandoned attempt.
    pub policy: Policy,
    /// What was asked for.
    pub fingerprint: Fingerprint,
    /// What the attempts noted for the next one.
    pub checkpoint: Bytes,
    /// The record that this was read from. A settlement holds for it and for no other.
    pub(super) version: Version,
}

/// How far work is: the answer to a `begin` of the same request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    /// An attempt is running.
    InProgress {
        /// How long its lease lasts yet.
        lease_left: Duration,
    },
    /// The attempt was abandoned, or does not know its outcome. The next `begin` takes over.
    Abandoned,
    /// It is not known whether the work took effect, and no `begin` will start it again: it has to be resolved.
    Unknown,
    /// The attempt had no effect. The next `begin` starts.
    Released,
    /// There is a result.
    Completed(SavedResponse),
}

/// What was found out about work whose outcome was unknown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Settlement {
    /// It took effect, and this is its result.
    Completed(SavedResponse),
    /// It did not, and it no longer can.
    Released(NoEffect),
    /// It looks before it acts ([`Policy::RerunAlways`]), so another attempt for the same request may begin, as it might before:
    /// one that takes over, for the abandoned attempt may still go on. But the record is only kept for one more retention.
    /// Refused under any other policy.
    Reopened,
}

/// Why abandoned work can no longer take effect. That it has not done so until now is no reason: its process may be frozen,
/// and thaw.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoEffect {
    /// The provider refuses its request, should it still arrive.
    FencedByProvider,
    /// The attempt reported that it did nothing, and has ended.
    AttemptEnded,
}

impl NoEffect {
    /// The word for it in requests and logs.
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

    /// The name of the record that this was read from.
    pub fn revision(&self) -> Revision {
        Revision::of(self.version)
    }
}

impl Progress {
    /// Whether the work has no result and no attempt is running for it, so that its outcome may be resolved.
    pub fn is_abandoned(&self) -> bool {
        matches!(self, Self::Abandoned | Self::Unknown)
    }

    /// The decision about a claim like the stored one.
    fn of(record: &Record, retention: Duration, now: StoreTime) -> Self {
        let again = ClaimRequest {
            owner: OwnerId::NOBODY,
            fingerprint: record.fingerprint,
            policy: record.policy,
            lease: record.lease,
            retention,
        };
        match (decision::decide(Some(record), &again, now), &record.state) {
            (_, State::Completed { response, .. }) => Self::Completed(response.clone()),
            // Reopened: the abandoned attempt may still take effect.
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

/// Checkpoints are not for the log.
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
    fn progress_is_what_a_begin_of_the_same_request_would_be_told() {
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
    fn a_reason_has_the_name_that_requests_and_logs_have() {
        let names = [NoEffect::FencedByProvider, NoEffect::AttemptEnded].map(NoEffect::name);
        assert_eq!(names, ["fenced_by_provider", "attempt_ended"]);
    }
}
