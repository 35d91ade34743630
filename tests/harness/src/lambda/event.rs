//! The messages to a function's [`Supervisor`](super::supervisor::Supervisor). The supervisor handles one message at a time.

use std::process::ExitStatus;
use std::time::Instant;

use bytes::Bytes;
use tokio::sync::oneshot;

use super::invocation::{Invocation, Outcome};

/// A message to the supervisor. The supervisor ignores messages about an instance that is not the current instance.
pub(super) enum Event {
    /// Start a process, and report its first request for work or its failure.
    Start(oneshot::Sender<Result<(), String>>),
    /// Invoke the function with a caller's event. `handed_over` is dropped once the event is in a process's socket or in the
    /// queue.
    Invoke {
        invocation: Invocation,
        handed_over: oneshot::Sender<()>,
    },
    /// The process requests work.
    Next {
        instance: u64,
        poll: oneshot::Sender<Delivery>,
    },
    /// The process has finished an invocation.
    Settled {
        instance: u64,
        id: String,
        outcome: Outcome<Bytes>,
        at: Instant,
    },
    /// The process reports why it cannot start.
    InitError { instance: u64, error: String },
    /// The process has ended by itself.
    Ended { instance: u64, status: ExitStatus },
    /// Stop the process as soon as it waits for work.
    Freeze(oneshot::Sender<()>),
    /// Stop the process immediately, even if it is busy.
    Suspend(oneshot::Sender<()>),
    /// Continue the process.
    Thaw(oneshot::Sender<()>),
    /// Kill the process.
    Stop(oneshot::Sender<()>),
}

/// An invocation as a process receives it.
pub(super) struct Delivery {
    pub(super) id: String,
    pub(super) function_arn: String,
    /// The deadline of the invocation, in milliseconds since 1970.
    pub(super) deadline_ms: i64,
    pub(super) payload: Bytes,
    /// This sender is dropped when the invocation is written to the process's socket.
    pub(super) written: oneshot::Sender<()>,
}
