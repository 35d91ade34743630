//! The parts of an engine.

use telemetry::metrics::Metrics;

use super::{IdempotencyConfig, ResponseKeys, Stores};

/// The parts of an engine.
pub struct Setup {
    /// The stores of keys.
    pub stores: Stores,
    /// Retention, lease and size limits.
    pub config: IdempotencyConfig,
    /// The name of the environment. It is part of every derived key, so two environments never share a payment.
    pub environment: String,
    /// Metrics of calls.
    pub metrics: Metrics,
    /// Keys that sign results. With such keys, a result without a valid MAC counts as unknown. `None`: results are not
    /// signed, and every stored result is accepted.
    pub response_keys: Option<ResponseKeys>,
}

impl Setup {
    /// A setup with these stores, and with defaults for everything else. The environment is `development`.
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
