//! Payments, through the built functions.

mod contract;
mod crash;
mod keys;
mod majority;
mod outage;
mod parallel;
mod reconcile;
mod rotation;
mod sandbox;
mod shop;
mod stripe;
mod webhook;
