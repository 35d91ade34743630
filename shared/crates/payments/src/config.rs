//! The settings of payments.

use std::path::PathBuf;
use std::time::Duration;

use foundation::secret::SecretSource;
use url::Url;

/// The default of [`PaymentsConfig::provider_timeout`].
pub const DEFAULT_PROVIDER_TIMEOUT: Duration = Duration::from_secs(10);
/// The default of [`PaymentsConfig::reconcile_after`].
pub const DEFAULT_RECONCILE_AFTER: Duration = Duration::from_secs(60);
/// The default of [`PaymentsConfig::cancel_after`].
pub const DEFAULT_CANCEL_AFTER: Duration = Duration::from_secs(3_600);

/// The settings of payments.
#[derive(Clone, Debug)]
pub struct PaymentsConfig {
    /// The provider that charges.
    pub provider: ProviderConfig,
    /// Whether real money moves (live mode) or not (test mode). An intent with the other mode is not confirmed.
    pub livemode: bool,
    /// The timeout of one request to the provider.
    pub provider_timeout: Duration,
    /// The secrets with which the provider signs its events; `None`: no event is accepted.
    pub webhook_secrets: Option<SecretSource>,
    /// The current and the previous MAC key of saved responses. `None`: saved responses have no MAC.
    pub mac_keys: Option<SecretSource>,
    /// The age from which the reconciler looks at a payment. The client of a younger payment may still be working on
    /// it.
    pub reconcile_after: Duration,
    /// The age from which an open payment is cancelled and no longer confirmed.
    pub cancel_after: Duration,
    /// The folder of the file ledger (development without MongoDB) and of the sandbox provider.
    pub ledger_dir: PathBuf,
}

/// The provider that charges.
#[derive(Clone, Debug)]
pub enum ProviderConfig {
    /// The sandbox, which charges no customer and keeps its intents in files.
    Sandbox,
    /// Stripe, or a server with the same API.
    Stripe {
        /// The secret API key; `None`: payments are refused.
        api_key: Option<SecretSource>,
        /// The base URL of the API.
        api_base: Url,
    },
    /// No provider is configured: payments are refused.
    Missing,
}

impl PaymentsConfig {
    /// Settings for development and tests: the sandbox provider, with its files in `folder`.
    pub fn sandbox(folder: impl Into<PathBuf>) -> Self {
        Self {
            provider: ProviderConfig::Sandbox,
            livemode: false,
            provider_timeout: DEFAULT_PROVIDER_TIMEOUT,
            webhook_secrets: None,
            mac_keys: None,
            reconcile_after: DEFAULT_RECONCILE_AFTER,
            cancel_after: DEFAULT_CANCEL_AFTER,
            ledger_dir: folder.into(),
        }
    }
}
