#![doc = include_str!("../README.md")]

pub mod config;
pub mod deadline;
pub mod health;
pub mod idempotency;
pub mod lambda;
pub mod logging;
pub mod metrics;
pub mod mongo;
pub mod payments;
pub mod redis_client;
pub mod tenant;
pub mod web;
