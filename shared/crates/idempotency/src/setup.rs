//! What an engine is made of.

use telemetry::metrics::Metrics;

use super::{IdempotencyConfig, ResponseKeys, Stores};

/// What an engine is made of.
pub struct Setup {
    /// Where keys are kept.
    pub stores: Stores,
    /// How they are kept.
    pub config: IdempotencyConfig,
    /// The name of the environment, which is a part of every derived key: two environments never share a payment.
    pub environment: String,
    /// Where calls are counted.
    pub metrics: Metrics,
    /// With which results are signed, where the work keeps its own: a result without a MAC of ours counts as unknown. `None`: results
    /// are not signed, and any stored one is believed.
    pub response_keys: Option<ResponseKeys>,
}

impl Setup {
    /// These stores, and the defaults for everything else. The environment is `development`.
    pub fn of(stores: Stores) -> Self {
        Self {
            stores,
            config: IdempotencyConfig::default(),
            environment: "development".to_owned(),
            metrics: Metrics::off(),
            response_keys: None,
        }
    }
}
