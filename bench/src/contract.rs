//! The settings of every Rust contestant, and the work that all contestants do.
//!
//! The contestant of this workspace also has the common parts of its functions (`shared::lambda`, a log line per call), with and
//! without idempotency. With idempotency it also writes a metric per call, which counts as added cost.
//!
//! Each contestant includes this file. A shared crate would be linked into the bare contestant too.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// The benchmark's settings for a contestant.
pub(crate) struct ContestantSettings {
    /// `BENCH_IDEMPOTENCY`: whether idempotency protects the work.
    pub(crate) is_idempotent: bool,
    /// `BENCH_WORK_URL` without its scheme: the address that gets a request for each execution. `None` if the variable is not
    /// set; then no execution is reported.
    work: Option<String>,
}

/// The time limit of a request to `BENCH_WORK_URL`.
const LIMIT: Duration = Duration::from_secs(20);

impl ContestantSettings {
    /// Reads the settings from the environment.
    pub(crate) fn read() -> Self {
        Self {
            is_idempotent: variable("BENCH_IDEMPOTENCY").as_deref() != Some("off"),
            work: variable("BENCH_WORK_URL").map(|url| url.replacen("http://", "", 1)),
        }
    }

    /// Does the work of a request: reports the execution to `BENCH_WORK_URL` if that variable is set, and returns the answer.
    ///
    /// # Errors
    ///
    /// Fails with the reason. It is then unknown whether the execution was reported.
    pub(crate) async fn work(&self, key: &str, body: &[u8]) -> Result<String, &'static str> {
        let order: Value = serde_json::from_slice(body).map_err(|_| "the body is not JSON")?;
        if let Some(url) = &self.work {
            let execution = json!({ "key": key });
            let posted = tokio::time::timeout(LIMIT, post(url, &execution)).await;
            posted.map_err(|_| "timed out")?.map_err(|_| "no answer")?;
        }
        let answer = json!({ "run": run(), "amount": order["amount"], "pad": order["pad"] });
        Ok(answer.to_string())
    }
}

/// Sends JSON to `host:port/path` and waits for the status 200.
async fn post(url: &str, body: &Value) -> std::io::Result<()> {
    let (host, path) = url.split_once('/').unwrap_or((url, ""));
    let body = body.to_string();
    let request = format!(
        "POST /{path} HTTP/1.1\r\nhost: {host}\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    );
    let mut stream = TcpStream::connect(host).await?;
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    match answer.starts_with(b"HTTP/1.1 200") {
        true => Ok(()),
        false => Err(std::io::ErrorKind::InvalidData.into()),
    }
}

/// A new id of an execution: 32 random hexadecimal digits.
fn run() -> String {
    let mut bytes = [0; 16];
    // Linux can return random bytes as soon as programs run.
    getrandom::fill(&mut bytes).expect("random bytes");
    format!("{:032x}", u128::from_be_bytes(bytes))
}

/// The value of an environment variable; `None` if it is not set or empty.
#[expect(
    clippy::disallowed_methods,
    reason = "a contestant's settings are environment variables"
)]
pub(crate) fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}
