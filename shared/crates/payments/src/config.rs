//! Who charges, whether real money moves, and how long a payment may stay open.

use std::path::PathBuf;
use std::time::Duration;

use foundation::secret::SecretSource;
use url::Url;

/// How long one request to the provider may take, unless it is said.
pub const DEFAULT_PROVIDER_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a payment is left to its client before it is settled without it, unless it is said.
pub const DEFAULT_RECONCILE_AFTER: Duration = Duration::from_secs(60);
/// How long a payment may stay unconfirmed before it is cancelled, unless it is said.
pub const DEFAULT_CANCEL_AFTER: Duration = Duration::from_secs(3_600);

/// How payments are made.
#[derive(Clone, Debug)]
pub struct PaymentsConfig {
    /// Who charges.
    pub provider: ProviderConfig,
    /// Whether real money is meant to move: an intent of the other mode is not confirmed.
    pub livemode: bool,
    /// How long one request to the provider may take.
    pub provider_timeout: Duration,
    /// The secrets with which the provider signs its events; `None`: events are refused.
    pub webhook_secrets: Option<SecretSource>,
    /// The keys of the MACs that saved responses carry, a list of the current and the previous one; `None`: no saved response has
    /// a MAC.
    pub mac_keys: Option<SecretSource>,
    /// How long a payment is left to those who ask for it before it is settled without them.
    pub reconcile_after: Duration,
    /// How long nobody may confirm a payment before it is cancelled.
    pub cancel_after: Duration,
    /// Where payments are kept in development without MongoDB; the sandbox keeps its own here always.
    pub ledger_dir: PathBuf,
}

/// Who charges.
#[derive(Clone, Debug)]
pub enum ProviderConfig {
    /// Nobody: everything happens in files, as the payment method says.
    Sandbox,
    /// Stripe, or a server that speaks as it does.
    Stripe {
        /// The secret key of its API; `None`: nothing can be charged, which the requests are told.
        api_key: Option<SecretSource>,
        /// Where it is.
        api_base: Url,
    },
    /// None is configured: nothing can be charged, which the requests are told.
    Missing,
}

impl PaymentsConfig {
    /// The sandbox, which keeps its charges in `folder` and charges no customer. For development and tests.
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
