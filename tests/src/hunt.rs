//! The hunt for double charges: real functions, real stores, a provider with Stripe's state machine, clients that repeat
//! themselves, and everything going wrong at random.
//!
//! What a client is told and what the provider has charged are compared at the end, payment by payment ([`Report`]). A
//! seed repeats every choice: who wants what, who goes away, what goes wrong in which order and for how long. How requests and
//! faults interleave is the machine's, so a seed that found something finds it again most times, and not always.

mod bank;
mod client;
mod faults;
mod pool;
mod provider;
mod report;
mod stage;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use fastrand::Rng;
use parking_lot::Mutex;
use tokio::task::JoinSet;

use self::bank::Bank;
use self::client::{Client, Story};
pub use self::faults::{Fault, Struck};
pub use self::report::Report;
use self::stage::Stage;

/// A hunt to be started.
#[derive(Clone, Debug)]
pub struct Hunt {
    /// How many payments clients want.
    pub payments: u32,
    /// What all choices are made of.
    pub seed: u64,
    /// Which stores decide.
    pub mode: Mode,
    /// What goes wrong.
    pub faults: Vec<Fault>,
    /// The longest pause between two faults of a kind.
    pub longest_pause: Duration,
    /// Whether the provider gives the same answer to the same key.
    pub remembers_keys: bool,
    /// Whether to stop at the first double charge.
    pub stops_at_first: bool,
}

/// Which stores decide.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// MongoDB, with Redis in front of it.
    Tiered,
    /// Redis alone, which loses nothing; the ledger is files.
    Redis,
}

/// How far a hunt is.
#[derive(Clone, Copy, Debug)]
pub struct Progress {
    /// Payments that were begun.
    pub begun: usize,
    /// Charges so far.
    pub charges: usize,
    /// Faults so far.
    pub faults: usize,
}

/// How long an attempt has its key where it knows no deadline. A frozen process stands still for longer.
const LEASE: Duration = Duration::from_millis(1_000);
/// How many clients come at a time.
const CLIENTS: usize = 12;
/// How long settling what is open may take at the end.
const SETTLING: Duration = Duration::from_secs(60);

impl Hunt {
    /// So many payments under all faults of a mode.
    pub fn new(payments: u32, seed: u64, mode: Mode) -> Self {
        Self {
            payments,
            seed,
            mode,
            faults: Fault::of(mode),
            longest_pause: match payments {
                ..2_000 => Duration::from_millis(600),
                _ => Duration::from_secs(5),
            },
            remembers_keys: seed.is_multiple_of(2),
            stops_at_first: false,
        }
    }

    /// Hunts, and tells `progress` each second how far it is.
    ///
    /// # Panics
    ///
    /// When something does not start.
    pub async fn run(&self, progress: impl Fn(Progress)) -> Report {
        let began = Instant::now();
        let stage = Stage::build(self).await;
        let (is_over, struck) = (AtomicBool::new(false), Mutex::new(Vec::new()));
        let stories: Arc<Vec<Mutex<Story>>> =
            Arc::new((0..self.payments).map(|_| Mutex::default()).collect());
        let begun = Arc::new(AtomicUsize::new(0));

        let lanes =
            (0..faults::LANES).map(|lane| {
                let of_lane: Vec<_> = self
                    .faults
                    .iter()
                    .copied()
                    .filter(|fault| fault.lane() == lane)
                    .collect();
                let rng = Rng::with_seed(self.seed.wrapping_add(lane as u64 + 1));
                let (targets, is_over, struck, pause) =
                    (&stage.targets, &is_over, &struck, self.longest_pause);
                async move {
                    faults::strike(targets, &of_lane, rng, began, is_over, pause, struck).await
                }
            });
        let striking = futures_util::future::join_all(lanes);
        let paying = async {
            let mut clients = self.all_pay(&stage, &stories, &begun, began);
            let mut ticks = tokio::time::interval(Duration::from_secs(1));
            loop {
                tokio::select! {
                    ended = clients.join_next() => match ended {
                        Some(ended) => ended.expect("a client does not panic"),
                        None => break,
                    },
                    _ = ticks.tick() => {
                        let provider = &stage.targets.provider;
                        progress(Progress {
                            begun: begun.load(Ordering::SeqCst),
                            charges: provider.books(Bank::counts).1,
                            faults: struck.lock().len(),
                        });
                        if provider.books(Bank::has_charged_twice) {
                            stage.has_found.store(true, Ordering::SeqCst);
                        }
                    }
                }
            }
            is_over.store(true, Ordering::SeqCst);
        };
        tokio::join!(striking, paying);

        stage.heal().await;
        let open = stage.settle(SETTLING).await;
        self.all_come_back(&stage, &stories, began).await;
        let stories = stories
            .iter()
            .map(|story| std::mem::take(&mut *story.lock()));
        let stories: Vec<_> = (0..self.payments)
            .zip(stories)
            .take(begun.load(Ordering::SeqCst))
            .collect();
        Report::of(
            &stories,
            &stage.targets.provider,
            open,
            struck.into_inner(),
            began.elapsed(),
        )
    }

    fn all_pay(
        &self,
        stage: &Stage,
        stories: &Arc<Vec<Mutex<Story>>>,
        begun: &Arc<AtomicUsize>,
        began: Instant,
    ) -> JoinSet<()> {
        let stops = Arc::clone(&stage.has_found);
        let mut clients = JoinSet::new();
        for _ in 0..CLIENTS {
            let (hunt, stops) = (self.clone(), Arc::clone(&stops));
            let (pool, stories, begun) = (
                Arc::clone(&stage.targets.pool),
                Arc::clone(stories),
                Arc::clone(begun),
            );
            clients.spawn(async move {
                while !(hunt.stops_at_first && stops.load(Ordering::SeqCst)) {
                    let order = begun.fetch_add(1, Ordering::SeqCst);
                    if order >= stories.len() {
                        begun.store(stories.len(), Ordering::SeqCst);
                        return;
                    }
                    let client = Client::new(hunt.seed, u32::try_from(order).unwrap_or(u32::MAX));
                    client.run(&pool, &stories[order], began).await;
                    if stories[order].lock().finals.len() > 1 {
                        stops.store(true, Ordering::SeqCst);
                    }
                }
            });
        }
        clients
    }

    /// Everybody asks again, from the first on.
    async fn all_come_back(&self, stage: &Stage, stories: &Arc<Vec<Mutex<Story>>>, began: Instant) {
        let next = Arc::new(AtomicUsize::new(0));
        let mut clients = JoinSet::new();
        for _ in 0..CLIENTS {
            let (seed, next) = (self.seed, Arc::clone(&next));
            let (pool, stories) = (Arc::clone(&stage.targets.pool), Arc::clone(stories));
            clients.spawn(async move {
                loop {
                    let order = next.fetch_add(1, Ordering::SeqCst);
                    let Some(story) = stories.get(order) else {
                        return;
                    };
                    if story.lock().attempts > 0 {
                        let client = Client::new(seed, u32::try_from(order).unwrap_or(u32::MAX));
                        client.come_back(&pool, story, began).await;
                    }
                }
            });
        }
        clients.join_all().await;
    }
}
