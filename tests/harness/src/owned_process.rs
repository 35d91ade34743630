//! A process that lives no longer than the value that started it.
//!
//! Its output goes to a file rather than through a pipe: what it has written is there for the next reader, without
//! a thread that might lag behind, and a process that writes much never waits for the harness. Its standard input
//! is a pipe that nobody writes to: a program that reads it to the end learns that the test process is gone, even
//! when that was killed. A program that does not is ended by the watchdog.

use std::fs::File;
use std::io;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, waitid};

use crate::watchdog;

/// Longer than a signal ever takes to arrive.
const SIGNAL_DEADLINE: Duration = Duration::from_secs(5);

/// A child process; dropping it kills it (by its own process id) and waits for its end.
pub struct OwnedProcess {
    child: Child,
    is_paused: bool,
}

impl OwnedProcess {
    /// Starts the command, with standard output and error appended to the file `log`.
    ///
    /// # Errors
    ///
    /// Those of the system; `NotFound` when there is no such program.
    pub fn spawn(command: &mut Command, log: &Path) -> io::Result<Self> {
        let output = File::options().create(true).append(true).open(log)?;
        let child = command
            .stdin(Stdio::piped())
            .stdout(output.try_clone()?)
            .stderr(output)
            .spawn()?;
        watchdog::started(child.id());
        Ok(Self {
            child,
            is_paused: false,
        })
    }

    /// The process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// How it ended, or `None` while it runs.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        let status = self.child.try_wait();
        let status = status.expect("the status of a child can be asked");
        if status.is_some() {
            watchdog::ended(self.id());
        }
        status
    }

    /// Stops it (SIGSTOP) and returns when it really stands still.
    pub fn pause(&mut self) {
        // A stop is reported once.
        if self.is_paused {
            return;
        }
        let Some(pid) = self.living() else { return };
        kill_process(pid, Signal::STOP).expect("a living child takes signals");
        // Asks for stops only: the end of the process stays to be collected by `Child`.
        let stopped = WaitIdOptions::STOPPED | WaitIdOptions::NOHANG;
        let start = Instant::now();
        while !matches!(waitid(WaitId::Pid(pid), stopped), Ok(Some(_))) {
            assert!(
                start.elapsed() < SIGNAL_DEADLINE,
                "process {} does not stop",
                self.id()
            );
            std::thread::sleep(Duration::from_micros(200));
        }
        self.is_paused = true;
    }

    /// Lets it go on (SIGCONT).
    pub fn resume(&mut self) {
        if let Some(pid) = self.living() {
            kill_process(pid, Signal::CONT).expect("a living child takes signals");
        }
        self.is_paused = false;
    }

    /// Kills it (SIGKILL, which also ends a paused process) and waits for its end.
    pub fn kill(&mut self) -> ExitStatus {
        // Fails only when it has ended already.
        let _ = self.child.kill();
        watchdog::ended(self.child.id());
        self.child.wait().expect("a child can be waited for")
    }

    /// The process id, as long as it surely is still this process's.
    fn living(&mut self) -> Option<Pid> {
        match self.ended() {
            None => Some(Pid::from_child(&self.child)),
            Some(_) => None,
        }
    }
}

/// Waits until a child has ended, and leaves its status to be collected; at once where it has been.
pub(crate) fn wait_for_end(id: u32) {
    let Some(pid) = i32::try_from(id).ok().and_then(Pid::from_raw) else {
        return;
    };
    let ended = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
    while matches!(waitid(WaitId::Pid(pid), ended), Err(Errno::INTR)) {}
}

impl Drop for OwnedProcess {
    fn drop(&mut self) {
        self.kill();
    }
}
