//! Simulates Lambda around a real built binary (<https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html>): the Runtime
//! API, a clean environment, and freeze and thaw. At a timeout, the process is killed. After a crash, a new process starts.
//!
//! The Runtime API runs on its own thread, so that a busy test does not slow the function. The benchmark runs the Runtime API
//! on its own runtime instead. The harness checks that every answer to an HTTP request follows the rules for all answers (see
//! [`answer`](crate::answer)). [`Lambda::invoke`] returns the raw result of an event.

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

/// The time limit for a process to become idle before a freeze. Every invocation in a test takes less time.
const REST_DEADLINE: Duration = Duration::from_secs(10);

/// One execution environment of one function. Dropping it kills the process.
pub struct Lambda {
    events: mpsc::UnboundedSender<Event>,
    status: Arc<Status>,
    log: Arc<FunctionLog>,
    secrets: Arc<Secrets>,
    /// The runtime of the Runtime API. Dropping this value ends the Runtime API and the process.
    _home: Home,
}

/// The tokio runtime on which the Runtime API runs.
#[expect(dead_code, reason = "the values are held only to be dropped")]
enum Home {
    /// A runtime on its own thread.
    Own(BackgroundRuntime),
    /// The caller's runtime. The value holds the tasks that run the Runtime API.
    Callers(JoinSet<()>),
}

impl Lambda {
    /// Builds a Lambda that runs a function of this workspace. `name` is the name of the function's binary.
    pub fn function(name: &str) -> LambdaBuilder {
        LambdaBuilder::new(Program::Function(name.to_owned()))
    }

    /// Builds a Lambda whose function is an example of the `tests` crate (`tests/examples/<name>.rs`).
    pub fn example(name: &str) -> LambdaBuilder {
        LambdaBuilder::new(Program::Example(name.to_owned()))
    }

    /// Builds a Lambda whose function has the name `name` and runs the existing program `file`.
    pub fn program(name: &str, file: PathBuf) -> LambdaBuilder {
        LambdaBuilder::new(Program::File(name.to_owned(), file))
    }

    /// Sends an event to the function, and returns the outcome of the invocation.
    pub async fn invoke(&self, event: Value) -> Outcome {
        self.invoke_bytes(event.to_string()).await.parsed()
    }

    /// Sends the bytes of an event, and returns the outcome with the bytes of the answer. The event and the answer can be
    /// invalid JSON.
    pub async fn invoke_bytes(&self, event: impl Into<Bytes>) -> Outcome<Bytes> {
        self.hand_over(event.into()).await.await.outcome
    }

    /// Sends an event without waiting for the outcome. The returned future waits for the outcome. The harness does not check this
    /// outcome.
    pub async fn hand_over(&self, event: Bytes) -> impl Future<Output = Settled> + use<> {
        settled(self.enqueue(event).await)
    }

    /// Sends a `GET` request for a path and returns the checked answer.
    pub async fn get(&self, path: &str) -> Answer {
        self.request(TestRequest::get(path)).await
    }

    /// Sends a `HEAD` request for a path and returns the checked answer.
    pub async fn head(&self, path: &str) -> Answer {
        self.request(TestRequest::head(path)).await
    }

    /// Sends a request and returns the checked answer.
    ///
    /// # Panics
    ///
    /// Panics if the function fails, times out or crashes, or if the answer breaks a rule.
    pub async fn request(&self, request: TestRequest) -> Answer {
        self.queue(request).await.await
    }

    /// Sends a request without waiting for the answer. To get the answer, await the returned value.
    ///
    /// If a process waits for work, this function returns when the request is in the process's socket. A frozen process finds
    /// the request after the thaw, as on Lambda.
    pub async fn queue(&self, request: TestRequest) -> Pending {
        let settled = self.enqueue(request.event().to_string().into()).await;
        Pending {
            request,
            settled,
            log: Arc::clone(&self.log),
            secrets: Arc::clone(&self.secrets),
        }
    }

    /// Freezes the process as Lambda does: waits until the process requests the next invocation, then stops the process
    /// (SIGSTOP).
    ///
    /// # Panics
    ///
    /// Panics if no process runs, or if an invocation does not end.
    pub async fn freeze(&self) {
        let (done, frozen) = oneshot::channel();
        self.send(Event::Freeze(done));
        let frozen = tokio::time::timeout(REST_DEADLINE, frozen).await;
        assert!(
            matches!(frozen, Ok(Ok(()))),
            "the process does not become idle:\n{}",
            self.log_text()
        );
    }

    /// Stops the process (SIGSTOP) at once, even in the middle of an invocation.
    pub async fn suspend(&self) {
        self.ask(Event::Suspend).await;
    }

    /// Continues the process (SIGCONT).
    pub async fn thaw(&self) {
        self.ask(Event::Thaw).await;
    }

    /// Kills the process, as Lambda does when it removes an environment. The next request causes a cold start.
    pub async fn stop(&self) {
        self.ask(Event::Stop).await;
    }

    /// The time from the start of the latest process to its first request for work.
    pub fn init_duration(&self) -> Duration {
        self.status.init_duration().expect("a process has started")
    }

    /// The start time of the latest process.
    pub fn started(&self) -> Instant {
        self.status.started().expect("a process has started")
    }

    /// The number of processes started so far.
    pub fn processes(&self) -> u64 {
        self.status.processes()
    }

    /// The process id.
    ///
    /// # Panics
    ///
    /// Panics if no process is running (it has crashed, timed out or been stopped).
    pub fn pid(&self) -> u32 {
        self.status.pid().expect("a process is running")
    }

    /// The process's resident memory, in bytes. This works only on Linux.
    ///
    /// # Panics
    ///
    /// Panics if no process is running, or if the system has no `/proc`.
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

    /// Registers a text that must never appear in an answer or in the log. The harness checks every answer.
    pub fn plant_secret(&self, secret: &str) {
        self.secrets.plant(secret);
    }

    /// The lines that all processes of the function wrote to standard output and error.
    pub fn logs(&self) -> Vec<String> {
        self.log_text().lines().map(str::to_owned).collect()
    }

    /// The whole log as one text.
    pub fn log_text(&self) -> String {
        self.log.text()
    }

    /// Returns the lines of the log that are JSON, as parsed values.
    pub fn log_events(&self) -> Vec<Value> {
        self.logs()
            .iter()
            .filter_map(|line| serde_json::from_str(line).ok())
            .collect()
    }

    /// Searches the log for planted secrets.
    ///
    /// # Panics
    ///
    /// Panics if the log contains a planted secret.
    pub fn assert_no_secret_in_logs(&self) {
        self.secrets.assert_absent("the log", &self.log_text());
    }

    /// Checks that every line of the log is a JSON object with an RFC 3339 `timestamp` and a `level`. Lambda needs both to
    /// filter by level.
    ///
    /// # Panics
    ///
    /// Panics if a line is malformed.
    pub fn assert_logs_are_well_formed(&self) {
        self.log.assert_well_formed();
    }

    /// Sends an event and returns the receiver of its outcome.
    async fn enqueue(&self, event: Bytes) -> oneshot::Receiver<Settled> {
        let (invocation, settled) = Invocation::new(event);
        self.ask(|handed_over| Event::Invoke {
            invocation,
            handed_over,
        })
        .await;
        settled
    }

    /// Sends a message to the supervisor, and waits until the supervisor uses or drops the sender in the message.
    async fn ask(&self, event: impl FnOnce(oneshot::Sender<()>) -> Event) {
        let (done, answer) = oneshot::channel();
        self.send(event(done));
        // An error means that the supervisor dropped the sender. Then the wait is over too.
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
