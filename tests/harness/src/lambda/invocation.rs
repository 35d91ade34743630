//! One invocation and its outcome.

use std::time::{Duration, Instant};

use bytes::Bytes;
use serde_json::Value;
use tokio::sync::oneshot;

use crate::request_id;

/// The outcome of an invocation.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome<T = Value> {
    /// The function answered with this result.
    Answered(T),
    /// The function reported an error, or the runtime in its process reported a panic of the handler.
    FunctionError {
        /// The kind of error, usually the name of a type.
        error_type: String,
        /// The error's text.
        message: String,
    },
    /// The invocation exceeded the function's timeout, and the process was killed.
    TimedOut,
    /// The process ended by itself.
    Crashed {
        /// The reason, and the error that the process reported before it ended.
        reason: String,
    },
}

/// The outcome of an invocation, with its times.
#[derive(Debug)]
pub struct Settled {
    /// The outcome.
    pub outcome: Outcome<Bytes>,
    /// The time at which the complete answer had arrived.
    pub at: Instant,
    /// The time between the delivery of the event to a process and the end of the invocation.
    pub took: Duration,
}

/// An invocation on its way to a process.
pub(super) struct Invocation {
    /// The value of the header `Lambda-Runtime-Aws-Request-Id`.
    pub(super) id: String,
    pub(super) payload: Bytes,
    /// The sender of the outcome to the caller.
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
    /// Parses the answer as JSON.
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
