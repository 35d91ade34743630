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
//! has stored, nor another namespace; within one, callers trust one another. The schema of requests and answers is
//! `functions/idempotency/schema.json`.

mod answer;
mod object;
mod request;

use std::time::Duration;

use http::StatusCode;
use serde_json::value::RawValue;
use tracing::{info, warn};

use self::answer::{Answer, LeaseShown, StateShown, Stored, Told};
use self::object::Problem;
use self::request::{Begin, Request};
use super::{
    Completion, Entry, Hold, Idempotency, Lease, Noted, Outcome, Progress, RecordKey, Renewal,
    SavedResponse, Standing, Token, Undecided,
};
use crate::config::Config;
use crate::deadline::Deadline;

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
    /// The engine over the stores that are configured. Nothing is connected, and nothing here fails.
    pub fn new(config: &Config) -> Self {
        Self {
            engine: Idempotency::new(config),
            namespace: config.idempotency.namespace.clone(),
            lease: config.idempotency.lease,
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
            Request::Release(token) => noted(Answer::Released, resume(token).release().await),
            Request::MarkUnknown(token) => {
                let unknown = Answer::Unknown { checkpoint: None };
                noted(unknown, resume(token).mark_unknown().await)
            }
            Request::Checkpoint(token, data) => {
                let note = data.get().to_owned();
                noted(Answer::Saved, resume(token).checkpoint(note).await)
            }
            Request::Renew(token, lease) => {
                let lease = lease.unwrap_or(self.lease);
                renewed(resume(token).renew(lease).await)
            }
            Request::Status(key) => {
                let entry = self.engine.entry(&key, until).await?;
                entry.map_or(Answer::Absent, found)
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
            Outcome::Unknown(_) => Answer::Unknown {
                checkpoint: Some(self.last_checkpoint(&operation.key, until).await?),
            },
        };
        Ok(Told {
            answer,
            stand_in: claimed.stand_in,
        })
    }

    /// What was noted last under a key whose outcome is unknown.
    async fn last_checkpoint(
        &self,
        key: &RecordKey,
        until: Deadline,
    ) -> Result<Box<RawValue>, Undecided> {
        let entry = self.engine.entry(key, until).await?;
        let checkpoint = entry.map(|entry| entry.checkpoint).unwrap_or_default();
        Ok(answer::note(&checkpoint))
    }
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
            fingerprint: token.fingerprint.to_string(),
            expires_in_ms: answer::milliseconds(lease.lasts()),
        },
        derived_key: lease.derived_key().as_str().to_owned(),
        checkpoint: answer::note(lease.last_checkpoint()),
    }
}

async fn complete(hold: Hold, response: &RawValue) -> Answer {
    let sent = SavedResponse::new(StatusCode::OK, response.get().to_owned());
    match hold.complete(sent.clone()).await {
        Completion::Completed(stored) if stored == sent => Answer::Completed(Stored::NOTHING),
        Completion::Completed(stored) => Answer::Completed(Stored::of(&stored)),
        Completion::Superseded(standing) => superseded(&standing),
        Completion::NotDurable(_) => unacknowledged(),
    }
}

fn renewed(renewal: Renewal) -> Answer {
    match renewal {
        Renewal::Renewed { .. } => Answer::Renewed,
        Renewal::Superseded(standing) => superseded(&standing),
        // Only for a policy that no caller of this can ask for; it may not work on either.
        Renewal::TooLate => Answer::Superseded(Stored::NOTHING),
        Renewal::Outdated | Renewal::NotDurable => unacknowledged(),
    }
}

fn noted(done: Answer, noted: Noted) -> Answer {
    match noted {
        Noted::Done => done,
        Noted::Superseded(standing) => superseded(&standing),
        Noted::Outdated | Noted::NotDurable => unacknowledged(),
        Noted::TooLong => Answer::Invalid {
            errors: vec![Problem::too_long_a_note()],
        },
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

fn found(entry: Entry) -> Answer {
    let (state, stored) = match &entry.progress {
        Progress::InProgress { .. } => (StateShown::InProgress, Stored::NOTHING),
        Progress::Abandoned | Progress::Unknown => (StateShown::Unknown, Stored::NOTHING),
        Progress::Released => (StateShown::Released, Stored::NOTHING),
        Progress::Completed(response) => (StateShown::Completed, Stored::of(response)),
    };
    let lease_left = match entry.progress {
        Progress::InProgress { lease_left } => lease_left,
        _ => Duration::ZERO,
    };
    let has_note = !entry.checkpoint.is_empty();
    Answer::Found {
        state,
        attempt: entry.attempt,
        lease_left_ms: answer::milliseconds(lease_left),
        checkpoint: has_note.then(|| answer::note(&entry.checkpoint)),
        stored,
    }
}
