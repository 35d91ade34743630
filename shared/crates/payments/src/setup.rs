//! The clients and settings that payments need.

use foundation::Environment;
use foundation::secret::Secrets;
use idempotency::ResponseKeys;
use mongo_client::Mongo;
use telemetry::metrics::Metrics;
use tracing::warn;

use super::PaymentsConfig;

/// The clients and settings that payments need, each built once per process.
#[derive(Clone)]
pub struct Setup {
    /// The settings.
    pub config: PaymentsConfig,
    /// The environment of this process.
    pub environment: Environment,
    /// The database of the ledger. If it is `None`, the ledger consists of files in development, and payments are refused in other
    /// environments.
    pub mongodb: Option<Mongo>,
    /// Reads the provider's API key, the webhook secrets and the MAC keys.
    pub secrets: Secrets,
    /// Counts anomalies and open payments.
    pub metrics: Metrics,
}

/// Distinguishes this program's MACs from the MACs of another program with the same keys.
const PROGRAM: &str = "truebond";

impl Setup {
    /// The keys that sign the saved responses of payments.
    ///
    /// Saved responses reach customers, so a payment function accepts only signed responses. If no keys are configured, repeated
    /// requests are answered from the ledger. In development without keys, this returns `None`, and saved responses are accepted
    /// unsigned.
    pub fn response_keys(&self) -> Option<ResponseKeys> {
        let source = self.config.mac_keys.as_ref();
        if source.is_none() {
            if self.environment.is_development() {
                return None;
            }
            warn!(
                "saved responses are not used: no MAC keys are configured; repeated requests are answered from the ledger, more slowly; set PAYMENT_MAC_KEYS"
            );
        }
        let list = source.map(|source| self.secrets.cell(source));
        Some(ResponseKeys::new(list, PROGRAM, &self.environment))
    }

    /// The sandbox provider and the file ledger in `folder`, as on a laptop.
    #[cfg(test)]
    pub(super) fn sandbox(folder: impl Into<std::path::PathBuf>) -> Self {
        Self {
            config: PaymentsConfig::sandbox(folder),
            environment: Environment::laptop(),
            mongodb: None,
            secrets: Secrets::without_store(),
            metrics: Metrics::off(),
        }
    }
}
