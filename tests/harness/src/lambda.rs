//! Lambda, as far as a function can tell: the Runtime API in front of a real built binary, with a clean environment,
//! freeze and thaw, timeouts that kill, and a new process after a crash
//! (<https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html>).
//!
//! The Runtime API lives on a thread of its own, so a busy test does not slow the function; the benchmark has it on its own thread. Every answer to an HTTP
//! request is checked for the facts that hold for all of them (see [`answer`](crate::answer)); the raw result of an
//! event is [`Lambda::invoke`]'s.

mod builder;
mod event;
mod instance;
mod invocation;
mod log;
mod pending;
mod runtime_api;
mod skewed_clock;
mod status;
mod supervisor;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use serde_json::Value;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

pub use self::builder::{FailedStart, LambdaBuilder};
use self::event::Event;
use self::instance::Program;
use self::invocation::Invocation;
pub use self::invocation::{Outcome, Settled};
use self::log::FunctionLog;
pub use self::pending::Pending;
use self::status::Status;
pub use self::supervisor::STOPPED;
use crate::answer::Answer;
use crate::background_runtime::BackgroundRuntime;
use crate::secrets::Secrets;
use crate::test_request::TestRequest;

/// Longer than any invocation of a test still runs when the test wants the process frozen.
const REST_DEADLINE: Duration = Duration::from_secs(10);

/// One execution environment of one function; dropping it kills the process.
pub struct Lambda {
    events: mpsc::UnboundedSender<Event>,
    status: Arc<Status>,
    log: Arc<FunctionLog>,
    secrets: Arc<Secrets>,
    /// Runs the Runtime API; its end is the process's end.
    _home: Home,
}

/// Where the Runtime API runs.
#[expect(dead_code, reason = "what they hold is there to be dropped")]
enum Home {
    /// On a thread of its own.
    Own(BackgroundRuntime),
    /// On the caller's runtime.
    Callers(JoinSet<()>),
}

impl Lambda {
    /// A function of the workspace, by the name of its binary.
    pub fn function(name: &str) -> LambdaBuilder {
        LambdaBuilder::new(Program::Function(name.to_owned()))
    }

    /// An example of the `tests` crate (`tests/examples/<name>.rs`) that serves as a function.
    pub fn example(name: &str) -> LambdaBuilder {
        LambdaBuilder::new(Program::Example(name.to_owned()))
    }

    /// A program that is there already and serves as a function of this name.
    pub fn program(name: &str, file: PathBuf) -> LambdaBuilder {
        LambdaBuilder::new(Program::File(name.to_owned(), file))
    }

    /// Sends an event as it is and returns what became of it.
    pub async fn invoke(&self, event: Value) -> Outcome {
        self.invoke_bytes(event.to_string()).await.parsed()
    }

    /// The same with an event and an answer byte for byte, JSON or not.
    pub async fn invoke_bytes(&self, event: impl Into<Bytes>) -> Outcome<Bytes> {
        self.hand_over(event.into()).await.await.outcome
    }

    /// Hands an event over without waiting for its end, which is the returned value's. An answer is returned as it is, unchecked.
    pub async fn hand_over(&self, event: Bytes) -> impl Future<Output = Settled> + use<> {
        settled(self.enqueue(event).await)
    }

    /// `GET` of a path.
    pub async fn get(&self, path: &str) -> Answer {
        self.request(TestRequest::get(path)).await
    }

    /// `HEAD` of a path.
    pub async fn head(&self, path: &str) -> Answer {
        self.request(TestRequest::head(path)).await
    }

    /// Sends a request and returns the checked answer.
    ///
    /// # Panics
    ///
    /// When there is none (the function failed, timed out or crashed), or when it breaks a rule.
    pub async fn request(&self, request: TestRequest) -> Answer {
        self.queue(request).await.await
    }

    /// Hands a request over without waiting for the answer, which is the returned value's, once awaited.
    ///
    /// When a process waits for work, the request has been written to its socket when this returns: a frozen
    /// process finds it on waking, as on Lambda.
    pub async fn queue(&self, request: TestRequest) -> Pending {
        let settled = self.enqueue(request.event().to_string().into()).await;
        Pending {
            request,
            settled,
            log: Arc::clone(&self.log),
            secrets: Arc::clone(&self.secrets),
        }
    }

    /// Stops the process (SIGSTOP) as Lambda does between invocations: it waits until the process has asked for
    /// the next one.
    ///
    /// # Panics
    ///
    /// When there is no process, or when an invocation does not end.
    pub async fn freeze(&self) {
        let (done, frozen) = oneshot::channel();
        self.send(Event::Freeze(done));
        let frozen = tokio::time::timeout(REST_DEADLINE, frozen).await;
        assert!(
            matches!(frozen, Ok(Ok(()))),
            "the process does not come to rest:\n{}",
            self.log_text()
        );
    }

    /// Stops the process (SIGSTOP) where it stands, in the middle of an invocation or not.
    pub async fn suspend(&self) {
        self.ask(Event::Suspend).await;
    }

    /// Lets the process go on (SIGCONT).
    pub async fn thaw(&self) {
        self.ask(Event::Thaw).await;
    }

    /// Kills the process, as Lambda retires an environment. The next request starts a new one: a cold start.
    pub async fn stop(&self) {
        self.ask(Event::Stop).await;
    }

    /// How long the latest process took from its start to its first request for work.
    pub fn init_duration(&self) -> Duration {
        self.status.init_duration().expect("a process has started")
    }

    /// When the latest process was started.
    pub fn started(&self) -> Instant {
        self.status.started().expect("a process has started")
    }

    /// How many processes have been started, the first one included.
    pub fn processes(&self) -> u64 {
        self.status.processes()
    }

    /// The process id.
    ///
    /// # Panics
    ///
    /// When no process is running (it has crashed, timed out or been stopped).
    pub fn pid(&self) -> u32 {
        self.status.pid().expect("a process is running")
    }

    /// The process's resident memory, in bytes. Linux only.
    ///
    /// # Panics
    ///
    /// When no process is running, or where there is no `/proc`.
    pub fn rss_bytes(&self) -> u64 {
        let file = format!("/proc/{}/status", self.pid());
        let status =
            std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{file}: {error}"));
        let kilobytes = status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:")?.split_whitespace().next());
        let kilobytes: Option<u64> = kilobytes.and_then(|kilobytes| kilobytes.parse().ok());
        kilobytes.unwrap_or_else(|| panic!("no VmRSS in {file}")) * 1024
    }

    /// What must never show in an answer (checked on every one) or in the log.
    pub fn plant_secret(&self, secret: &str) {
        self.secrets.plant(secret);
    }

    /// The lines that the function has written to standard output and error, over all its processes.
    pub fn logs(&self) -> Vec<String> {
        self.log_text().lines().map(str::to_owned).collect()
    }

    /// The same in one piece.
    pub fn log_text(&self) -> String {
        self.log.text()
    }

    /// The lines that are JSON, parsed.
    pub fn log_events(&self) -> Vec<Value> {
        self.logs()
            .iter()
            .filter_map(|line| serde_json::from_str(line).ok())
            .collect()
    }

    /// Looks for every planted secret in the log.
    ///
    /// # Panics
    ///
    /// When a planted secret is in the log.
    pub fn assert_no_secret_in_logs(&self) {
        self.secrets.assert_absent("the log", &self.log_text());
    }

    /// Every line is one JSON object with an RFC 3339 `timestamp` and a `level`, without which Lambda does not
    /// know what it may drop.
    ///
    /// # Panics
    ///
    /// When a line is not.
    pub fn assert_logs_are_well_formed(&self) {
        self.log.assert_well_formed();
    }

    /// Hands an event over; returns where its outcome will come from.
    async fn enqueue(&self, event: Bytes) -> oneshot::Receiver<Settled> {
        let (invocation, settled) = Invocation::new(event);
        self.ask(|handed_over| Event::Invoke {
            invocation,
            handed_over,
        })
        .await;
        settled
    }

    /// Sends an event and waits until the supervisor drops or uses the sender that it carries.
    async fn ask(&self, event: impl FnOnce(oneshot::Sender<()>) -> Event) {
        let (done, answer) = oneshot::channel();
        self.send(event(done));
        // An error says that the sender was dropped, which is an answer too.
        let _ = answer.await;
    }

    fn send(&self, event: Event) {
        assert!(
            self.events.send(event).is_ok(),
            "the Runtime API has panicked; see above"
        );
    }
}

/// Waits for the end of an invocation.
async fn settled(settled: oneshot::Receiver<Settled>) -> Settled {
    settled
        .await
        .expect("the Runtime API settles every invocation before it ends")
}

#[cfg(test)]
mod tests;
