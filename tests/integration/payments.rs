//! Payments, end to end: the built functions against real stores and a provider.

mod answers;
mod contract;
mod crash;
mod forged;
mod keys;
mod majority;
mod outage;
mod parallel;
mod reconcile;
mod rotation;
mod sandbox;
mod scripted_stripe;
mod shop;
mod stripe;
mod unreadable;
mod webhook;
