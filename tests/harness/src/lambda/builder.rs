//! How a function is started: its environment, and what of Lambda's own behaviour differs from the ordinary.

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

/// The timeout in `template.yaml`.
const TIMEOUT: Duration = Duration::from_secs(10);
/// How long Lambda lets a function take to start.
const INIT_TIMEOUT: Duration = Duration::from_secs(10);

/// Builds a [`Lambda`].
#[must_use]
pub struct LambdaBuilder {
    program: Program,
    variables: Vec<(String, Option<String>)>,
    timeout: Duration,
    /// By how much later than its timeout a process is killed.
    grace: Duration,
    init_timeout: Duration,
    runs_here: bool,
    concurrency: usize,
    clock: Clock,
    /// By how much the process's clock is off.
    skew: SignedDuration,
}

/// A process that did not ask for its first invocation: it ended before, or took too long.
#[derive(Debug)]
pub struct FailedStart {
    /// How it ended, and what it reported before that.
    pub reason: String,
    /// What it wrote.
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

    /// Sets several.
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

    /// The function's timeout, the template's unless set: an invocation that runs longer costs the process its life.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Lets an invocation run for longer than it is told it may: for machines that are too busy to hold anybody to the moment.
    pub fn grace(mut self, grace: Duration) -> Self {
        self.grace = grace;
        self
    }

    /// How long a process may take until it asks for work, Lambda's time unless set.
    pub fn init_timeout(mut self, timeout: Duration) -> Self {
        self.init_timeout = timeout;
        self
    }

    /// Runs the Runtime API on the caller's runtime, which has one thread, and not on a thread of its own: for a caller that does
    /// nothing while it waits for an answer, and measures how long that takes.
    pub fn runs_here(mut self) -> Self {
        self.runs_here = true;
        self
    }

    /// How many invocations one process takes at a time, as on Lambda Managed Instances; one unless set.
    pub fn concurrency(mut self, concurrency: usize) -> Self {
        self.concurrency = concurrency;
        self
    }

    /// Sends the deadline of `cargo lambda watch`, ten minutes after the beginning of 1970.
    pub fn local_deadlines(mut self) -> Self {
        self.clock = Clock::Local;
        self
    }

    /// Lets the process's wall clock be off by so much, by libfaketime; not at all, and without it, unless set. It is told its
    /// deadlines on that clock.
    pub fn clock_off_by(mut self, skew: SignedDuration) -> Self {
        self.skew = skew;
        self
    }

    /// The file that is started, which this builds if needed; it blocks meanwhile.
    ///
    /// # Panics
    ///
    /// When the workspace does not build; the message is cargo's.
    pub fn binary(&self) -> PathBuf {
        self.program.file()
    }

    /// Builds the workspace if needed, starts the process and returns when it asks for its first invocation.
    ///
    /// # Panics
    ///
    /// When it does not come to that; the message has what it wrote.
    pub async fn start(self) -> Lambda {
        match self.try_start().await {
            Ok(lambda) => lambda,
            Err(failure) => panic!("{failure}"),
        }
    }

    /// The same, for a function that is expected to refuse to start.
    ///
    /// # Errors
    ///
    /// When it does not ask for an invocation.
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
            "the function did not start: {}; it wrote:\n{}",
            self.reason, self.log
        )
    }
}
