//! What is asked of every contestant: one request of an API, as API Gateway hands it to a function.

use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use harness::TestRequest;
use serde_json::json;

/// A request, which can be sent as often as one likes.
#[derive(Clone, Debug)]
pub(crate) struct Order {
    pub(crate) key: String,
    amount: u64,
    pad_bytes: usize,
}

/// How long the pad is where its length is not what is measured.
pub(crate) const USUAL_PAD_BYTES: usize = 100;

impl Order {
    /// With a key that nobody has used.
    pub(crate) fn fresh(pad_bytes: usize) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        Self {
            // As long as a UUID, which is what clients send.
            key: format!("00000000-0000-4000-8000-{number:012}"),
            amount: 1999,
            pad_bytes,
        }
    }

    /// Another request with the same key, and a short one.
    pub(crate) fn with_other_body(&self) -> Self {
        Self {
            key: self.key.clone(),
            amount: self.amount + 1,
            pad_bytes: USUAL_PAD_BYTES,
        }
    }

    /// The event.
    pub(crate) fn event(&self) -> Bytes {
        let body = json!({
            "amount": self.amount,
            "currency": "EUR",
            "pad": "p".repeat(self.pad_bytes),
        });
        let request = TestRequest::post("/bench").header("idempotency-key", &self.key);
        request.json(&body).event().to_string().into()
    }
}
