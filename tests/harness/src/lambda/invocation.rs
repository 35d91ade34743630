//! One invocation: what the function is asked, and what becomes of it.

use std::time::{Duration, Instant};

use bytes::Bytes;
use serde_json::Value;
use tokio::sync::oneshot;

use crate::request_id;

/// What became of an invocation.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome<T = Value> {
    /// The function answered.
    Answered(T),
    /// The function reported an error, or its runtime reported the handler's panic.
    FunctionError {
        /// The kind of error, usually the name of a type.
        error_type: String,
        /// The error's text.
        message: String,
    },
    /// It ran longer than the function's timeout, and the process was killed.
    TimedOut,
    /// The process ended by itself.
    Crashed {
        /// How it ended, and what it reported before that.
        reason: String,
    },
}

/// The end of an invocation, and when it was.
#[derive(Debug)]
pub struct Settled {
    /// What became of it.
    pub outcome: Outcome<Bytes>,
    /// When the whole answer had arrived.
    pub at: Instant,
    /// How long that was after a process had been given the event.
    pub took: Duration,
}

/// An invocation on its way to a process.
pub(super) struct Invocation {
    /// `Lambda-Runtime-Aws-Request-Id`
    pub(super) id: String,
    pub(super) payload: Bytes,
    /// Whoever waits for the outcome.
    pub(super) caller: oneshot::Sender<Settled>,
}

impl Invocation {
    pub(super) fn new(payload: Bytes) -> (Self, oneshot::Receiver<Settled>) {
        let (caller, outcome) = oneshot::channel();
        let invocation = Self {
            id: request_id::fresh(),
            payload,
            caller,
        };
        (invocation, outcome)
    }
}

impl Outcome<Bytes> {
    /// The same, with the answer parsed.
    pub(super) fn parsed(self) -> Outcome {
        match self {
            Self::Answered(body) => match serde_json::from_slice(&body) {
                Ok(answer) => Outcome::Answered(answer),
                Err(error) => Outcome::FunctionError {
                    error_type: "Runtime.InvalidResponse".to_owned(),
                    message: format!("{error} in {}", String::from_utf8_lossy(&body)),
                },
            },
            Self::FunctionError {
                error_type,
                message,
            } => Outcome::FunctionError {
                error_type,
                message,
            },
            Self::TimedOut => Outcome::TimedOut,
            Self::Crashed { reason } => Outcome::Crashed { reason },
        }
    }
}
