//! The requests to contestants, in API Gateway's format, and their answers.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use harness::{Lambda, Outcome, Settled, TestRequest};
use serde_json::{Value, json};

/// A request that can be sent several times.
#[derive(Clone, Debug)]
pub(crate) struct Order {
    pub(crate) key: String,
    amount: u64,
    /// The length of the filler text in the body.
    pad_bytes: usize,
}

/// An answer as an API client receives it.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    /// The function's status, or 502 if the function failed.
    pub(crate) status: u16,
    pub(crate) body: String,
    /// The time at which the complete answer had arrived.
    pub(crate) at: Instant,
    /// The time from the delivery of the event to the complete answer.
    pub(crate) took: Duration,
}

/// The length of the filler text in the body, in measures that do not vary this length.
pub(crate) const USUAL_PAD_BYTES: usize = 100;

impl Order {
    /// A request with an unused key.
    pub(crate) fn fresh(pad_bytes: usize) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        Self {
            // The key is as long as a UUID, because most clients use a UUID.
            key: format!("00000000-0000-4000-8000-{number:012}"),
            amount: 1999,
            pad_bytes,
        }
    }

    /// The same request with an unused key.
    pub(crate) fn with_fresh_key(&self) -> Self {
        Self::fresh(self.pad_bytes)
    }

    /// A different, short request with the same key.
    pub(crate) fn with_other_body(&self) -> Self {
        Self {
            key: self.key.clone(),
            amount: self.amount + 1,
            pad_bytes: USUAL_PAD_BYTES,
        }
    }

    /// The Lambda event of the request, as bytes.
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

/// Sends an event to a process and waits for its answer.
///
/// # Errors
///
/// Fails with the reason and the end of the process's log.
pub(crate) async fn answer(process: &Lambda, event: Bytes) -> Result<Answer, String> {
    let answer = Answer::of(process.hand_over(event).await.await);
    answer.map_err(|why| format!("{why}: {}", end_of(&process.log_text())))
}

/// The end of a log, in one line.
pub(crate) fn end_of(log: &str) -> String {
    let lines: Vec<_> = log.lines().rev().take(20).collect();
    lines.into_iter().rev().collect::<Vec<_>>().join(" / ")
}

impl Answer {
    /// The answer that API Gateway would send to its client for the outcome of an invocation.
    ///
    /// # Errors
    ///
    /// Fails with the reason if there is no answer.
    pub(crate) fn of(settled: Settled) -> Result<Self, String> {
        let Settled { outcome, at, took } = settled;
        let (status, body) = match outcome {
            Outcome::Answered(body) => {
                let mut response: Value = serde_json::from_slice(&body).unwrap_or_default();
                let status = response["statusCode"].as_u64();
                let status = status.and_then(|status| status.try_into().ok());
                let body = response["body"].take();
                (status, body.as_str().unwrap_or_default().to_owned())
            }
            Outcome::FunctionError { message, .. } => (None, message),
            Outcome::TimedOut => return Err("timed out".to_owned()),
            Outcome::Crashed { reason } => return Err(reason),
        };
        Ok(Self {
            status: status.unwrap_or(502),
            body,
            at,
            took,
        })
    }
}
