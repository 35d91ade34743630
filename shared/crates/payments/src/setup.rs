//! What payments are made with.

use foundation::Environment;
use foundation::secret::Secrets;
use idempotency::ResponseKeys;
use mongo_client::Mongo;
use telemetry::metrics::Metrics;
use tracing::warn;

use super::PaymentsConfig;

/// The clients and settings that payments are made with, each once per process.
#[derive(Clone)]
pub struct Setup {
    /// How payments are made.
    pub config: PaymentsConfig,
    /// Where this runs.
    pub environment: Environment,
    /// Where the ledger is; `None`: in development in files, elsewhere payments are refused.
    pub mongodb: Option<Mongo>,
    /// The provider's key, and those of webhooks and MACs.
    pub secrets: Secrets,
    /// Where anomalies and open payments are counted.
    pub metrics: Metrics,
}

/// The name that tells this program's MACs from another's.
const PROGRAM: &str = "truebond";

impl Setup {
    /// The keys with which saved responses of payments are signed. They reach customers, so a payment function accepts only those that
    /// one of them has signed. Without keys the ledger is asked; in development (`None`) saved responses are accepted as they are.
    pub fn response_keys(&self) -> Option<ResponseKeys> {
        let source = self.config.mac_keys.as_ref();
        if source.is_none() {
            if self.environment.is_development() {
                return None;
            }
            warn!(
                "saved responses are not believed, and repetitions ask the ledger: set PAYMENT_MAC_KEYS"
            );
        }
        let list = source.map(|source| self.secrets.cell(source));
        Some(ResponseKeys::new(list, PROGRAM, &self.environment))
    }

    /// The sandbox and the ledger of files in `folder`, as on a laptop.
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
