//! What every contestant that is written in Rust is told, and the work that all of them do: so that what they do is the
//! same. Ours also has what all our functions have around them (`shared::lambda`, a line in the log per call), with and without;
//! with idempotency it writes a metric per call too, which is part of what that adds.
//!
//! Each contestant includes this file, because a crate between them would be linked into the bare one too.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// What the benchmark tells a contestant.
pub(crate) struct Told {
    /// `BENCH_IDEMPOTENCY`: whether anything stands before the work.
    pub(crate) is_idempotent: bool,
    /// `BENCH_WORK_URL`, without its scheme: who is told of each execution; none: the work is nothing.
    work: Option<String>,
}

/// Work takes no longer.
const LIMIT: Duration = Duration::from_secs(20);

impl Told {
    /// Reads it from the environment.
    pub(crate) fn read() -> Self {
        Self {
            is_idempotent: variable("BENCH_IDEMPOTENCY").as_deref() != Some("off"),
            work: variable("BENCH_WORK_URL").map(|url| url.replacen("http://", "", 1)),
        }
    }

    /// Does the work of a request: tells of the execution, if somebody is to be told, and answers.
    ///
    /// # Errors
    ///
    /// What went wrong; whether the execution was heard of is then not known.
    pub(crate) async fn work(&self, key: &str, body: &[u8]) -> Result<String, &'static str> {
        let order: Value = serde_json::from_slice(body).map_err(|_| "the body is not JSON")?;
        if let Some(url) = &self.work {
            let execution = json!({ "key": key });
            let told = tokio::time::timeout(LIMIT, post(url, &execution)).await;
            told.map_err(|_| "no answer in time")?
                .map_err(|_| "no answer")?;
        }
        let answer = json!({ "run": run(), "amount": order["amount"], "pad": order["pad"] });
        Ok(answer.to_string())
    }
}

/// Sends a JSON text to `host:port/path`, and waits for the 200.
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

/// Thirty-two random digits, made anew for each execution.
fn run() -> String {
    let mut bytes = [0; 16];
    // Linux has random bytes from early in the boot on.
    getrandom::fill(&mut bytes).expect("random bytes");
    format!("{:032x}", u128::from_be_bytes(bytes))
}

/// A variable, if it is set to anything.
#[expect(
    clippy::disallowed_methods,
    reason = "what the benchmark tells a contestant is in its environment"
)]
pub(crate) fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}
