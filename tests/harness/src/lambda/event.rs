//! What can happen to a function: the messages that its [`Supervisor`](super::supervisor::Supervisor) takes, one at
//! a time.

use std::process::ExitStatus;
use std::time::Instant;

use bytes::Bytes;
use tokio::sync::oneshot;

use super::invocation::{Invocation, Outcome};

/// What happens to a function. Those that name an instance are ignored when that is no longer the current one.
pub(super) enum Event {
    /// Start a process and report when it asks for work, or why it does not.
    Start(oneshot::Sender<Result<(), String>>),
    /// A caller's event; `handed_over` is dropped once it is in a process's socket, or in the queue.
    Invoke {
        invocation: Invocation,
        handed_over: oneshot::Sender<()>,
    },
    /// The process asks for work.
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
    /// Stop the process where it stands.
    Suspend(oneshot::Sender<()>),
    /// Let it go on.
    Thaw(oneshot::Sender<()>),
    /// Kill it.
    Stop(oneshot::Sender<()>),
}

/// An invocation as a process receives it.
pub(super) struct Delivery {
    pub(super) id: String,
    pub(super) function_arn: String,
    /// Milliseconds since 1970.
    pub(super) deadline_ms: i64,
    pub(super) payload: Bytes,
    /// Dropped in the step that writes the invocation to the process's socket.
    pub(super) written: oneshot::Sender<()>,
}
