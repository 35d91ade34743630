#![doc = include_str!("../README.md")]

mod credentials;
mod stored;

use std::time::Duration;

use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_smithy_http_client::tls::{self, rustls_provider::CryptoMode};
use tokio::sync::OnceCell;

pub use credentials::CredentialsCell;
use foundation::Deadline;
pub use stored::SecretsManager;

/// Why there is no answer. Its text is fixed: AWS's own can quote what was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("AWS unavailable: {code}")]
pub struct Unavailable {
    /// AWS's code for it, or ours.
    pub code: String,
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
