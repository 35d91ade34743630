//! Idempotency for payment functions in other languages: JSON requests and responses.
//!
//! A caller needs permission to invoke the function. It sends `begin`, receives a lease, runs its operation, and sends
//! the lease back with the result. The operation runs in the caller's process, so a lease lasts as long as the caller
//! requests. Responses, payloads and checkpoints are stored byte for byte.
//!
//! Every request gets a reply. The reply to a malformed request lists all its problems. If the store is unavailable,
//! the reply contains this outcome, and a retry is safe. These two replies are normal responses. After a function
//! error, the caller's SDK might retry by itself.
//!
//! All keys are in a [`Scope::function`] of this deployment's namespace. So no caller can reach the keys of an HTTP
//! operation or of another namespace. Callers in one namespace trust one another. The schema of requests and replies is
//! `functions/idempotency/schema.json`.

mod answer;
mod object;
mod request;

use std::time::Duration;

use bytes::Bytes;
use foundation::Deadline;
use serde_json::value::RawValue;
use tracing::{info, warn};

use self::answer::{Answer, KeyState, KeyStatus, RemoteLease, Reply, Stored};
use self::object::Problem;
use self::request::{Begin, Finding, Request};
use super::{
    Blocked, ClaimOutcome, Idempotency, Lease, LeaseToken, Lookup, Operation, Progress, Resolution,
    ResolveOutcome, SavedResponse, StoreError, WriteResult,
};

#[cfg(doc)]
use super::Scope;

/// Idempotency for remote callers.
#[derive(Debug)]
pub struct Remote {
    engine: Idempotency,
    namespace: String,
    /// The default length of a lease.
    lease: Duration,
}

/// The longest time to wait for a store. The deadline of the caller is unknown here.
const PATIENCE: Duration = Duration::from_secs(5);
/// The time after which a caller may retry if the store is unavailable.
const RETRY: Duration = Duration::from_secs(1);

impl Remote {
    /// Returns the service for the keys of one namespace. The callers in a namespace trust one another. `lease` is the
    /// default length of a lease.
    pub fn new(engine: Idempotency, namespace: impl Into<String>, lease: Duration) -> Self {
        Self {
            engine,
            namespace: namespace.into(),
            lease,
        }
    }

    /// Replies to any request; `None`: the request is not JSON.
    ///
    /// # Cancel safety
    ///
    /// A dropped call may or may not have stored its change. A retry with the same owner returns what is stored.
    pub async fn answer(&self, request: Option<&RawValue>, deadline: Deadline) -> Box<RawValue> {
        let deadline = deadline.within(PATIENCE);
        let answer = match Request::parse(request, &self.namespace) {
            Ok(request) => self.decide(request, deadline).await,
            Err(problems) => {
                info!(
                    idempotency.problems = problems.len(),
                    "malformed request rejected"
                );
                Ok(Answer::Invalid { errors: problems }.into())
            }
        };
        let answer = answer.unwrap_or_else(|error| {
            warn!(error = %error, "a request was answered as unavailable: the idempotency store is unavailable; the caller may send the request again");
            unacknowledged().into()
        });
        answer.to_json()
    }

    async fn decide(&self, request: Request<'_>, until: Deadline) -> Result<Reply, StoreError> {
        let resume = |token: LeaseToken| self.engine.resume(token, until);
        let answer = match request {
            Request::Begin(begin) => return self.begin(begin, until).await,
            Request::Complete(token, response) => complete(resume(token), response).await,
            Request::Release(token) => ended(Answer::Released, resume(token).release().await),
            Request::MarkUnknown(token) => {
                let unknown = Answer::Unknown {
                    checkpoint: None,
                    revision: None,
                    damaged: false,
                };
                ended(unknown, resume(token).mark_unknown().await)
            }
            Request::Checkpoint(token, data) => checkpoint(&mut resume(token), data).await,
            Request::Renew(token, lease) => {
                renew(&mut resume(token), lease.unwrap_or(self.lease)).await
            }
            Request::Status(key) => match self.engine.look_up(&key, until).await? {
                Lookup::Absent => Answer::Absent,
                lookup => Answer::Found(key_status(lookup)),
            },
            Request::Resolve(key, seen, finding) => {
                let resolution = resolution(finding);
                let resolved = self.engine.resolve(&key, seen, resolution, until).await?;
                match resolved {
                    ResolveOutcome::Stored => Answer::Resolved,
                    ResolveOutcome::Refused(lookup) => Answer::Refused(key_status(lookup)),
                }
            }
        };
        Ok(answer.into())
    }

    async fn begin(&self, begin: Begin, until: Deadline) -> Result<Reply, StoreError> {
        let lease = begin.lease.unwrap_or(self.lease);
        let operation = &begin.operation;
        let claimed = self
            .engine
            .claim_as(begin.owner, lease, operation, until)
            .await?;
        let answer = match claimed.value {
            ClaimOutcome::Claimed(lease) => started(&lease, begin.scope, begin.key),
            ClaimOutcome::Blocked(Blocked::Replay(response)) => {
                Answer::Replay(Stored::of(&response))
            }
            ClaimOutcome::Blocked(Blocked::Mismatch) => Answer::Mismatch,
            ClaimOutcome::Blocked(Blocked::InProgress { retry_after }) => Answer::InProgress {
                retry_after_ms: answer::milliseconds(retry_after),
            },
            ClaimOutcome::Blocked(Blocked::Unknown(_)) => {
                let lookup = self.engine.look_up(&operation.key, until).await?;
                unknown(operation, lookup)
            }
        };
        Ok(Reply {
            answer,
            degraded_to: claimed.degraded_to,
        })
    }
}

/// The reply to a blocked `begin` with an unknown outcome. `lookup` is a second read of the key, which has the
/// checkpoint and the revision.
///
/// If another attempt has started or the key was resolved since the claim, the reply reports the new state. The reply
/// never contains the revision of a running attempt, because a caller must not resolve a running attempt.
fn unknown(operation: &Operation, lookup: Lookup) -> Answer {
    let later = |wait| Answer::InProgress {
        retry_after_ms: answer::milliseconds(wait),
    };
    let entry = match lookup {
        Lookup::Found(entry) => entry,
        Lookup::Absent => return later(Duration::ZERO),
        Lookup::Unreadable => {
            return Answer::Unknown {
                checkpoint: Some(answer::checkpoint_json(&Bytes::new())),
                revision: None,
                damaged: true,
            };
        }
    };
    if entry.fingerprint != operation.fingerprint {
        return Answer::Mismatch;
    }
    match &entry.progress {
        Progress::InProgress { lease_left } => later(*lease_left),
        Progress::Completed(response) => Answer::Replay(Stored::of(response)),
        Progress::Released => later(Duration::ZERO),
        Progress::Unknown | Progress::Abandoned => Answer::Unknown {
            checkpoint: Some(answer::checkpoint_json(&entry.checkpoint)),
            revision: Some(entry.revision().to_string()),
            damaged: false,
        },
    }
}

fn resolution(finding: Finding<'_>) -> Resolution {
    match finding {
        Finding::Completed(response) => Resolution::Completed(saved(response)),
        Finding::Released(reason) => Resolution::Released(reason),
    }
}

/// A response that is stored byte for byte.
fn saved(response: &RawValue) -> SavedResponse {
    SavedResponse::of_json(response.get())
}

fn started(lease: &Lease, scope: String, key: String) -> Answer {
    let token = lease.token();
    Answer::Started {
        repeated: lease.is_repeated(),
        took_over: lease.took_over(),
        lease: RemoteLease {
            scope,
            key,
            owner: token.owner.to_string(),
            attempt: token.attempt,
            rev: token.rev,
            fingerprint: token.fingerprint.to_string(),
            expires_in_ms: answer::milliseconds(lease.lasts()),
        },
        derived_key: lease.derived_key().as_str().to_owned(),
        checkpoint: answer::checkpoint_json(lease.last_checkpoint()),
    }
}

async fn complete(lease: Lease, response: &RawValue) -> Answer {
    let sent = saved(response);
    match lease.complete(sent.clone()).await {
        WriteResult::Stored(stored) if stored == sent => Answer::Completed(Stored::NONE),
        WriteResult::Stored(stored) => Answer::Completed(Stored::of(&stored)),
        WriteResult::Superseded(blocked) => superseded(blocked.as_ref()),
        WriteResult::NotDurable
        | WriteResult::Outdated(_)
        | WriteResult::TooLate
        | WriteResult::TooLarge => unacknowledged(),
    }
}

async fn checkpoint(lease: &mut Lease, data: &RawValue) -> Answer {
    match (lease.checkpoint(data.get().to_owned()).await, lease.rev()) {
        (WriteResult::Stored(()), Some(rev)) => Answer::Saved { rev },
        (WriteResult::Outdated(_), Some(rev)) => Answer::Outdated { rev },
        (WriteResult::Superseded(blocked), _) => superseded(blocked.as_ref()),
        (WriteResult::TooLarge, _) => Answer::Invalid {
            errors: vec![Problem::checkpoint_too_long()],
        },
        _ => unacknowledged(),
    }
}

async fn renew(lease: &mut Lease, lasts: Duration) -> Answer {
    match (lease.renew(lasts).await, lease.rev()) {
        (WriteResult::Stored(lasts), Some(rev)) => Answer::Renewed {
            rev,
            expires_in_ms: answer::milliseconds(lasts),
        },
        (WriteResult::Outdated(_), Some(rev)) => Answer::Outdated { rev },
        (WriteResult::Superseded(blocked), _) => superseded(blocked.as_ref()),
        // `TooLate` occurs only under a policy that remote callers cannot request. After `TooLate`, as after
        // `Superseded`, the caller must not continue.
        (WriteResult::TooLate, _) => Answer::Superseded(Stored::NONE),
        _ => unacknowledged(),
    }
}

/// The reply to a request that ends the attempt without a result. `done` is the reply if the write was stored.
fn ended(done: Answer, written: WriteResult) -> Answer {
    match written {
        WriteResult::Stored(()) => done,
        WriteResult::Superseded(blocked) => superseded(blocked.as_ref()),
        _ => unacknowledged(),
    }
}

fn superseded(blocked: Option<&Blocked>) -> Answer {
    Answer::Superseded(match blocked {
        Some(Blocked::Replay(response)) => Stored::of(response),
        _ => Stored::NONE,
    })
}

/// The reply if the authoritative store is unavailable, or did not acknowledge a write. A retry of the same request is
/// safe.
fn unacknowledged() -> Answer {
    Answer::Unavailable {
        retry_after_ms: answer::milliseconds(RETRY),
    }
}

fn key_status(lookup: Lookup) -> KeyStatus {
    let entry = match lookup {
        Lookup::Found(entry) => *entry,
        Lookup::Absent => return KeyStatus::without_record(KeyState::Absent),
        Lookup::Unreadable => {
            return KeyStatus {
                damaged: true,
                ..KeyStatus::without_record(KeyState::Unknown)
            };
        }
    };
    let (state, lease_left, stored) = match &entry.progress {
        Progress::InProgress { lease_left } => (KeyState::InProgress, *lease_left, Stored::NONE),
        Progress::Abandoned => (KeyState::Abandoned, Duration::ZERO, Stored::NONE),
        Progress::Unknown => (KeyState::Unknown, Duration::ZERO, Stored::NONE),
        Progress::Released => (KeyState::Released, Duration::ZERO, Stored::NONE),
        Progress::Completed(response) => {
            (KeyState::Completed, Duration::ZERO, Stored::of(response))
        }
    };
    let has_checkpoint = !entry.checkpoint.is_empty();
    KeyStatus {
        state,
        attempt: Some(entry.attempt),
        lease_left_ms: answer::milliseconds(lease_left),
        revision: Some(entry.revision().to_string()),
        checkpoint: has_checkpoint.then(|| answer::checkpoint_json(&entry.checkpoint)),
        damaged: false,
        stored,
    }
}
