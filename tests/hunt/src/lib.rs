//! The hunt for double charges: real functions, real stores, a provider with Stripe's state machine, clients that repeat
//! themselves, and everything going wrong at random.
//!
//! With a retention ([`Hunt::with_retention`]) finished records expire during the hunt: callers come back for their keys before, around
//! and after that, and a key may run again then and not before.
//!
//! What a client is told and what the provider has charged are compared at the end, payment by payment ([`Report`]). A
//! seed repeats every choice: who wants what, who goes away, what goes wrong in which order and for how long. How requests and
//! faults interleave is the machine's, so a seed that found something finds it again most times, and not always.

mod bank;
mod client;
mod faults;
mod mishap;
mod pool;
mod provider;
mod report;
mod retention;
mod reunion;
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

pub use self::faults::{Fault, Struck};
pub use self::report::{PaymentName, Report};
pub use self::verdict::Finding;

/// One round: its seed and its share of the payments.
struct Round<'a> {
    hunt: &'a Hunt,
    seed: u64,
    payments: u32,
    /// When the hunt began.
    began: Instant,
}

/// How long an attempt has its key where it knows no deadline. A frozen process stands still for longer.
const LEASE: Duration = Duration::from_millis(1_000);

/// A hunt to be started.
#[derive(Clone, Debug)]
pub struct Hunt {
    /// How many payments clients want.
    pub payments: u32,
    /// What all choices are made of.
    pub seed: u64,
    /// What the processes do.
    pub work: Work,
    /// Which stores decide.
    pub mode: Mode,
    /// What goes wrong.
    pub faults: Vec<Fault>,
    /// How long a result is kept, in whole seconds; after it, callers come back for the key. `None`: for longer than any hunt.
    pub retention: Option<Duration>,
    /// Whether no further client comes once somebody was charged twice or answered in two ways, and no further round once anything
    /// was found.
    pub stops_at_first: bool,
    /// Whether no further client comes at all: set it, and the hunt ends early, with all that it has found.
    pub is_called_off: Arc<AtomicBool>,
}

/// What the processes do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// They are `payments-create`, with its ledger.
    Payments,
    /// They charge by one call, with nothing but the engine between the client and the charge, at most once.
    Once,
    /// …and again when an attempt ended without a word: two charges are then allowed, two answers are not.
    Rerun,
}

impl Work {
    /// Whether nobody may be charged twice, whatever happens.
    pub(crate) fn charges_once(self) -> bool {
        self != Self::Rerun
    }

    /// What a request says of running again; `None`: what it runs knows by itself.
    pub(crate) fn policy(self) -> Option<&'static str> {
        match self {
            Self::Payments => None,
            Self::Once => Some("at-most-once"),
            Self::Rerun => Some("rerun"),
        }
    }

    /// Whether everybody is told what became of their payment: without a ledger, nobody can always know.
    pub(crate) fn always_knows(self) -> bool {
        self == Self::Payments
    }
}

/// Which stores decide.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// MongoDB, with Redis in front of it.
    Tiered,
    /// MongoDB alone.
    MongoDb,
    /// Redis alone, which loses nothing; the ledger is files.
    Redis,
}

/// How far a hunt is, or a round of it.
#[derive(Clone, Copy, Debug)]
pub struct Progress {
    /// Payments that were begun.
    pub begun: usize,
    /// Charges so far.
    pub charges: usize,
    /// Faults so far.
    pub faults: usize,
    /// Time so far.
    pub took: Duration,
}

/// The most payments that take place on one stage. A longer hunt is several, each on a fresh stage with a seed of its own, so
/// what one of them finds is looked for again in minutes.
const ROUND: u32 = 5_000;

impl Hunt {
    /// So many payments under all faults of a mode.
    pub fn new(payments: u32, seed: u64, work: Work, mode: Mode) -> Self {
        Self {
            payments,
            seed,
            work,
            mode,
            faults: Fault::of(mode),
            retention: None,
            stops_at_first: false,
            is_called_off: Arc::default(),
        }
    }

    /// The same, where results are kept for so long only, under all faults of that.
    #[must_use]
    pub fn with_retention(self, retention: Duration) -> Self {
        Self {
            retention: Some(retention),
            faults: Fault::of_short_retention(self.mode),
            ..self
        }
    }

    fn is_called_off(&self) -> bool {
        self.is_called_off.load(Ordering::SeqCst)
    }

    /// Hunts, and tells `progress` each second how far it is.
    ///
    /// # Panics
    ///
    /// When something does not start.
    pub async fn run(&self, progress: impl Fn(Progress)) -> Report {
        let began = Instant::now();
        let mut report = Report::default();
        let mut seed = self.seed;
        let mut left = self.payments;
        let is_enough = |report: &Report| {
            self.is_called_off() || self.stops_at_first && !report.broken().is_empty()
        };
        while left > 0 && !is_enough(&report) {
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
                    faults: report.struck.len() + now.faults,
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

/// Some duration of the range, each as likely.
fn between(rng: &mut Rng, range: Range<Duration>) -> Duration {
    range.start + (range.end - range.start).mul_f64(rng.f64())
}
