//! A signed Stripe event about a payment intent.

use std::fmt::Write;

use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::Sha256;

use crate::test_request::TestRequest;

/// The path of the webhook, to which events are sent.
const PATH: &str = "/api/payments/webhook";

/// An event that can be sent several times.
#[derive(Clone, Debug)]
pub struct StripeEvent {
    /// The body. Tests can change it.
    pub body: Value,
    /// The time of the signature, in seconds since 1970.
    pub time: i64,
}

impl StripeEvent {
    /// An event with this id and this kind (for example `payment_intent.succeeded`), about an intent of the payment
    /// `payment_id`.
    pub fn new(id: &str, kind: &str, intent: &str, payment_id: &str) -> Self {
        let object = json!({
            "id": intent, "object": "payment_intent", "metadata": {"payment_id": payment_id},
        });
        Self::about(id, kind, &object)
    }

    /// An event about any object.
    pub fn about(id: &str, kind: &str, object: &Value) -> Self {
        let time = jiff::Timestamp::now().as_second();
        let body = json!({
            "id": id, "object": "event", "type": kind, "created": time, "livemode": false,
            "pending_webhooks": 1, "data": {"object": object},
        });
        Self { body, time }
    }

    /// The request that delivers the event. It has one signature for each of `secrets`.
    pub fn request(&self, secrets: &[&str]) -> TestRequest {
        let body = self.body.to_string();
        let header = signature(body.as_bytes(), self.time, secrets);
        TestRequest::post(PATH)
            .json(&self.body)
            .body(body)
            .header("Stripe-Signature", &header)
    }
}

/// The `Stripe-Signature` of a body.
///
/// # Panics
///
/// Never panics: HMAC accepts keys of any length.
pub fn signature(body: &[u8], time: i64, secrets: &[&str]) -> String {
    let mut header = format!("t={time}");
    for secret in secrets {
        let mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes());
        let mut mac = mac.expect("HMAC accepts keys of any length");
        mac.update(format!("{time}.").as_bytes());
        mac.update(body);
        header.push_str(",v1=");
        for byte in mac.finalize().into_bytes() {
            write!(header, "{byte:02x}").expect("writing to a String cannot fail");
        }
    }
    header
}
