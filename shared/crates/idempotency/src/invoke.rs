//! The engine for payment functions in other languages: JSON in, JSON out.
//!
//! Whoever may invoke the function asks to `begin`, is handed a lease, works, and sends the lease back with what became
//! of it. The work happens elsewhere, so nothing here waits for it, and a lease lasts as long as its caller says. What was
//! sent as a response, a payload or a note is kept as it was written, byte for byte.
//!
//! Every request is answered. One that is malformed is told all that is wrong with it; where no store decided, that
//! asking again is safe. Neither is an error of the function, which a caller's client might repeat or report by itself.
//!
//! The keys are those of [`Scope::function`] in this deployment's namespace. So no caller reaches what an HTTP operation
//! has stored, nor another namespace; within one, callers trust one another. The schema of requests and answers stands beside
//! the function that serves them.

mod answer;
mod object;
mod request;

use std::time::Duration;

use bytes::Bytes;
use foundation::Deadline;
use serde_json::value::RawValue;
use tracing::{info, warn};

use self::answer::{Answer, LeaseShown, Shown, StateShown, Stored, Told};
use self::object::Problem;
use self::request::{Begin, Finding, Request};
use super::{
    Completion, Hold, Idempotency, Lease, Lookup, Noted, Operation, Outcome, Progress, Renewal,
    Resolved, SavedResponse, Settlement, Standing, Token, Undecided,
};

#[cfg(doc)]
use super::Scope;

/// The engine, for callers elsewhere.
#[derive(Debug)]
pub struct Remote {
    engine: Idempotency,
    namespace: String,
    /// How long a lease lasts unless its caller says.
    lease: Duration,
}

/// For how long a store is asked before the caller is told to ask again: it has a deadline of its own, not known here.
const PATIENCE: Duration = Duration::from_secs(5);
/// When to ask again where nothing was decided.
const RETRY: Duration = Duration::from_secs(1);

impl Remote {
    /// The keys of a namespace: one for all callers that trust one another. A lease lasts this long unless its caller says.
    pub fn new(engine: Idempotency, namespace: impl Into<String>, lease: Duration) -> Self {
        Self {
            engine,
            namespace: namespace.into(),
            lease,
        }
    }

    /// Answers one request, whatever it is; `None`: it is not JSON.
    ///
    /// # Cancel safety
    ///
    /// A dropped call may or may not have done what was asked; asking again, with the same owner, finds out.
    pub async fn answer(&self, request: Option<&RawValue>, deadline: Deadline) -> Box<RawValue> {
        let deadline = deadline.within(PATIENCE);
        let answer = match Request::parse(request, &self.namespace) {
            Ok(request) => self.decide(request, deadline).await,
            Err(problems) => {
                info!(
                    idempotency.problems = problems.len(),
                    "refused a malformed request"
                );
                Ok(Answer::Invalid { errors: problems }.into())
            }
        };
        let answer = answer.unwrap_or_else(|undecided| {
            warn!(error = %undecided, "could not decide");
            unacknowledged().into()
        });
        answer.to_json()
    }

    async fn decide(&self, request: Request<'_>, until: Deadline) -> Result<Told, Undecided> {
        let resume = |token: Token| self.engine.resume(token, until);
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
            Request::Checkpoint(token, data) => checkpoint(&resume(token), data).await,
            Request::Renew(token, lease) => {
                renew(&resume(token), lease.unwrap_or(self.lease)).await
            }
            Request::Status(key) => match self.engine.look_up(&key, until).await? {
                Lookup::Absent => Answer::Absent,
                lookup => Answer::Found(shown(lookup)),
            },
            Request::Resolve(key, seen, finding) => {
                let settlement = settlement(finding);
                let resolved = self.engine.resolve(&key, seen, settlement, until).await?;
                match resolved {
                    Resolved::Stored => Answer::Resolved,
                    Resolved::Refused(lookup) => Answer::Refused(shown(lookup)),
                }
            }
        };
        Ok(answer.into())
    }

    async fn begin(&self, begin: Begin, until: Deadline) -> Result<Told, Undecided> {
        let lease = begin.lease.unwrap_or(self.lease);
        let operation = &begin.operation;
        let claimed = self
            .engine
            .claim_as(begin.owner, lease, operation, until)
            .await?;
        let answer = match claimed.outcome {
            Outcome::Started(lease) => started(&lease, begin.scope, begin.key),
            Outcome::Replay(response) => Answer::Replay(Stored::of(&response)),
            Outcome::Mismatch => Answer::Mismatch,
            Outcome::InProgress { retry_after } => Answer::InProgress {
                retry_after_ms: answer::milliseconds(retry_after),
            },
            Outcome::Unknown(_) => {
                let lookup = self.engine.look_up(&operation.key, until).await?;
                unknown(operation, lookup)
            }
        };
        Ok(Told {
            answer,
            stand_in: claimed.stand_in,
        })
    }
}

/// The answer to a `begin` that was judged unknown, from a second look, which finds the checkpoint and the revision. Where another
/// attempt has begun since, or the key was resolved, that is the answer: the revision of a running attempt is not to be resolved.
fn unknown(operation: &Operation, lookup: Lookup) -> Answer {
    let later = |wait| Answer::InProgress {
        retry_after_ms: answer::milliseconds(wait),
    };
    let entry = match lookup {
        Lookup::Found(entry) => entry,
        Lookup::Absent => return later(Duration::ZERO),
        Lookup::Unreadable => {
            return Answer::Unknown {
                checkpoint: Some(answer::note(&Bytes::new())),
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
            checkpoint: Some(answer::note(&entry.checkpoint)),
            revision: Some(entry.revision().to_string()),
            damaged: false,
        },
    }
}

fn settlement(finding: Finding<'_>) -> Settlement {
    match finding {
        Finding::Completed(response) => Settlement::Completed(saved(response)),
        Finding::Released(reason) => Settlement::Released(reason),
    }
}

/// A response as it is kept: as it was written, byte for byte.
fn saved(response: &RawValue) -> SavedResponse {
    SavedResponse::of_json(response.get())
}

fn started(lease: &Lease, scope: String, key: String) -> Answer {
    let token = lease.token();
    Answer::Started {
        repeated: lease.is_repeated(),
        took_over: lease.took_over(),
        lease: LeaseShown {
            scope,
            key,
            owner: token.owner.to_string(),
            attempt: token.attempt,
            rev: token.rev,
            fingerprint: token.fingerprint.to_string(),
            expires_in_ms: answer::milliseconds(lease.lasts()),
        },
        derived_key: lease.derived_key().as_str().to_owned(),
        checkpoint: answer::note(lease.last_checkpoint()),
    }
}

async fn complete(hold: Hold, response: &RawValue) -> Answer {
    let sent = saved(response);
    match hold.complete(sent.clone()).await {
        Completion::Completed(stored) if stored == sent => Answer::Completed(Stored::NOTHING),
        Completion::Completed(stored) => Answer::Completed(Stored::of(&stored)),
        Completion::Superseded(standing) => superseded(&standing),
        Completion::NotDurable(_) => unacknowledged(),
    }
}

async fn checkpoint(hold: &Hold, data: &RawValue) -> Answer {
    match (hold.checkpoint(data.get().to_owned()).await, hold.rev()) {
        (Noted::Done, Some(rev)) => Answer::Saved { rev },
        (Noted::Outdated, Some(rev)) => Answer::Outdated { rev },
        (Noted::Superseded(standing), _) => superseded(&standing),
        (Noted::TooLong, _) => Answer::Invalid {
            errors: vec![Problem::too_long_a_note()],
        },
        (Noted::Done | Noted::Outdated | Noted::NotDurable, _) => unacknowledged(),
    }
}

async fn renew(hold: &Hold, lease: Duration) -> Answer {
    match (hold.renew(lease).await, hold.rev()) {
        (Renewal::Renewed { lasts }, Some(rev)) => Answer::Renewed {
            rev,
            expires_in_ms: answer::milliseconds(lasts),
        },
        (Renewal::Outdated, Some(rev)) => Answer::Outdated { rev },
        (Renewal::Superseded(standing), _) => superseded(&standing),
        // Only for a policy that no caller of this can ask for; it may not work on either.
        (Renewal::TooLate, _) => Answer::Superseded(Stored::NOTHING),
        (Renewal::Renewed { .. } | Renewal::Outdated | Renewal::NotDurable, _) => unacknowledged(),
    }
}

/// The answer to a request that ends the attempt without a result.
fn ended(done: Answer, noted: Noted) -> Answer {
    match noted {
        Noted::Done => done,
        Noted::Superseded(standing) => superseded(&standing),
        Noted::Outdated | Noted::NotDurable | Noted::TooLong => unacknowledged(),
    }
}

fn superseded(standing: &Standing) -> Answer {
    Answer::Superseded(match standing {
        Standing::Replay(response) => Stored::of(response),
        _ => Stored::NOTHING,
    })
}

/// No store has decided, or acknowledged what it may have done: the same request again finds out.
fn unacknowledged() -> Answer {
    Answer::Unavailable {
        retry_after_ms: answer::milliseconds(RETRY),
    }
}

fn shown(lookup: Lookup) -> Shown {
    let entry = match lookup {
        Lookup::Found(entry) => *entry,
        Lookup::Absent => return Shown::without_record(StateShown::Absent),
        Lookup::Unreadable => {
            return Shown {
                damaged: true,
                ..Shown::without_record(StateShown::Unknown)
            };
        }
    };
    let (state, lease_left, stored) = match &entry.progress {
        Progress::InProgress { lease_left } => {
            (StateShown::InProgress, *lease_left, Stored::NOTHING)
        }
        Progress::Abandoned => (StateShown::Abandoned, Duration::ZERO, Stored::NOTHING),
        Progress::Unknown => (StateShown::Unknown, Duration::ZERO, Stored::NOTHING),
        Progress::Released => (StateShown::Released, Duration::ZERO, Stored::NOTHING),
        Progress::Completed(response) => {
            (StateShown::Completed, Duration::ZERO, Stored::of(response))
        }
    };
    let has_note = !entry.checkpoint.is_empty();
    Shown {
        state,
        attempt: Some(entry.attempt),
        lease_left_ms: answer::milliseconds(lease_left),
        revision: Some(entry.revision().to_string()),
        checkpoint: has_note.then(|| answer::note(&entry.checkpoint)),
        damaged: false,
        stored,
    }
}
