//! A Stripe-compatible server that we did not write: localstripe, from PyPI.
//!
//! It keeps the state machine of payment intents in memory, knows no idempotency keys (so every `create` makes another intent,
//! as a provider does that has forgotten them), and ends when the test process does, however that ends.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::owned_process::OwnedProcess;
use crate::percent_encoding::percent_encoded;
use crate::{environment, eventually, loopback_port};

/// A running server; dropping it ends the process.
pub struct StripeServer {
    port: u16,
    _process: OwnedProcess,
    /// Where it keeps its state, and its log.
    _directory: TempDir,
}

/// An API key that it accepts.
pub const STRIPE_TEST_KEY: &str = "sk_test_planted_0123456789";

/// Longer than Python takes to start on a busy machine.
const LIMIT: Duration = Duration::from_secs(60);

/// Becomes localstripe, beside a watcher that ends it when standard input ends.
const UNTIL_INPUT_ENDS: &str = r#"
    exec 3<&0
    (cat <&3 > /dev/null; kill -9 $$) &
    exec "$0" --from-scratch --port "$1" < /dev/null
"#;

impl StripeServer {
    /// A server without payments.
    ///
    /// # Panics
    ///
    /// When localstripe is not installed, or does not start.
    pub async fn start() -> Self {
        let program = environment::localstripe()
            .expect("localstripe is needed: run `scripts/install localstripe`");
        let directory = TempDir::new().expect("a directory");
        let port = loopback_port::reserve();
        let mut command = Command::new("sh");
        command
            .args(["-c", UNTIL_INPUT_ENDS])
            .arg(program)
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

    /// The address that it listens on.
    pub fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }

    /// Its URL, or that of a proxy in front of it.
    pub fn url_at(address: SocketAddr) -> String {
        format!("http://{address}/")
    }

    /// The statuses of all payment intents, in alphabetical order.
    pub async fn intents(&self) -> Vec<String> {
        let listed = self.call("GET", "/v1/payment_intents?limit=100", &[]).await;
        let mut statuses: Vec<_> = listed["data"]
            .as_array()
            .expect("a list")
            .iter()
            .map(|intent| intent["status"].as_str().expect("a status").to_owned())
            .collect();
        statuses.sort();
        statuses
    }

    /// One payment intent.
    pub async fn intent(&self, id: &str) -> Value {
        self.call("GET", &format!("/v1/payment_intents/{id}"), &[])
            .await
    }

    /// The name of a new card with this number.
    pub async fn card(&self, number: &str) -> String {
        let form = [
            ("type", "card"),
            ("card[number]", number),
            ("card[exp_month]", "12"),
            ("card[exp_year]", "2030"),
            ("card[cvc]", "123"),
        ];
        let card = self.call("POST", "/v1/payment_methods", &form).await;
        card["id"].as_str().expect("a card").to_owned()
    }

    /// The customer authenticates a payment, or fails to.
    pub async fn authenticate(&self, intent: &str, client_secret: &str, success: bool) {
        let success = success.to_string();
        let form = [("client_secret", client_secret), ("success", &success)];
        let path = format!("/v1/payment_intents/{intent}/_authenticate");
        self.call("POST", &path, &form).await;
    }

    async fn call(&self, method: &str, path: &str, form: &[(&str, &str)]) -> Value {
        let body: BTreeMap<_, _> = form.iter().copied().collect();
        let body: Vec<_> = body
            .iter()
            .map(|(name, value)| format!("{}={}", percent_encoded(name), percent_encoded(value)))
            .collect();
        let body = body.join("&");
        let request = format!(
            "{method} {path} HTTP/1.0\r\nHost: localhost\r\nAuthorization: Bearer {STRIPE_TEST_KEY}\r\n\
             Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
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
        let (_, body) = answer.split_once("\r\n\r\n").expect("an HTTP answer");
        serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {answer}"))
    }
}
