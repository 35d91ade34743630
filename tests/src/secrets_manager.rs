//! An AWS Secrets Manager that we did not write: moto, from PyPI.
//!
//! It keeps its secrets in memory and takes every signature. It ends when the test process does, however that ends. Functions
//! reach it through a proxy, which counts what they read and can stand in for an outage.

use std::net::{Ipv4Addr, SocketAddr};
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::fault_proxy::FaultProxy;
use crate::lambda::LambdaBuilder;
use crate::owned_process::OwnedProcess;
use crate::{environment, eventually, loopback_port};

/// A running server; dropping it ends the process.
pub struct SecretsManager {
    port: u16,
    proxy: FaultProxy,
    _process: OwnedProcess,
    /// Where its log is.
    _directory: TempDir,
}

/// Longer than Python takes to start on a busy machine.
const LIMIT: Duration = Duration::from_secs(60);

/// Becomes moto, beside a watcher that ends it when standard input ends.
const UNTIL_INPUT_ENDS: &str = r#"
    exec 3<&0
    (cat <&3 > /dev/null; kill -9 $$) &
    exec "$0" -H 127.0.0.1 -p "$1" < /dev/null
"#;

/// What a function finds on Lambda besides: credentials, which nobody checks here.
const CREDENTIALS: [(&str, &str); 3] = [
    ("AWS_ACCESS_KEY_ID", "ASIATRUEBONDTEST"),
    ("AWS_SECRET_ACCESS_KEY", "planted-aws-secret-0123456789"),
    ("AWS_SESSION_TOKEN", "planted-aws-session-0123456789"),
];

impl SecretsManager {
    /// A server without secrets.
    ///
    /// # Panics
    ///
    /// When moto is not installed, or does not start.
    pub async fn start() -> Self {
        let program =
            environment::moto_server().expect("moto is needed: run `scripts/install moto`");
        let directory = TempDir::new().expect("a directory");
        let port = loopback_port::reserve();
        let mut command = Command::new("sh");
        command
            .args(["-c", UNTIL_INPUT_ENDS])
            .arg(program)
            .arg(port.to_string());
        let log = directory.path().join("server.log");
        let process = OwnedProcess::spawn(&mut command, &log).expect("sh runs");
        let address = (Ipv4Addr::LOCALHOST, port).into();
        let server = Self {
            port,
            proxy: FaultProxy::in_front_of(address),
            _process: process,
            _directory: directory,
        };
        eventually(LIMIT, async || TcpStream::connect(address).await.is_ok()).await;
        server
    }

    /// What stands between it and the functions.
    pub fn proxy(&self) -> &FaultProxy {
        &self.proxy
    }

    /// How often a function has read, or tried to: each time on a connection of its own.
    pub fn reads(&self) -> usize {
        self.proxy.accepted()
    }

    /// Keeps a new secret; returns its ARN.
    pub async fn create(&self, name: &str, value: &str) -> String {
        let secret = json!({ "Name": name, "SecretString": value });
        let created = self.call("CreateSecret", secret).await;
        created["ARN"].as_str().expect("an ARN").to_owned()
    }

    /// Replaces the value of a secret.
    pub async fn replace(&self, arn: &str, value: &str) {
        let secret = json!({ "SecretId": arn, "SecretString": value });
        self.call("PutSecretValue", secret).await;
    }

    /// With what a function reads here.
    pub fn variables(&self) -> Vec<(&'static str, String)> {
        let endpoint = format!("http://{}", self.proxy.address());
        let mut variables = vec![("AWS_ENDPOINT_URL_SECRETS_MANAGER", endpoint)];
        variables.extend(CREDENTIALS.map(|(name, value)| (name, value.to_owned())));
        variables
    }

    /// A function that reads here.
    pub fn serving(&self, function: LambdaBuilder) -> LambdaBuilder {
        self.variables()
            .iter()
            .fold(function, |function, (name, value)| {
                function.env(name, value)
            })
    }

    fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }

    async fn call(&self, operation: &str, body: Value) -> Value {
        let body = body.to_string();
        let request = format!(
            "POST / HTTP/1.0\r\nHost: localhost\r\nContent-Type: application/x-amz-json-1.1\r\n\
             Authorization: AWS4-HMAC-SHA256 Credential=x/20260101/eu-central-1/secretsmanager/aws4_request, SignedHeaders=host, Signature=x\r\n\
             X-Amz-Target: secretsmanager.{operation}\r\nContent-Length: {}\r\n\r\n{body}",
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
        let (head, body) = answer.split_once("\r\n\r\n").expect("an HTTP answer");
        assert!(head.contains(" 200 "), "{operation}: {answer}");
        serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {answer}"))
    }
}
