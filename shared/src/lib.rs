#![doc = include_str!("../README.md")]

mod aws;
pub mod config;
pub mod deadline;
pub mod health;
pub mod idempotency;
mod json;
pub mod lambda;
pub mod logging;
pub mod metrics;
pub mod mongo;
pub mod payments;
pub mod redis_client;
mod secrets;
pub mod tenant;
pub mod text;
mod wall_clock;
pub mod web;
