#![doc = include_str!("../README.md")]

mod app;
mod config;
pub mod health;
pub mod lambda;

pub use app::{App, UnusableUrl};
pub use config::ConfigError;
pub use foundation::{deadline, text};
pub use http_api as web;
pub use {idempotency, payments};
