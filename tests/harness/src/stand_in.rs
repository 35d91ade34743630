//! A simulated third-party server: a Python program. It ends when the test process ends, even if the test process is
//! killed.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::owned_process::OwnedProcess;
use crate::{eventually, loopback_port};

/// A running server. Dropping it ends the process.
pub(crate) struct StandIn {
    port: u16,
    _process: OwnedProcess,
    /// The folder of the server's state and log.
    _directory: TempDir,
}

/// The time limit of a start. Even on a busy machine, Python starts faster.
const LIMIT: Duration = Duration::from_secs(60);

/// The shell script that runs the program, with a watcher that kills the program when standard input ends.
const UNTIL_INPUT_ENDS: &str = r#"
    exec 3<&0
    (cat <&3 > /dev/null; kill -9 $$) &
    exec "$0" "$@" < /dev/null
"#;

impl StandIn {
    /// Starts a program. Its arguments are `options`, followed by the port.
    ///
    /// # Panics
    ///
    /// Panics if the program does not start.
    pub(crate) async fn start(program: &Path, options: &[&str]) -> Self {
        let directory = TempDir::new().expect("a directory");
        let port = loopback_port::reserve();
        let mut command = Command::new("sh");
        command
            .args(["-c", UNTIL_INPUT_ENDS])
            .arg(program)
            .args(options)
            .arg(port.to_string())
            .env("TMPDIR", directory.path());
        let log = directory.path().join("server.log");
        let process = OwnedProcess::spawn(&mut command, &log).expect("sh runs");
        let server = Self {
            port,
            _process: process,
            _directory: directory,
        };
        eventually(LIMIT, async || {
            TcpStream::connect(server.address()).await.is_ok()
        })
        .await;
        server
    }

    /// The address of the server.
    pub(crate) fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }

    /// Sends an HTTP/1.0 request that begins with `line` and `headers`. Returns the status and the body of the answer.
    ///
    /// # Panics
    ///
    /// Panics if there is no valid answer.
    pub(crate) async fn call(
        &self,
        line: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> (u16, Value) {
        let headers: String = headers
            .iter()
            .map(|(name, value)| format!("{name}: {value}\r\n"))
            .collect();
        let length = body.len();
        let request = format!(
            "{line} HTTP/1.0\r\nHost: localhost\r\n{headers}Content-Length: {length}\r\n\r\n{body}"
        );
        let mut connection = TcpStream::connect(self.address()).await.expect("connected");
        connection
            .write_all(request.as_bytes())
            .await
            .expect("sent");
        let mut answer = String::new();
        connection
            .read_to_string(&mut answer)
            .await
            .expect("answered");
        let (head, body) = answer.split_once("\r\n\r\n").expect("an HTTP answer");
        let status = head
            .split(' ')
            .nth(1)
            .and_then(|status| status.parse().ok());
        let body = serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {answer}"));
        (status.expect("a status"), body)
    }
}
