//! How do the functions talk to AWS itself?
//!
//! Through AWS's own client, for the two things that only it can do: find out with which credentials this process runs,
//! and read Secrets Manager. Both are asked for at the first use and never at the start: a function that needs neither
//! does not even link them, and one that does starts without them.
//!
//! The client finds credentials and, for tests, another endpoint where all clients of AWS do (`AWS_ACCESS_KEY_ID`,
//! `AWS_ENDPOINT_URL`, <https://docs.aws.amazon.com/sdkref/latest/guide/settings-reference.html>). Each of its waits has a
//! limit here, and its callers' [`Deadline`]s besides. It keeps no connection: between two questions lie minutes, in which
//! the process is frozen more often than not.

mod credentials;
mod stored;

use std::time::Duration;

use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_smithy_http_client::tls::{self, rustls_provider::CryptoMode};
use tokio::sync::OnceCell;

pub(crate) use credentials::CredentialsCell;
pub(crate) use stored::read_secret;

use crate::deadline::Deadline;

/// Why there is no answer. Its text is fixed: AWS's own can quote what was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("hear from AWS: {code}")]
pub(crate) struct Unavailable {
    /// AWS's code for it, or ours.
    pub(crate) code: String,
}

/// The limit of TCP and TLS together.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// The limit of one of two attempts.
const ATTEMPT_TIMEOUT: Duration = Duration::from_millis(1_500);
const ATTEMPTS: u32 = 2;
/// The limit of a whole question.
const QUESTION_TIMEOUT: Duration = Duration::from_secs(3);

impl Unavailable {
    fn new(code: impl Into<String>) -> Self {
        Self { code: code.into() }
    }
}

/// How this process talks to AWS. What does not name a region of its own goes to `region`.
async fn configuration(
    region: &str,
    deadline: Deadline,
) -> Result<&'static SdkConfig, Unavailable> {
    static CONFIGURATION: OnceCell<SdkConfig> = OnceCell::const_new();
    let found = CONFIGURATION.get_or_init(|| {
        let http_client = aws_smithy_http_client::Builder::new()
            .tls_provider(tls::Provider::Rustls(CryptoMode::Ring))
            .pool_max_idle_per_host(0)
            .build_https();
        let timeouts = TimeoutConfig::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .operation_attempt_timeout(ATTEMPT_TIMEOUT)
            .operation_timeout(QUESTION_TIMEOUT);
        #[expect(
            clippy::disallowed_methods,
            reason = "this module is where AWS is talked to"
        )]
        aws_config::defaults(BehaviorVersion::v2026_01_12())
            // Else it would ask for one, on a laptop over the network.
            .region(Region::new(region.to_owned()))
            .http_client(http_client)
            .timeout_config(timeouts.build())
            .retry_config(RetryConfig::standard().with_max_attempts(ATTEMPTS))
            .load()
    });
    deadline
        .within(QUESTION_TIMEOUT)
        .bound(found)
        .await
        .map_err(|_| Unavailable::new("timeout"))
}
