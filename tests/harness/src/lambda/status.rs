//! What is known about a function's process at this moment, for those who ask without waiting.

use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// What the owner may ask without waiting.
#[derive(Default)]
pub(super) struct Status(Mutex<Current>);

#[derive(Clone, Copy, Default)]
pub(super) struct Current {
    /// Of the process that runs.
    pub(super) pid: Option<u32>,
    /// Of the latest process, once it has asked for work.
    pub(super) init_duration: Option<Duration>,
    /// When the latest process was started.
    pub(super) started: Option<Instant>,
    /// How many have been started.
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

    /// Changes what is known, all at once.
    pub(super) fn change<T>(&self, change: impl FnOnce(&mut Current) -> T) -> T {
        change(&mut self.0.lock())
    }

    fn current(&self) -> Current {
        *self.0.lock()
    }
}
