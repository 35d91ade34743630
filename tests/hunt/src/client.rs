//! A client makes one payment. It retries with the same key until it gets a final response.

use std::iter;
use std::sync::Arc;
use std::time::{Duration, Instant};

use fastrand::Rng;
use futures_util::future;
use harness::test_request::TestRequest;
use parking_lot::Mutex;
use serde_json::json;
use tokio::time::sleep;

use super::pool::{ClientResponse, Pool};
use super::retry_burst::{Caller, RetryBurst};
use super::story::{SentRequest, Story};
use super::{Round, Work};

/// The behaviour of a client.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Behaviour {
    /// Sends one request at a time.
    Patient,
    /// Sends two requests at a time.
    Double,
    /// Sends one request, and retries only after all faults have ended.
    Leaving,
}

/// A request for a payment, and the amount of the payment.
struct PaymentRequest {
    request: TestRequest,
    amount: u32,
}

/// A client and its requests.
pub(super) struct Client<'a> {
    pool: &'a Arc<Pool>,
    story: Arc<Mutex<Story>>,
    request: PaymentRequest,
    /// A request with another amount. Some callers send it with the same key.
    different_request: PaymentRequest,
    behaviour: Behaviour,
    /// The bursts of retries that follow the client's final response.
    retry_bursts: Vec<RetryBurst>,
    work: Work,
    /// The start of the hunt.
    began: Instant,
}

/// The time for which a client waits for a response. If no response comes in this time, the client retries, usually at another
/// process.
const PATIENCE: Duration = Duration::from_millis(1_500);
/// The maximum number of requests of a client before its final response. So many requests take longer than any fault.
const MAX_ATTEMPTS: u32 = 400;
/// The maximum number of requests of one caller in a burst. The number is small, because the next burst starts only after the
/// last caller of this burst has ended.
const RETURNING_ATTEMPTS: u32 = 8;
/// The number of bursts of retries of each client. Most callers of a burst retry around the end of a retention.
const MAX_BURSTS: usize = 2;

impl<'a> Client<'a> {
    /// Creates the client of an order. The same seed always creates the same client.
    pub(super) fn new(
        round: &Round<'_>,
        order: usize,
        pool: &'a Arc<Pool>,
        story: &Arc<Mutex<Story>>,
    ) -> Self {
        let seed = round.seed;
        let mut rng = Rng::with_seed(seed.wrapping_mul(0x9E37_79B9).wrapping_add(order as u64));
        let method = match rng.u32(..100) {
            ..64 => "pm_card_visa",
            64..78 => "pm_card_chargeDeclined",
            78..90 => "pm_hunt_action",
            _ => "pm_hunt_processing",
        };
        let behaviour = match rng.u32(..100) {
            ..70 => Behaviour::Patient,
            70..88 => Behaviour::Double,
            _ => Behaviour::Leaving,
        };
        let request = TestRequest::post("/api/payments")
            .header("Idempotency-Key", &format!("hunt-{seed}-{order}"));
        let work = round.hunt.work;
        let request = match work.policy() {
            Some(policy) => request.header("x-policy", policy),
            None => request,
        };
        let with_amount = |amount| PaymentRequest {
            request: request.clone().json(&json!({
                "amount": amount, "currency": "EUR", "payment_method": method,
                "metadata": {"order": order.to_string()},
            })),
            amount,
        };
        let amount = rng.u32(100..100_000);
        let mut retry_bursts = Vec::new();
        if let Some(retention) = round.hunt.retention {
            let draw = || RetryBurst::draw(&mut rng, retention, work != Work::Payments);
            retry_bursts.extend(iter::repeat_with(draw).take(MAX_BURSTS));
        }
        Self {
            pool,
            story: Arc::clone(story),
            request: with_amount(amount),
            different_request: with_amount(amount + 1),
            behaviour,
            retry_bursts,
            work,
            began: round.began,
        }
    }

    /// Sends the request according to the client's `behaviour`, until a response needs no retry. Then several callers of each
    /// burst retry the key around the end of the retention.
    pub(super) async fn run(&self) {
        self.story.lock().began = Some(self.began.elapsed());
        if self.behaviour == Behaviour::Leaving {
            self.ask(&self.request).await;
            return;
        }
        self.retry(&self.request, MAX_ATTEMPTS).await;
        for RetryBurst(callers) in &self.retry_bursts {
            future::join_all(callers.iter().map(|caller| self.retry_as(caller))).await;
        }
    }

    /// Runs one caller of a burst: waits, then retries its request.
    async fn retry_as(&self, caller: &Caller) {
        sleep(caller.after).await;
        let payment_request = match caller.is_different {
            true => {
                self.story.lock().is_reused = true;
                &self.different_request
            }
            false => &self.request,
        };
        self.retry(payment_request, RETURNING_ATTEMPTS).await;
    }

    /// Sends the request until a response needs no retry, at most `most` times.
    async fn retry(&self, payment_request: &PaymentRequest, most: u32) {
        let mut pause = Duration::from_millis(5);
        for _ in 0..most {
            let response = match self.behaviour {
                Behaviour::Double => {
                    let (one, two) =
                        tokio::join!(self.ask(payment_request), self.ask(payment_request));
                    if one.as_ref().is_some_and(ClientResponse::is_final) {
                        one
                    } else {
                        two
                    }
                }
                Behaviour::Patient | Behaviour::Leaving => self.ask(payment_request).await,
            };
            if self.needs_no_retry(response.as_ref()) {
                return;
            }
            sleep(pause).await;
            pause = (pause * 2).min(Duration::from_millis(400));
        }
    }

    /// Sends the request until a response needs no retry. The hunt calls this function after all faults have ended.
    pub(super) async fn ask_at_the_end(&self) {
        if self.behaviour == Behaviour::Leaving {
            self.story.lock().began = Some(self.began.elapsed());
        }
        for _ in 0..MAX_ATTEMPTS {
            let response = self.ask(&self.request).await;
            if self.needs_no_retry(response.as_ref()) {
                return;
            }
            sleep(Duration::from_millis(50)).await;
        }
    }

    /// Whether the client stops retrying. It stops after a final response. Without a ledger, it also stops after an unknown
    /// outcome or a mismatch.
    fn needs_no_retry(&self, response: Option<&ClientResponse>) -> bool {
        let is_settled =
            |response: &ClientResponse| response.is_unknown() || response.is_mismatch();
        response.is_some_and(|response| {
            response.is_final() || is_settled(response) && !self.work.always_settles()
        })
    }

    async fn ask(&self, payment_request: &PaymentRequest) -> Option<ClientResponse> {
        {
            let mut story = self.story.lock();
            story.attempts += 1;
            let line = format!("the client requests {}", payment_request.amount);
            story.write(self.began.elapsed(), line);
        }
        let (story, began) = (Arc::clone(&self.story), self.began);
        let (work, amount) = (self.work, payment_request.amount);
        let on_outcome = move |outcome, sent| {
            let request = SentRequest { work, amount, sent };
            story.lock().record(request, outcome, began.elapsed());
        };
        let response = self
            .pool
            .request(&payment_request.request, PATIENCE, on_outcome)
            .await;
        if response.is_none() {
            let line = "the client times out".to_owned();
            self.story.lock().write(self.began.elapsed(), line);
        }
        response
    }
}
