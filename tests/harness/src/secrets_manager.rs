//! A simulated AWS Secrets Manager: moto, from PyPI.
//!
//! Moto keeps secrets in memory and accepts every signature. Functions connect to moto through a proxy, which counts reads and
//! can simulate an outage.

use serde_json::{Value, json};

use crate::environment;
use crate::fault_proxy::FaultProxy;
use crate::lambda::LambdaBuilder;
use crate::stand_in::StandIn;

/// A running server. Dropping it ends the process.
pub struct SecretsManager {
    server: StandIn,
    proxy: FaultProxy,
}

/// The credentials that Lambda gives to a function. Moto does not check them.
const CREDENTIALS: [(&str, &str); 3] = [
    ("AWS_ACCESS_KEY_ID", "ASIATRUEBONDTEST"),
    ("AWS_SECRET_ACCESS_KEY", "planted-aws-secret-0123456789"),
    ("AWS_SESSION_TOKEN", "planted-aws-session-0123456789"),
];

/// The signature of the tests' requests. Moto reads only the region and the service from it.
const SIGNATURE: &str = "AWS4-HMAC-SHA256 Credential=x/20260101/eu-central-1/secretsmanager/aws4_request, SignedHeaders=host, Signature=x";

impl SecretsManager {
    /// Starts a server without secrets.
    ///
    /// # Panics
    ///
    /// Panics if moto is not installed or does not start.
    pub async fn start() -> Self {
        let program =
            environment::moto_server().expect("moto is not installed: run `scripts/install moto`");
        let server = StandIn::start(&program, &["-H", "127.0.0.1", "-p"]).await;
        let proxy = FaultProxy::in_front_of(server.address());
        Self { server, proxy }
    }

    /// The proxy between the server and the functions.
    pub fn proxy(&self) -> &FaultProxy {
        &self.proxy
    }

    /// The number of reads that functions have tried. Each read uses its own connection, so this method counts connections.
    pub fn reads(&self) -> usize {
        self.proxy.accepted()
    }

    /// Stores a new secret and returns its ARN.
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

    /// The environment variables with which a function reads from this server.
    pub fn variables(&self) -> Vec<(&'static str, String)> {
        let endpoint = format!("http://{}", self.proxy.address());
        let mut variables = vec![("AWS_ENDPOINT_URL_SECRETS_MANAGER", endpoint)];
        variables.extend(CREDENTIALS.map(|(name, value)| (name, value.to_owned())));
        variables
    }

    /// Adds the settings with which the function reads from this server.
    pub fn serving(&self, function: LambdaBuilder) -> LambdaBuilder {
        self.variables()
            .iter()
            .fold(function, |function, (name, value)| {
                function.env(name, value)
            })
    }

    async fn call(&self, operation: &str, body: Value) -> Value {
        let target = format!("secretsmanager.{operation}");
        let headers = [
            ("Content-Type", "application/x-amz-json-1.1"),
            ("Authorization", SIGNATURE),
            ("X-Amz-Target", &target),
        ];
        let (status, answer) = self
            .server
            .call("POST /", &headers, &body.to_string())
            .await;
        assert_eq!(status, 200, "{operation}: {answer}");
        answer
    }
}
