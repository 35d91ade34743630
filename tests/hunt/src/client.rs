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

use super::pool::{Pool, Told};
use super::reunion::{Caller, Reunion};
use super::story::{Question, Story};
use super::{Round, Work};

/// The behaviour of a client.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Manner {
    /// Sends one request at a time.
    Patient,
    /// Sends two requests at a time.
    Double,
    /// Leaves after its first request, and retries at the end of the hunt.
    Away,
}

/// A request with its amount.
struct Wish {
    request: TestRequest,
    amount: u32,
}

/// A client and its requests.
pub(super) struct Client<'a> {
    pool: &'a Arc<Pool>,
    story: Arc<Mutex<Story>>,
    wish: Wish,
    /// The different request of other callers that reuse the key.
    other_wish: Wish,
    manner: Manner,
    /// Bursts of retries after a final response.
    reunions: Vec<Reunion>,
    work: Work,
    /// The start of the hunt.
    began: Instant,
}

/// The client's timeout, after which it asks another process.
const PATIENCE: Duration = Duration::from_millis(1_500);
/// More attempts than any fault lasts.
const MOST_ATTEMPTS: u32 = 400;
/// The attempts of a caller around the end of the retention. They must end before the next burst.
const RETURNING_ATTEMPTS: u32 = 8;
/// The number of times that a key outlives its retention, unless the hunt ends before.
const MOST_REUNIONS: usize = 2;

impl<'a> Client<'a> {
    /// The client of an order. The same seed makes the same client.
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
        let manner = match rng.u32(..100) {
            ..70 => Manner::Patient,
            70..88 => Manner::Double,
            _ => Manner::Away,
        };
        let request = TestRequest::post("/api/payments")
            .header("Idempotency-Key", &format!("hunt-{seed}-{order}"));
        let work = round.hunt.work;
        let request = match work.policy() {
            Some(policy) => request.header("x-policy", policy),
            None => request,
        };
        let wish = |amount| Wish {
            request: request.clone().json(&json!({
                "amount": amount, "currency": "EUR", "payment_method": method,
                "metadata": {"order": order.to_string()},
            })),
            amount,
        };
        let amount = rng.u32(100..100_000);
        let mut reunions = Vec::new();
        if let Some(retention) = round.hunt.retention {
            let draw = || Reunion::draw(&mut rng, retention, work != Work::Payments);
            reunions.extend(iter::repeat_with(draw).take(MOST_REUNIONS));
        }
        Self {
            pool,
            story: Arc::clone(story),
            wish: wish(amount),
            other_wish: wish(amount + 1),
            manner,
            reunions,
            work,
            began: round.began,
        }
    }

    /// Retries until a final response, as its behaviour says. Then retries around the end of each retention, with other callers.
    pub(super) async fn run(&self) {
        self.story.lock().began = Some(self.began.elapsed());
        if self.manner == Manner::Away {
            self.ask(&self.wish).await;
            return;
        }
        self.ask_again(&self.wish, MOST_ATTEMPTS).await;
        for Reunion(callers) in &self.reunions {
            future::join_all(callers.iter().map(|caller| self.come_as(caller))).await;
        }
    }

    /// Retries as one of several callers.
    async fn come_as(&self, caller: &Caller) {
        sleep(caller.after).await;
        let wish = match caller.wants_other {
            true => {
                self.story.lock().is_reused = true;
                &self.other_wish
            }
            false => &self.wish,
        };
        self.ask_again(wish, RETURNING_ATTEMPTS).await;
    }

    /// Retries until a response needs no retry, at most this many times.
    async fn ask_again(&self, wish: &Wish, most: u32) {
        let mut pause = Duration::from_millis(5);
        for _ in 0..most {
            let told = match self.manner {
                Manner::Double => {
                    let (one, two) = tokio::join!(self.ask(wish), self.ask(wish));
                    if one.as_ref().is_some_and(Told::is_final) {
                        one
                    } else {
                        two
                    }
                }
                Manner::Patient | Manner::Away => self.ask(wish).await,
            };
            if self.is_enough(told.as_ref()) {
                return;
            }
            sleep(pause).await;
            pause = (pause * 2).min(Duration::from_millis(400));
        }
    }

    /// Retries until a final response, after all faults have ended.
    pub(super) async fn come_back(&self) {
        if self.manner == Manner::Away {
            self.story.lock().began = Some(self.began.elapsed());
        }
        for _ in 0..MOST_ATTEMPTS {
            let told = self.ask(&self.wish).await;
            if self.is_enough(told.as_ref()) {
                return;
            }
            sleep(Duration::from_millis(50)).await;
        }
    }

    /// Whether the response needs no retry.
    fn is_enough(&self, told: Option<&Told>) -> bool {
        let is_settled = |told: &Told| told.is_unknown() || told.is_mismatch();
        told.is_some_and(|told| told.is_final() || is_settled(told) && !self.work.always_knows())
    }

    async fn ask(&self, wish: &Wish) -> Option<Told> {
        {
            let mut story = self.story.lock();
            story.attempts += 1;
            let line = format!("the client requests {}", wish.amount);
            story.write(self.began.elapsed(), line);
        }
        let (story, began) = (Arc::clone(&self.story), self.began);
        let (work, amount) = (self.work, wish.amount);
        let heard = move |heard, sent| {
            let question = Question { work, amount, sent };
            story.lock().hear(question, heard, began.elapsed());
        };
        let told = self.pool.request(&wish.request, PATIENCE, heard).await;
        if told.is_none() {
            let line = "the client times out".to_owned();
            self.story.lock().write(self.began.elapsed(), line);
        }
        told
    }
}
