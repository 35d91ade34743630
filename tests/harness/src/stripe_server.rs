//! A simulated Stripe: localstripe, from PyPI.
//!
//! Localstripe keeps the state machine of payment intents in memory and ignores idempotency keys. So every `create` makes a
//! new intent, like a provider that has forgotten the idempotency keys.

use std::net::SocketAddr;

use serde_json::Value;
use url::form_urlencoded;

use crate::environment;
use crate::stand_in::StandIn;

/// A running server. Dropping it ends the process.
pub struct StripeServer(StandIn);

/// An API key that the server accepts.
pub const STRIPE_TEST_KEY: &str = "sk_test_planted_0123456789";

impl StripeServer {
    /// Starts a server without payments.
    ///
    /// # Panics
    ///
    /// Panics if localstripe is not installed or does not start.
    pub async fn start() -> Self {
        let program = environment::localstripe()
            .expect("localstripe is not installed: run `scripts/install localstripe`");
        Self(StandIn::start(&program, &["--from-scratch", "--port"]).await)
    }

    /// The address of the server.
    pub fn address(&self) -> SocketAddr {
        self.0.address()
    }

    /// The URL of the server for a client that connects to `address`. That is the address of the server, or of a proxy in
    /// front of it.
    pub fn url_at(address: SocketAddr) -> String {
        format!("http://{address}/")
    }

    /// The statuses of all payment intents, sorted.
    pub async fn intents(&self) -> Vec<String> {
        let listed = self.call("GET", "/v1/payment_intents?limit=100", &[]).await;
        let mut statuses: Vec<_> = listed["data"]
            .as_array()
            .expect("a list")
            .iter()
            .map(|intent| intent["status"].as_str().expect("a status").to_owned())
            .collect();
        statuses.sort();
        statuses
    }

    /// One payment intent.
    pub async fn intent(&self, id: &str) -> Value {
        self.call("GET", &format!("/v1/payment_intents/{id}"), &[])
            .await
    }

    /// Creates a card with this number and returns the id of the card. Requests use this id as the payment method.
    pub async fn card(&self, number: &str) -> String {
        let form = [
            ("type", "card"),
            ("card[number]", number),
            ("card[exp_month]", "12"),
            ("card[exp_year]", "2030"),
            ("card[cvc]", "123"),
        ];
        let card = self.call("POST", "/v1/payment_methods", &form).await;
        card["id"].as_str().expect("a card").to_owned()
    }

    /// Changes the currency of an intent, to simulate a change by another program.
    pub async fn change_currency(&self, intent: &str, currency: &str) {
        let path = format!("/v1/payment_intents/{intent}");
        self.call("POST", &path, &[("currency", currency)]).await;
    }

    /// Simulates that the customer authenticates a payment, successfully or not.
    pub async fn authenticate(&self, intent: &str, client_secret: &str, success: bool) {
        let success = success.to_string();
        let form = [("client_secret", client_secret), ("success", &success)];
        let path = format!("/v1/payment_intents/{intent}/_authenticate");
        self.call("POST", &path, &form).await;
    }

    async fn call(&self, method: &str, path: &str, form: &[(&str, &str)]) -> Value {
        let mut body = form_urlencoded::Serializer::new(String::new());
        let body = body.extend_pairs(form).finish();
        let authorization = format!("Bearer {STRIPE_TEST_KEY}");
        let headers = [
            ("Authorization", &*authorization),
            ("Content-Type", "application/x-www-form-urlencoded"),
        ];
        let (_, answer) = self
            .0
            .call(&format!("{method} {path}"), &headers, &body)
            .await;
        answer
    }
}
