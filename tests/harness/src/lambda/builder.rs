//! Starts a function with environment variables, and with deviations from Lambda's usual behaviour.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use jiff::SignedDuration;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

use super::event::Event;
use super::instance::{Launch, Program};
use super::log::FunctionLog;
use super::status::Status;
use super::supervisor::{Clock, Limits, Supervisor};
use super::{Home, Lambda};
use crate::background_runtime::BackgroundRuntime;
use crate::secrets::Secrets;

/// The default timeout in `template.yaml`.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Lambda's limit for the start of a function.
const INIT_TIMEOUT: Duration = Duration::from_secs(10);

/// Builds a [`Lambda`].
#[must_use]
pub struct LambdaBuilder {
    program: Program,
    variables: Vec<(String, Option<String>)>,
    timeout: Duration,
    /// The time between the timeout and the kill of the process.
    grace: Duration,
    init_timeout: Duration,
    runs_here: bool,
    concurrency: usize,
    clock: Clock,
    /// The time by which the process's clock is wrong.
    skew: SignedDuration,
}

/// A process that ended or timed out before it requested its first invocation.
#[derive(Debug)]
pub struct FailedStart {
    /// The reason, and the error that the process reported before it ended.
    pub reason: String,
    /// The output of the process.
    pub log: String,
}

impl LambdaBuilder {
    pub(super) fn new(program: Program) -> Self {
        Self {
            program,
            variables: Vec::new(),
            timeout: TIMEOUT,
            grace: Duration::ZERO,
            init_timeout: INIT_TIMEOUT,
            runs_here: false,
            concurrency: 1,
            clock: Clock::Real,
            skew: SignedDuration::ZERO,
        }
    }

    /// Sets an environment variable.
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.variables
            .push((name.to_owned(), Some(value.to_owned())));
        self
    }

    /// Sets several environment variables.
    pub fn envs(self, variables: &[(&str, &str)]) -> Self {
        variables
            .iter()
            .fold(self, |builder, (name, value)| builder.env(name, value))
    }

    /// Removes a variable that Lambda or the harness sets.
    pub fn unset(mut self, name: &str) -> Self {
        self.variables.push((name.to_owned(), None));
        self
    }

    /// Sets the function's timeout. The default is the timeout in the template. If an invocation runs longer, its process is
    /// killed.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Sets the time between the timeout and the kill of the process, for machines that are too busy for exact times.
    pub fn grace(mut self, grace: Duration) -> Self {
        self.grace = grace;
        self
    }

    /// Sets the time within which a process must request its first invocation. The default is Lambda's limit.
    pub fn init_timeout(mut self, timeout: Duration) -> Self {
        self.init_timeout = timeout;
        self
    }

    /// Runs the Runtime API on the caller's single-threaded runtime instead of a separate thread. This setting is for a caller
    /// that only waits for the answer and measures the time.
    pub fn runs_here(mut self) -> Self {
        self.runs_here = true;
        self
    }

    /// Sets the number of concurrent invocations of one process, as on Lambda Managed Instances. The default is one.
    pub fn concurrency(mut self, concurrency: usize) -> Self {
        self.concurrency = concurrency;
        self
    }

    /// Sends the deadline that `cargo lambda watch` sends: always ten minutes after the start of 1970.
    pub fn local_deadlines(mut self) -> Self {
        self.clock = Clock::Local;
        self
    }

    /// Adds `skew` to the process's wall clock and to the deadlines that the process gets. By default, the process uses the
    /// machine's clock. Otherwise it uses libfaketime.
    pub fn clock_off_by(mut self, skew: SignedDuration) -> Self {
        self.skew = skew;
        self
    }

    /// The file of the program. If needed, this function builds the program, and blocks during the build.
    ///
    /// # Panics
    ///
    /// Panics with cargo's message if the workspace does not build.
    pub fn binary(&self) -> PathBuf {
        self.program.file()
    }

    /// Builds the workspace if needed, and starts the process. Returns when the process requests its first invocation.
    ///
    /// # Panics
    ///
    /// Panics if the process does not request an invocation. The message has the process's output.
    pub async fn start(self) -> Lambda {
        match self.try_start().await {
            Ok(lambda) => lambda,
            Err(failure) => panic!("{failure}"),
        }
    }

    /// Starts a function whose start can fail.
    ///
    /// # Errors
    ///
    /// Fails if the process does not request an invocation.
    pub async fn try_start(self) -> Result<Lambda, FailedStart> {
        let program = self.program.clone();
        let file = tokio::task::spawn_blocking(move || program.file()).await;
        let file = file.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()));

        let log = Arc::new(FunctionLog::new());
        let status = Arc::new(Status::default());
        let (events, inbox) = mpsc::unbounded_channel();
        let launch = Launch {
            file,
            name: self.program.name().to_owned(),
            variables: self.variables,
            concurrency: self.concurrency,
            skew: self.skew,
            log: log.file(),
        };
        let limits = Limits {
            timeout: self.timeout,
            grace: self.grace,
            init_timeout: self.init_timeout,
            concurrency: self.concurrency,
            clock: self.clock,
            skew: self.skew,
        };
        let supervisor = Supervisor::new(launch, limits, Arc::clone(&status), events.clone());
        let supervised = supervisor.run(inbox);
        let home = if self.runs_here {
            let mut tasks = JoinSet::new();
            tasks.spawn(supervised);
            Home::Callers(tasks)
        } else {
            let runtime = BackgroundRuntime::start("lambda");
            runtime.spawn(supervised);
            Home::Own(runtime)
        };
        let lambda = Lambda {
            events,
            status,
            log,
            secrets: Arc::new(Secrets::default()),
            _home: home,
        };

        let (started, result) = oneshot::channel();
        lambda.send(Event::Start(started));
        match result.await.expect("the Runtime API reports every start") {
            Ok(()) => Ok(lambda),
            Err(reason) => Err(FailedStart {
                reason,
                log: lambda.log_text(),
            }),
        }
    }
}

impl fmt::Display for FailedStart {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "the function did not start: {}; its output:\n{}",
            self.reason, self.log
        )
    }
}
