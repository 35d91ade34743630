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

/// Why AWS gives no result. The error keeps only a code, because AWS's error message can contain parts of the request.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("AWS unavailable: {code}")]
pub struct Unavailable {
    /// The error code of AWS, or a code of this crate: `timeout`, `connection_failed`, `empty`, `no_credentials`,
    /// `no_credentials_provider`.
    pub code: String,
}

/// The time limit for connecting: TCP and TLS together.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// Time limit of one attempt.
const ATTEMPT_TIMEOUT: Duration = Duration::from_millis(1_500);
const ATTEMPTS: u32 = 2;
/// Time limit of a request with all its attempts.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(3);

impl Unavailable {
    fn new(code: impl Into<String>) -> Self {
        Self { code: code.into() }
    }
}

/// Returns the SDK's configuration, loaded once. `region` is the default region of requests.
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
            .operation_timeout(REQUEST_TIMEOUT);
        #[expect(
            clippy::disallowed_methods,
            reason = "this module configures the AWS SDK"
        )]
        aws_config::defaults(BehaviorVersion::v2026_01_12())
            // If no region were set, the SDK would search for one. On a developer's machine it would search over the
            // network.
            .region(Region::new(region.to_owned()))
            .http_client(http_client)
            .timeout_config(timeouts.build())
            .retry_config(RetryConfig::standard().with_max_attempts(ATTEMPTS))
            .load()
    });
    deadline
        .within(REQUEST_TIMEOUT)
        .bound(found)
        .await
        .map_err(|_| Unavailable::new("timeout"))
}
