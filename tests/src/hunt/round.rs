//! A part of a hunt, on a stage of its own: clients pay while things go wrong, all is led back to health, everybody asks again.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use fastrand::Rng;
use futures_util::stream::{self, FuturesUnordered, StreamExt};
use parking_lot::Mutex;

use super::Hunt;
use super::bank::Bank;
use super::client::{Client, Story};
use super::faults::{Lane, Striking, Struck};
use super::report::Report;
use super::stage::Stage;

/// A part of a hunt.
pub(super) struct Round<'a> {
    pub(super) hunt: &'a Hunt,
    pub(super) seed: u64,
    pub(super) payments: u32,
    /// When the hunt began.
    pub(super) began: Instant,
}

/// How many clients come at a time.
const CLIENTS: usize = 96;
/// How long settling what is open may take at the end.
const SETTLING: Duration = Duration::from_secs(60);

/// What clients share.
struct Stories {
    all: Vec<Mutex<Story>>,
    begun: AtomicUsize,
    /// Whether the hunt has found what it looks for, and no further client comes.
    has_found: AtomicBool,
}

impl Round<'_> {
    /// Hunts, and tells each second how many payments were begun, and how many charges and faults there were.
    pub(super) async fn run(&self, progress: impl Fn(usize, usize, usize)) -> Report {
        let from = self.began.elapsed();
        let stage = Stage::build(self).await;
        let stories = Stories {
            all: (0..self.payments).map(|_| Mutex::default()).collect(),
            begun: AtomicUsize::default(),
            has_found: AtomicBool::default(),
        };
        let is_over = AtomicBool::new(false);
        let struck = Mutex::new(Vec::new());
        let lanes = Lane::STRUCK.map(|lane| {
            let faults = self.hunt.faults.iter().copied();
            let faults: Vec<_> = faults.filter(|fault| fault.lane() == lane).collect();
            let rng = Rng::with_seed(self.seed.wrapping_add(lane as u64 + 1));
            let (stage, is_over, struck) = (&stage, &is_over, &struck);
            async move {
                let lane = Striking {
                    targets: &stage.targets,
                    faults,
                    longest_pause: self.hunt.longest_pause,
                    began: self.began,
                    struck,
                };
                lane.strike(rng, is_over).await;
            }
        });
        let paying = async {
            let clients = (0..CLIENTS).map(|_| self.pay(&stage, &stories));
            let mut clients: FuturesUnordered<_> = clients.collect();
            let mut ticks = tokio::time::interval(Duration::from_secs(1));
            loop {
                tokio::select! {
                    ended = clients.next() => if ended.is_none() { break },
                    _ = ticks.tick() => {
                        let provider = &stage.targets.provider;
                        let begun = stories.begun.load(Ordering::SeqCst);
                        progress(begun, provider.books(Bank::counts).1, struck.lock().len());
                        if self.hunt.work.charges_once() && provider.books(Bank::has_charged_twice) {
                            stories.has_found.store(true, Ordering::SeqCst);
                        }
                    }
                }
            }
            is_over.store(true, Ordering::SeqCst);
        };
        tokio::join!(futures_util::future::join_all(lanes), paying);

        stage.heal();
        stage.settle(SETTLING).await;
        self.all_come_back(&stage, &stories).await;
        let begun = stories.begun.load(Ordering::SeqCst);
        let told = stories.all.iter().take(begun);
        let told: Vec<_> = told
            .map(|story| std::mem::take(&mut *story.lock()))
            .collect();
        let mut struck = struck.into_inner();
        struck.extend(self.all_the_time(from));
        let open = stage.count_open().await;
        Report::of(self, &told, &stage.targets.provider, open, struck)
    }

    /// A moment, from the beginning of the hunt.
    pub(super) fn since(&self, moment: Instant) -> Duration {
        moment.saturating_duration_since(self.began)
    }

    /// What was wrong from the beginning to the end.
    fn all_the_time(&self, from: Duration) -> Option<Struck> {
        let faults = self.hunt.faults.iter();
        let fault = faults.copied().find(|fault| fault.lane() == Lane::Always)?;
        Some(Struck {
            fault,
            from,
            to: self.began.elapsed(),
        })
    }

    /// One client after the other pays.
    async fn pay(&self, stage: &Stage, stories: &Stories) {
        let stops_at_first = self.hunt.stops_at_first;
        while !(stops_at_first && stories.has_found.load(Ordering::SeqCst)) {
            let order = stories.begun.fetch_add(1, Ordering::SeqCst);
            let Some(story) = stories.all.get(order) else {
                stories.begun.store(stories.all.len(), Ordering::SeqCst);
                return;
            };
            self.client(order, stage, story).run().await;
            if story.lock().finals.len() > 1 {
                stories.has_found.store(true, Ordering::SeqCst);
            }
        }
    }

    /// Everybody asks again, from the first on.
    async fn all_come_back(&self, stage: &Stage, stories: &Stories) {
        let begun = stories.begun.load(Ordering::SeqCst);
        let begun = stories.all.iter().take(begun).enumerate();
        stream::iter(begun)
            .for_each_concurrent(CLIENTS, async |(order, story)| {
                self.client(order, stage, story).come_back().await;
            })
            .await;
    }

    fn client<'a>(&self, order: usize, stage: &'a Stage, story: &'a Mutex<Story>) -> Client<'a> {
        Client::new(self, order, &stage.targets.pool, story)
    }
}
