//! The hunt searches for double charges. It runs real functions with real stores, a provider with Stripe's state machine, and
//! clients that retry. It injects random faults into all of them.
//!
//! With a retention ([`Hunt::with_retention`]), finished records expire during the hunt. Callers retry before, around and after
//! the expiry. The work of a key is allowed to run again only after the expiry.
//!
//! At the end the hunt compares, payment by payment, the responses to clients with the provider's charges ([`Report`]). A seed
//! repeats every choice: the clients' requests and behaviour, and the order and the duration of faults. But the interleaving
//! of requests and faults depends on the machine. So a seed repeats most findings, but not all.

mod bank;
mod client;
mod faults;
mod pool;
mod provider;
mod provider_fault;
mod report;
mod retention;
mod retry_burst;
mod round;
mod run;
mod settling;
mod stage;
mod story;
mod timeline;
mod ttl_monitor;
mod verdict;

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use fastrand::Rng;

pub use self::faults::{Fault, FaultPeriod};
pub use self::report::{PaymentName, Report};
pub use self::verdict::Finding;

/// One round of a hunt. It has its own seed and a part of the hunt's payments.
struct Round<'a> {
    hunt: &'a Hunt,
    seed: u64,
    payments: u32,
    /// The start of the hunt.
    began: Instant,
}

/// The lease of an attempt without a deadline. Every freeze lasts longer than this lease.
const LEASE: Duration = Duration::from_millis(1_000);

/// The settings of a hunt.
#[derive(Clone, Debug)]
pub struct Hunt {
    /// The number of payments.
    pub payments: u32,
    /// The seed of all choices.
    pub seed: u64,
    /// The function that the processes run.
    pub work: Work,
    /// The stores of idempotency keys.
    pub mode: Mode,
    /// The faults to inject.
    pub faults: Vec<Fault>,
    /// The retention of results, a whole number of seconds. Callers retry before and after the end of the retention. `None`
    /// means a retention that is longer than any hunt.
    pub retention: Option<Duration>,
    /// Whether a finding stops the hunt early. After a double charge, a contradiction or a stale answer, no further client
    /// starts. After any finding, no further round starts.
    pub stops_at_first: bool,
    /// If this value becomes `true`, the hunt ends early: no further client starts, and the hunt reports its findings so far.
    pub is_cancelled: Arc<AtomicBool>,
}

/// The function that the processes run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// `payments-create`, with its ledger.
    Payments,
    /// The example `charges` with the policy `AtMostOnce`. It charges with one direct call, so only the idempotency engine
    /// prevents a second charge.
    Once,
    /// The example `charges` with the policy `Rerun`: the work runs again after an abandoned attempt. Two charges are then
    /// allowed, but all clients must get the same response.
    Rerun,
}

impl Work {
    /// Whether a second charge within the retention is a violation.
    pub(crate) fn charges_once(self) -> bool {
        self != Self::Rerun
    }

    /// The policy that clients request in a header; `None` if the function does not read that header.
    pub(crate) fn policy(self) -> Option<&'static str> {
        match self {
            Self::Payments => None,
            Self::Once => Some("at-most-once"),
            Self::Rerun => Some("rerun"),
        }
    }

    /// Whether every client must get a final response. Without a ledger, an outcome can stay unknown.
    pub(crate) fn always_settles(self) -> bool {
        self == Self::Payments
    }
}

/// The stores of idempotency keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// MongoDB, with Redis in front of it.
    Tiered,
    /// MongoDB only.
    MongoDb,
    /// Redis only. By default, no fault makes Redis lose data. The ledger consists of files.
    Redis,
}

/// The progress of a hunt or a round.
#[derive(Clone, Copy, Debug)]
pub struct Progress {
    /// The number of payments started so far.
    pub begun: usize,
    /// The number of charges so far.
    pub charges: usize,
    /// The number of faults so far.
    pub faults: usize,
    /// The duration of the hunt or the round so far.
    pub took: Duration,
}

/// The maximum number of payments in one environment. A longer hunt consists of several rounds. Each round has a new environment
/// and its own seed, so that a finding can be repeated in minutes.
const ROUND: u32 = 5_000;

impl Hunt {
    /// Creates a hunt with this number of payments and with the default faults of the mode.
    pub fn new(payments: u32, seed: u64, work: Work, mode: Mode) -> Self {
        Self {
            payments,
            seed,
            work,
            mode,
            faults: Fault::of(mode),
            retention: None,
            stops_at_first: false,
            is_cancelled: Arc::default(),
        }
    }

    /// Returns this hunt with this retention and with the faults for a short retention.
    #[must_use]
    pub fn with_retention(self, retention: Duration) -> Self {
        Self {
            retention: Some(retention),
            faults: Fault::of_short_retention(self.mode),
            ..self
        }
    }

    fn is_cancelled(&self) -> bool {
        self.is_cancelled.load(Ordering::SeqCst)
    }

    /// Runs the hunt. Calls `progress` every second.
    ///
    /// # Panics
    ///
    /// Panics if a server or a process does not start.
    pub async fn run(&self, progress: impl Fn(Progress)) -> Report {
        let began = Instant::now();
        let mut report = Report::default();
        let mut seed = self.seed;
        let mut left = self.payments;
        let needs_no_retry = |report: &Report| {
            self.is_cancelled() || self.stops_at_first && !report.broken().is_empty()
        };
        while left > 0 && !needs_no_retry(&report) {
            let round = Round {
                hunt: self,
                seed,
                payments: left.min(ROUND),
                began,
            };
            let found = round.run(|now| {
                progress(Progress {
                    begun: report.payments + now.begun,
                    charges: report.charges + now.charges,
                    faults: report.fault_periods.len() + now.faults,
                    took: now.took,
                });
            });
            let found = found.await;
            report.add(found);
            left -= round.payments;
            seed = seed.wrapping_add(1);
        }
        report.took = began.elapsed();
        report
    }
}

/// A random duration in the range.
fn between(rng: &mut Rng, range: Range<Duration>) -> Duration {
    range.start + (range.end - range.start).mul_f64(rng.f64())
}
