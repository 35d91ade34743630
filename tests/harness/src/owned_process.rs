//! A child process that ends when its [`OwnedProcess`] is dropped.
//!
//! The child's output goes to a file instead of a pipe. So the output can be read at any time, without a reading thread, and a
//! process with much output never blocks. The standard input of the child is a pipe without data. A program that reads the pipe
//! to the end notices the end of the test process, even after a kill. The watchdog ends programs that do not read the pipe.

use std::fs::File;
use std::io;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, waitid};

use crate::watchdog;

/// The time limit for the delivery of a signal. No delivery takes this long.
const SIGNAL_DEADLINE: Duration = Duration::from_secs(5);

/// A child process. Dropping this value kills the process by its id and waits for the end of the process.
pub struct OwnedProcess {
    child: Child,
    is_paused: bool,
}

impl OwnedProcess {
    /// Starts the command, and appends its standard output and error to the file `log`.
    ///
    /// # Errors
    ///
    /// Fails with an error of the system, for example `NotFound` if there is no such program.
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

    /// The exit status, or `None` while the process runs.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        let status = self.child.try_wait();
        let status = status.expect("the status of a child can be asked");
        if status.is_some() {
            watchdog::ended(self.id());
        }
        status
    }

    /// Stops the process (SIGSTOP) and returns when it is stopped.
    pub fn pause(&mut self) {
        // The system reports a stop only once, so a second wait for the stop would fail.
        if self.is_paused {
            return;
        }
        let Some(pid) = self.living() else { return };
        kill_process(pid, Signal::STOP).expect("a living child takes signals");
        // This call waits only for a stop. The exit status is not collected here, because `Child` must collect it.
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

    /// Continues the process (SIGCONT).
    pub fn resume(&mut self) {
        if let Some(pid) = self.living() {
            kill_process(pid, Signal::CONT).expect("a living child takes signals");
        }
        self.is_paused = false;
    }

    /// Kills the process (SIGKILL, which also ends a stopped process) and waits for its end.
    pub fn kill(&mut self) -> ExitStatus {
        // The kill fails only if the process has already ended.
        let _ = self.child.kill();
        watchdog::ended(self.child.id());
        self.child.wait().expect("a child can be waited for")
    }

    /// The process id. `None` if the child has ended: the system can then give the id of the child to another process.
    fn living(&mut self) -> Option<Pid> {
        match self.ended() {
            None => Some(Pid::from_child(&self.child)),
            Some(_) => None,
        }
    }
}

/// Waits until a child has ended, but does not collect its exit status. If the status was collected already, returns at once.
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
