//! One process of a contestant under a Runtime API of its own.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use harness::OwnedProcess;
use parking_lot::Mutex;
use serde_json::Value;

use crate::contestant::Program;
use crate::order::Order;
use crate::runtime_api::{Answered, Call, RuntimeApi};
use crate::settings;

/// A running process; dropping it kills it.
pub(crate) struct Function {
    api: RuntimeApi,
    process: Mutex<OwnedProcess>,
    log: PathBuf,
    /// When it was started.
    pub(crate) started: Instant,
    /// From there to its first request for work.
    pub(crate) start_took: Duration,
}

/// How it is started.
pub(crate) struct Launch<'a> {
    pub(crate) program: Program,
    pub(crate) variables: Vec<(&'static str, String)>,
    /// The time that an invocation has.
    pub(crate) timeout: Duration,
    /// The folder of its log.
    pub(crate) logs: &'a Path,
}

/// An answer as the client of an API sees it.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    /// The function's, or 502 where it failed.
    pub(crate) status: u16,
    pub(crate) body: String,
    pub(crate) at: Instant,
    /// From handing the event over to having the whole answer.
    pub(crate) took: Duration,
}

/// Longer than the slowest of them needs to start on a busy machine.
const START_LIMIT: Duration = Duration::from_secs(60);
const WATCH_INTERVAL: Duration = Duration::from_millis(20);
/// How much of a log an error shows, in bytes.
const END_OF_LOG: usize = 2_000;
/// Longer than any call takes.
const CALL_LIMIT: Duration = Duration::from_secs(60);

impl Function {
    /// Starts the process and returns when it asks for work.
    ///
    /// # Errors
    ///
    /// Why it does not, and what it wrote.
    pub(crate) async fn start(launch: Launch<'_>) -> Result<Self, String> {
        let Launch {
            program,
            variables,
            timeout,
            logs,
        } = launch;
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let (name, file) = (program.name(), program.file());
        if !file.is_file() {
            return Err(format!("`{name}` is not there: {}", program.remedy()));
        }
        let api = RuntimeApi::start(timeout).await;
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let log = logs.join(format!("{name}-{number}.log"));
        let mut command = Command::new(file);
        command.env_clear().current_dir("/");
        if let Program::Folder(_) = program {
            command.envs(settings::surroundings());
        }
        command.envs([
            ("AWS_LAMBDA_RUNTIME_API", api.address().to_string().as_str()),
            ("AWS_LAMBDA_FUNCTION_NAME", name),
            ("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST"),
            ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "512"),
            ("AWS_LAMBDA_INITIALIZATION_TYPE", "on-demand"),
            ("AWS_REGION", "eu-central-1"),
        ]);
        command.envs(variables);
        let started = Instant::now();
        let mut process = OwnedProcess::spawn(&mut command, &log)
            .map_err(|error| format!("`{name}` cannot be started: {error}"))?;
        let asked_at = loop {
            let asked = tokio::time::timeout(WATCH_INTERVAL, api.asked_at()).await;
            let why = match (asked, process.ended()) {
                (Ok(asked_at), _) => break asked_at,
                (Err(_), Some(status)) => format!("ended ({status})"),
                (Err(_), None) if started.elapsed() > START_LIMIT => "asked for no work".to_owned(),
                (Err(_), None) => continue,
            };
            return Err(format!(
                "`{name}` does not run: it {why}. {}: {}",
                capitalised(program.remedy()),
                end_of(&log)
            ));
        };
        Ok(Self {
            api,
            process: Mutex::new(process),
            log,
            started,
            start_took: asked_at - started,
        })
    }

    /// Sends a request and waits for its answer.
    ///
    /// # Panics
    ///
    /// When none comes.
    pub(crate) async fn send(&self, order: &Order) -> Answer {
        let answer = self.send_event(order.event()).await;
        answer.unwrap_or_else(|why| panic!("{why}"))
    }

    /// The same with an event that was made, for whom it may be too much.
    ///
    /// # Errors
    ///
    /// Why no answer came.
    pub(crate) async fn send_event(&self, event: Bytes) -> Result<Answer, String> {
        let answered = async { answer_of(self.api.call(event).await.answered().await) };
        let answered = tokio::time::timeout(CALL_LIMIT, answered).await;
        answered.map_err(|_| self.silence())
    }

    /// Hands a request over; the answer is [`answer`]'s.
    ///
    /// # Panics
    ///
    /// When the process takes none.
    pub(crate) async fn begin(&self, order: &Order) -> Call {
        let call = tokio::time::timeout(CALL_LIMIT, self.api.call(order.event())).await;
        call.unwrap_or_else(|_| panic!("{}", self.silence()))
    }

    /// What can be said of a process that neither answers nor asks for work.
    fn silence(&self) -> String {
        let state = match self.process.lock().ended() {
            Some(status) => format!("it has ended ({status})"),
            None => "it runs".to_owned(),
        };
        format!(
            "nothing within {CALL_LIMIT:?}, {state}: {}",
            end_of(&self.log)
        )
    }

    /// Its resident memory, in bytes.
    ///
    /// # Panics
    ///
    /// When it has ended, or where there is no `/proc`.
    pub(crate) fn rss_bytes(&self) -> u64 {
        let file = format!("/proc/{}/status", self.process.lock().id());
        let status = std::fs::read_to_string(&file);
        let status = status.unwrap_or_else(|error| panic!("{file}: {error}"));
        let kilobytes = status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:")?.split_whitespace().next());
        let kilobytes: Option<u64> = kilobytes.and_then(|kilobytes| kilobytes.parse().ok());
        kilobytes.unwrap_or_else(|| panic!("no VmRSS in {file}")) * 1024
    }

    /// The words of its command line, and where Node looks for packages: among them is the folder that it was installed in.
    pub(crate) fn whereabouts(&self) -> Vec<String> {
        let id = self.process.lock().id();
        let read = |file| std::fs::read_to_string(format!("/proc/{id}/{file}")).unwrap_or_default();
        let (command_line, environment) = (read("cmdline"), read("environ"));
        let packages = environment
            .split('\0')
            .filter_map(|pair| pair.strip_prefix("NODE_PATH="));
        let words = command_line.split('\0').chain(packages);
        words.map(str::to_owned).collect()
    }

    /// Stops it where it stands.
    pub(crate) fn freeze(&self) {
        self.process.lock().pause();
    }

    /// Lets it go on.
    pub(crate) fn thaw(&self) {
        self.process.lock().resume();
    }

    /// Kills it.
    pub(crate) fn kill(&self) {
        self.process.lock().kill();
    }
}

/// The answer to a request, if it comes within `limit`.
pub(crate) async fn answer(call: Call, limit: Duration) -> Option<Answer> {
    let answered = tokio::time::timeout(limit, call.answered()).await.ok()?;
    Some(answer_of(answered))
}

/// What API Gateway makes of what a function said.
fn answer_of(answered: Answered) -> Answer {
    let Answered { said, at, took } = answered;
    let (status, body) = match said {
        Ok(said) => {
            let mut response: Value = serde_json::from_slice(&said).unwrap_or_default();
            let status = response["statusCode"].as_u64().unwrap_or(502);
            let body = match response["body"].take() {
                Value::String(body) => body,
                _ => String::new(),
            };
            (u16::try_from(status).unwrap_or(502), body)
        }
        Err(error) => (502, String::from_utf8_lossy(&error).into_owned()),
    };
    Answer {
        status,
        body,
        at,
        took,
    }
}

/// The last of what a process wrote, in one line.
fn end_of(log: &Path) -> String {
    let said = std::fs::read(log).unwrap_or_default();
    let end = &said[said.len().saturating_sub(END_OF_LOG)..];
    String::from_utf8_lossy(end).replace('\n', " / ")
}

fn capitalised(text: &str) -> String {
    let (first, rest) = text.split_at(1);
    first.to_uppercase() + rest
}
