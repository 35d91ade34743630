//! Payments, through the built functions.

mod contract;
mod crash;
mod outage;
mod sandbox;
mod shop;
mod stripe;
