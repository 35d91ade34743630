//! Clients: each wants one payment, and comes with the same key until it is told what became of it.

use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use fastrand::Rng;
use parking_lot::Mutex;
use serde_json::json;
use tokio::time::sleep;

use super::pool::{Heard, Pool, Told};
use super::round::Round;
use crate::test_request::TestRequest;

/// What one client did and heard.
#[derive(Debug, Default)]
pub(super) struct Story {
    /// How many requests it sent.
    pub(super) attempts: u32,
    /// How long each of them took that was answered, from when a process had it.
    pub(super) requests: Vec<Duration>,
    /// Every final answer that it heard, each once.
    pub(super) finals: Vec<Told>,
    /// Answers that no honest repetition may get.
    pub(super) surprises: Vec<Told>,
    /// How processes failed by themselves that had its requests.
    pub(super) failures: Vec<String>,
    /// What happened when, for people; times are from the beginning of the hunt.
    pub(super) lines: Vec<(Duration, String)>,
    /// When it first asked, or came back after it had gone away.
    pub(super) began: Option<Duration>,
    /// When it was first told for good.
    pub(super) answered_at: Option<Duration>,
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
    story: Arc<Mutex<Story>>,
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
/// How many lines a client may write. Beyond that, some are left out that are neither its first nor its last.
const MOST_LINES: usize = 60;
const LEFT_OUT: Range<usize> = 20..40;

impl Story {
    /// From the client's first request to its first final answer.
    pub(super) fn took(&self) -> Option<Duration> {
        Some(self.answered_at?.saturating_sub(self.began?))
    }

    fn hear(&mut self, heard: Heard, took: Duration, at: Duration) {
        let told = match heard {
            Heard::Told(told) => told,
            Heard::Nothing => return self.write(at, "its process is gone".to_owned()),
            Heard::Failure(reason) => {
                self.write(at, format!("its process failed: {reason}"));
                self.failures.push(reason);
                return;
            }
        };
        let summary: String = told.body.chars().take(300).collect();
        self.write(at, format!("the client is told {}: {summary}", told.status));
        self.requests.push(took);
        match told.status {
            _ if told.is_final() => {
                self.answered_at.get_or_insert(at);
                if !self.finals.contains(&told) {
                    self.finals.push(told);
                }
            }
            // They say to come again.
            202 | 409 | 503 => {}
            _ => self.surprises.push(told),
        }
    }

    fn write(&mut self, at: Duration, line: String) {
        self.lines.push((at, line));
        if self.lines.len() > MOST_LINES {
            let (from, _) = self.lines[LEFT_OUT.start];
            let mark = (from, "… lines left out".to_owned());
            self.lines.splice(LEFT_OUT, [mark]);
        }
    }
}

impl<'a> Client<'a> {
    /// The client of an order; the same for the same seed.
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
        let body = json!({
            "amount": rng.u32(100..100_000), "currency": "EUR", "payment_method": method,
            "metadata": {"order": order.to_string()},
        });
        let request = TestRequest::post("/api/payments")
            .header("Idempotency-Key", &format!("hunt-{seed}-{order}"));
        let request = match round.hunt.work.policy() {
            Some(policy) => request.header("x-policy", policy),
            None => request,
        };
        Self {
            pool,
            story: Arc::clone(story),
            request: request.json(&body),
            manner,
            always_knows: round.hunt.work.always_knows(),
            began: round.began,
        }
    }

    /// Comes until it has a final answer, or as its manner is.
    pub(super) async fn run(&self) {
        self.story.lock().began = Some(self.began.elapsed());
        let mut pause = Duration::from_millis(5);
        for _ in 0..MOST_ATTEMPTS {
            let told = match self.manner {
                Manner::Double => {
                    let (one, two) = tokio::join!(self.ask(), self.ask());
                    if one.as_ref().is_some_and(Told::is_final) {
                        one
                    } else {
                        two
                    }
                }
                Manner::Patient | Manner::Away => self.ask().await,
            };
            if self.is_enough(told.as_ref()) || self.manner == Manner::Away {
                return;
            }
            sleep(pause).await;
            pause = (pause * 2).min(Duration::from_millis(400));
        }
    }

    /// Comes back when all is well, until it has a final answer.
    pub(super) async fn come_back(&self) {
        if self.manner == Manner::Away {
            self.story.lock().began = Some(self.began.elapsed());
        }
        for _ in 0..MOST_ATTEMPTS {
            let told = self.ask().await;
            if self.is_enough(told.as_ref()) {
                return;
            }
            sleep(Duration::from_millis(50)).await;
        }
    }

    /// Whether it makes no sense to ask again.
    fn is_enough(&self, told: Option<&Told>) -> bool {
        told.is_some_and(|told| told.is_final() || told.is_unknown() && !self.always_knows)
    }

    async fn ask(&self) -> Option<Told> {
        {
            let mut story = self.story.lock();
            story.attempts += 1;
            story.write(self.began.elapsed(), "the client asks".to_owned());
        }
        let (story, began) = (Arc::clone(&self.story), self.began);
        let heard = move |heard, took| story.lock().hear(heard, took, began.elapsed());
        let told = self.pool.request(&self.request, PATIENCE, heard).await;
        if told.is_none() {
            let line = "the client waits no longer".to_owned();
            self.story.lock().write(self.began.elapsed(), line);
        }
        told
    }
}
