//! Clients: each wants one payment, and comes with the same key until it is told what became of it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use fastrand::Rng;
use parking_lot::Mutex;
use serde_json::json;
use tokio::time::sleep;

use super::pool::{Pool, Told};
use super::round::Round;
use crate::test_request::TestRequest;

/// What one client did and heard.
#[derive(Debug, Default)]
pub(super) struct Story {
    /// How many requests it sent.
    pub(super) attempts: u32,
    /// How long each of them took that was answered.
    pub(super) requests: Vec<Duration>,
    /// Every final answer that it heard, each once.
    pub(super) finals: Vec<Told>,
    /// What it was told of its honest repetition that nobody should be told.
    pub(super) surprises: Vec<Told>,
    /// What happened when, for people; times are from the beginning of the hunt.
    pub(super) lines: Vec<(Duration, String)>,
    /// When it first asked.
    pub(super) began: Option<Duration>,
    /// When it was first told for good.
    pub(super) answered_at: Option<Duration>,
    /// From its first request to its first final answer.
    pub(super) took: Option<Duration>,
}

/// How a client behaves.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Manner {
    /// One request after the other.
    Patient,
    /// Two at a time.
    Double,
    /// It goes away after its first request, and comes back at the end of the hunt.
    Away,
}

/// A client, and what it wants.
pub(super) struct Client<'a> {
    pool: &'a Arc<Pool>,
    story: &'a Mutex<Story>,
    request: TestRequest,
    manner: Manner,
    /// Whether it is told in the end what became of its payment, whatever happens.
    always_knows: bool,
    /// When the hunt began.
    began: Instant,
}

/// How long a client waits for an answer before it asks another process.
const PATIENCE: Duration = Duration::from_millis(1_500);
/// More attempts than any fault lasts.
const MOST_ATTEMPTS: u32 = 400;

impl<'a> Client<'a> {
    /// The client of an order; the same for the same seed.
    pub(super) fn new(
        round: &Round<'_>,
        order: usize,
        pool: &'a Arc<Pool>,
        story: &'a Mutex<Story>,
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
        let body = json!({
            "amount": rng.u32(100..100_000), "currency": "EUR", "payment_method": method,
            "metadata": {"order": order.to_string()},
        });
        let request = TestRequest::post("/api/payments")
            .header("Idempotency-Key", &format!("hunt-{seed}-{order}"));
        let request = match pool.policy {
            Some(policy) => request.header("x-policy", policy),
            None => request,
        };
        Self {
            pool,
            story,
            request: request.json(&body),
            manner,
            always_knows: round.hunt.work.always_knows(),
            began: round.began,
        }
    }

    /// Comes until it has a final answer, or as its manner is.
    pub(super) async fn run(&self) {
        let first = Instant::now();
        self.story.lock().began = Some(self.began.elapsed());
        let mut pause = Duration::from_millis(5);
        for _ in 0..MOST_ATTEMPTS {
            let told = match self.manner {
                Manner::Double => {
                    let (one, two) = tokio::join!(self.ask(), self.ask());
                    if one.is_final() { one } else { two }
                }
                Manner::Patient | Manner::Away => self.ask().await,
            };
            if self.is_all(&told) {
                self.story.lock().took.get_or_insert(first.elapsed());
                return;
            }
            if self.manner == Manner::Away {
                return;
            }
            sleep(pause).await;
            pause = (pause * 2).min(Duration::from_millis(400));
        }
    }

    /// Comes back when all is well, until it has a final answer.
    pub(super) async fn come_back(&self) {
        for _ in 0..MOST_ATTEMPTS {
            let told = self.ask().await;
            if self.is_all(&told) {
                return;
            }
            sleep(Duration::from_millis(50)).await;
        }
    }

    /// Whether it makes no sense to ask again.
    fn is_all(&self, told: &Told) -> bool {
        told.is_final() || told.is_unknown() && !self.always_knows
    }

    async fn ask(&self) -> Told {
        let sent = self.began.elapsed();
        let told = self.pool.request(&self.request, PATIENCE).await;
        let answered = self.began.elapsed();
        let mut story = self.story.lock();
        story.attempts += 1;
        if told != Told::NOTHING {
            story.requests.push(answered.saturating_sub(sent));
        }
        let summary: String = told.body.chars().take(300).collect();
        story.lines.push((sent, "the client asks".to_owned()));
        let line = format!("the client is told {}: {summary}", told.status);
        story.lines.push((answered, line));
        match told.status {
            201 | 402 => {
                story.answered_at.get_or_insert(answered);
                if !story.finals.contains(&told) {
                    story.finals.push(told.clone());
                }
            }
            // 0: nothing; 500: the function failed; the others say to come again.
            0 | 202 | 409 | 500 | 503 => {}
            _ => story.surprises.push(told.clone()),
        }
        if story.lines.len() > 60 {
            story.lines.drain(20..40);
        }
        told
    }
}
