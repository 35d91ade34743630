//! The current state of a function's process. Callers read it without waiting.

use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// The state of the process. The owner of a `Lambda` reads this state without waiting for the supervisor.
#[derive(Default)]
pub(super) struct Status(Mutex<Current>);

#[derive(Clone, Copy, Default)]
pub(super) struct Current {
    /// The id of the running process.
    pub(super) pid: Option<u32>,
    /// The time from the start of the latest process to its first request for work; `None` before that request.
    pub(super) init_duration: Option<Duration>,
    /// The start time of the latest process.
    pub(super) started: Option<Instant>,
    /// The number of started processes.
    pub(super) processes: u64,
}

impl Status {
    pub(super) fn pid(&self) -> Option<u32> {
        self.current().pid
    }

    pub(super) fn init_duration(&self) -> Option<Duration> {
        self.current().init_duration
    }

    pub(super) fn started(&self) -> Option<Instant> {
        self.current().started
    }

    pub(super) fn processes(&self) -> u64 {
        self.current().processes
    }

    /// Changes several values in one step.
    pub(super) fn change<T>(&self, change: impl FnOnce(&mut Current) -> T) -> T {
        change(&mut self.0.lock())
    }

    fn current(&self) -> Current {
        *self.0.lock()
    }
}
