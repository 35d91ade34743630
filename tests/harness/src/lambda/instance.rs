//! One process of a function. Each process has its own Runtime API, so that the supervisor can ignore late messages of
//! a killed process.

use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::time::Instant;

use jiff::SignedDuration;
use parking_lot::Mutex;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::event::Event;
use super::{runtime_api, skewed_clock};
use crate::binaries;
use crate::owned_process::{OwnedProcess, wait_for_end};

/// The program that a process runs.
#[derive(Clone)]
pub(super) enum Program {
    Function(String),
    Example(String),
    /// An existing program that serves as a function of this name.
    File(String, PathBuf),
}

/// The settings with which a process starts.
pub(super) struct Launch {
    pub(super) file: PathBuf,
    /// The function's name.
    pub(super) name: String,
    /// The variables to set after Lambda's own variables, each with its value. A variable with the value `None` is
    /// removed.
    pub(super) variables: Vec<(String, Option<String>)>,
    pub(super) concurrency: usize,
    /// The time by which the process's clock is wrong. Zero means the machine's clock, without libfaketime.
    pub(super) skew: SignedDuration,
    pub(super) log: PathBuf,
}

/// A running process. Dropping this value kills the process.
pub(super) struct Instance {
    /// The number of this process among the processes of the function, counted from 1.
    pub(super) number: u64,
    pub(super) started: Instant,
    /// The error that the process sent to `/init/error`.
    pub(super) init_error: Option<String>,
    has_skewed_clock: bool,
    process: Arc<Mutex<OwnedProcess>>,
    /// The tasks of the process's Runtime API, which end with this value.
    _tasks: JoinSet<()>,
}

impl Program {
    pub(super) fn name(&self) -> &str {
        match self {
            Self::Function(name) | Self::Example(name) | Self::File(name, _) => name,
        }
    }

    /// The file of the binary. If the binary belongs to this workspace, it is built first.
    pub(super) fn file(&self) -> PathBuf {
        match self {
            Self::Function(name) => binaries::function(name),
            Self::Example(name) => binaries::example(name),
            Self::File(_, file) => file.clone(),
        }
    }
}

impl Launch {
    /// Starts a process. The process gets none of the harness's own environment variables.
    pub(super) async fn start(
        &self,
        number: u64,
        events: &mpsc::UnboundedSender<Event>,
    ) -> Instance {
        let listener = TcpListener::bind("127.0.0.1:0")
            .await
            .expect("the loopback interface has free ports");
        let runtime_api = listener.local_addr().expect("a listener has an address");
        let mut command = Command::new(&self.file);
        command.env_clear().current_dir("/").envs([
            ("AWS_LAMBDA_RUNTIME_API", runtime_api.to_string().as_str()),
            ("AWS_LAMBDA_FUNCTION_NAME", &self.name),
            ("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST"),
            ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "256"),
            ("AWS_LAMBDA_INITIALIZATION_TYPE", "on-demand"),
            ("AWS_LAMBDA_LOG_FORMAT", "JSON"),
            ("AWS_LAMBDA_LOG_LEVEL", "DEBUG"),
            ("AWS_REGION", "eu-central-1"),
            ("ENVIRONMENT", "development"),
        ]);
        if self.concurrency > 1 {
            command.env("AWS_LAMBDA_MAX_CONCURRENCY", self.concurrency.to_string());
        }
        for (name, value) in &self.variables {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        let has_skewed_clock = !self.skew.is_zero();
        if has_skewed_clock {
            command.envs(skewed_clock::variables(self.skew));
        }
        let started = Instant::now();
        let process = OwnedProcess::spawn(&mut command, &self.log)
            .unwrap_or_else(|error| panic!("`{}` does not start: {error}", self.file.display()));
        let process = Arc::new(Mutex::new(process));
        let mut tasks = JoinSet::new();
        tasks.spawn(runtime_api::serve(listener, number, events.clone()));
        watch(Arc::clone(&process), number, events.clone());
        Instance {
            number,
            started,
            init_error: None,
            has_skewed_clock,
            process,
            _tasks: tasks,
        }
    }
}

impl Instance {
    pub(super) fn id(&self) -> u32 {
        self.process.lock().id()
    }

    pub(super) fn freeze(&self) {
        self.process.lock().pause();
    }

    pub(super) fn thaw(&self) {
        self.process.lock().resume();
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        // Dropping `process` does not kill it, because the watching thread also holds it until the process has ended.
        self.process.lock().kill();
        if self.has_skewed_clock {
            skewed_clock::clean_up(self.id());
        }
    }
}

/// Reports the end of a process. A thread sleeps until the process ends, so watching does not slow the process.
fn watch(process: Arc<Mutex<OwnedProcess>>, instance: u64, events: mpsc::UnboundedSender<Event>) {
    let id = process.lock().id();
    std::thread::spawn(move || {
        wait_for_end(id);
        let ended = process.lock().ended();
        if let Some(status) = ended {
            // Sending fails only after the receiver has ended.
            let _ = events.send(Event::Ended { instance, status });
        }
    });
}
