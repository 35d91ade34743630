//! A payment that is charged once, however often it is asked for.
//!
//! The engine ([`idempotency`]) lets one attempt of a request work at a time and answers its repetitions. It cannot know
//! whether a provider has charged when an attempt dies. So a payment has two more things: a row in the ledger, which
//! outlives every claim, and at the provider one *intent*, whose own state machine takes one confirmation and none after it
//! was cancelled. An attempt goes on where the one before it got to, so its policy is
//! [`RerunAlways`](idempotency::Policy::RerunAlways): trying again is looking again.
//!
//! | what becomes of a request | stored as | a repetition |
//! |---|---|---|
//! | charged: 201; declined or failed for good: 402 | its bytes, in the ledger, then in the engine | is answered with the bytes |
//! | on its way: 202 `requires_action`, `processing` | a reference to the payment | looks at the provider, then answers |
//! | the ledger's row cannot be read: 409 | nothing (the key is unknown) | takes over, reads the row again |
//! | not known: 202 `unknown` | nothing (the key is unknown) | takes over, looks at the provider, goes on |
//! | the provider did nothing (cannot be reached, no credentials, too many requests), and there is no other attempt for which it may have: 503 | nothing (released) | runs |
//! | refused before the claim: 400, 401, 413, 415 | nothing | runs, with a corrected request too |
//!
//! How Stripe's intents live: <https://docs.stripe.com/payments/paymentintents/lifecycle>.
//!
//! # What is checked
//!
//! `payments/model.rs` searches every order of the steps of two attempts, the reconciler, an event and the customer, with lost, late
//! and refused requests, crashes and freezes. It runs the code of `steps`, `Change::apply` and the reading of Stripe's failures.
//! In each state:
//!
//! - The customer is charged at most once, over all intents, and only by the intent that the ledger names.
//! - "Not charged" is said only where there is no charge and none can come; "charged" only of a charge of the order's amount.
//! - A final answer never changes, and each client gets the ledger's.
//! - "Nothing was done" is said only where no attempt may have charged.
//! - Settling confirms nothing. A run of the reconciler that closes an old payment ends it, if nothing disturbs the run.
//!
//! `make test` searches with two attempts and up to two faults, `make model` with up to four. Each of the bugs planted in the model
//! is found.

mod anomaly;
mod config;
mod create;
mod decline;
mod desk;
mod fault;
mod found;
mod keys;
mod ledger;
#[cfg(test)]
mod model;
mod moment;
mod order;
mod payment;
mod provider;
mod reconcile;
mod rendering;
mod settling;
mod setup;
mod show;
mod steps;
mod stripe_unit;
#[cfg(test)]
mod tests;
mod webhook;

use std::sync::Arc;
use std::time::Duration;

use foundation::Environment;
use idempotency::Idempotency;
use tracing::error;

pub use config::{
    DEFAULT_CANCEL_AFTER, DEFAULT_PROVIDER_TIMEOUT, DEFAULT_RECONCILE_AFTER, PaymentsConfig,
    ProviderConfig,
};
pub use create::{Answer, Created, NewPayment};
pub use desk::{Desk, DeskError};
pub use fault::Fault;
pub use found::Found;
pub use ledger::OpenPayments;
pub use moment::Moment;
pub use order::Order;
pub use payment::{End, Payment, State};
pub use reconcile::{Reconciled, Reconciler};
pub use setup::Setup;
pub use show::NotShown;
pub use webhook::{Receipt, Received, Webhook};

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
