//! Payments, through the built functions.

mod contract;
mod crash;
mod sandbox;
mod shop;
mod stripe;
