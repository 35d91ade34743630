#![doc = include_str!("../README.md")]

mod admin;
mod anomaly;
mod body_error;
mod config;
mod create;
mod decline;
mod finding;
mod keys;
mod ledger;
#[cfg(test)]
mod model;
mod order;
mod payment;
mod provider;
mod reconcile;
mod rendering;
mod settling;
mod setup;
mod steps;
mod stripe_unit;
#[cfg(test)]
mod tests;
mod timestamp;
mod view;
mod webhook;

use std::sync::Arc;
use std::time::Duration;

use foundation::Environment;
use idempotency::Idempotency;
use tracing::error;

pub use admin::{PaymentAdmin, PaymentAdminError};
pub use body_error::BodyError;
pub use config::{
    DEFAULT_CANCEL_AFTER, DEFAULT_PROVIDER_TIMEOUT, DEFAULT_RECONCILE_AFTER, PaymentsConfig,
    ProviderConfig,
};
pub use create::{Answer, CreateOutcome, NewPayment};
pub use finding::ProviderFinding;
pub use ledger::OpenPayments;
pub use order::Order;
pub use payment::{End, Payment, State};
pub use reconcile::{ReconcileReport, Reconciler};
pub use setup::Setup;
pub use timestamp::Timestamp;
pub use view::ViewError;
pub use webhook::{EventAnswer, EventOutcome, Webhook};

use anomaly::Anomalies;
use ledger::Ledger;
use provider::Provider;

/// What the functions that take payments share.
pub struct Payments {
    idempotency: Idempotency,
    environment: Environment,
    /// `None`: payments are refused.
    ledger: Option<Arc<dyn Ledger>>,
    /// `None`: payments are refused.
    provider: Option<Arc<dyn Provider>>,
    anomalies: Anomalies,
    /// A payment of this age is cancelled instead of confirmed.
    cancel_after: Duration,
}

/// What the function that shows payments needs.
pub struct PaymentView {
    environment: Environment,
    ledger: Option<Arc<dyn Ledger>>,
}

impl Payments {
    /// Payments over `idempotency`, which signs with [`Setup::response_keys`]. Nothing is connected, and nothing here fails.
    pub fn new(setup: &Setup, idempotency: Idempotency) -> Self {
        let provider = provider::open(setup);
        if provider.is_none() {
            error!("payments are refused: set PAYMENT_PROVIDER, and STRIPE_API_KEY for Stripe");
        }
        Self {
            idempotency,
            environment: setup.environment.clone(),
            ledger: needed_ledger(setup),
            provider,
            anomalies: Anomalies::new(setup.metrics.clone()),
            cancel_after: setup.config.cancel_after,
        }
    }
}

impl Payments {
    /// Where this runs: it decides who may ask, and for what.
    pub fn environment(&self) -> &Environment {
        &self.environment
    }
}

impl PaymentView {
    /// Where this runs: it decides who may ask.
    pub fn environment(&self) -> &Environment {
        &self.environment
    }

    /// The ledger. Nothing is connected, and nothing here fails.
    pub fn new(setup: &Setup) -> Self {
        Self {
            environment: setup.environment.clone(),
            ledger: needed_ledger(setup),
        }
    }
}

/// The ledger. Where there is none, an operator is told.
fn needed_ledger(setup: &Setup) -> Option<Arc<dyn Ledger>> {
    let ledger = ledger::open(setup);
    if ledger.is_none() {
        error!("payments are refused: set MONGODB_URI, where the ledger is");
    }
    ledger
}
