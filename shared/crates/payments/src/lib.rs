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
mod service;
mod setup;
mod steps;
mod stripe_unit;
#[cfg(test)]
mod tests;
mod timestamp;
mod view;
mod webhook;

pub use admin::{PaymentAdmin, PaymentAdminError};
pub use body_error::BodyError;
pub use config::{
    DEFAULT_CANCEL_AFTER, DEFAULT_PROVIDER_TIMEOUT, DEFAULT_RECONCILE_AFTER, PaymentsConfig,
    ProviderConfig,
};
pub use create::{Answer, CreateOutcome, NewPayment, Payments};
pub use finding::ProviderFinding;
pub use ledger::OpenPayments;
pub use order::Order;
pub use payment::{End, Payment, State};
pub use reconcile::{ReconcileReport, Reconciler};
pub use setup::Setup;
pub use timestamp::Timestamp;
pub use view::{PaymentView, ViewError};
pub use webhook::{EventAnswer, EventOutcome, Webhook};
