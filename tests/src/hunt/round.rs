//! A part of a hunt, on a stage of its own: clients pay while things go wrong, all is led back to health, everybody asks again.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use fastrand::Rng;
use parking_lot::Mutex;
use tokio::task::JoinSet;

use super::bank::Bank;
use super::client::{Client, Story};
use super::faults::{self, Lane};
use super::report::Report;
use super::stage::Stage;
use super::{Hunt, Progress};

/// A part of a hunt.
pub(super) struct Round<'a> {
    pub(super) hunt: &'a Hunt,
    pub(super) seed: u64,
    pub(super) payments: u32,
    /// When the hunt began.
    pub(super) began: Instant,
}

/// How many clients come at a time.
const CLIENTS: usize = 64;
/// How long settling what is open may take at the end.
const SETTLING: Duration = Duration::from_secs(60);

/// What clients share.
#[derive(Clone)]
struct Stories {
    all: Arc<Vec<Mutex<Story>>>,
    begun: Arc<AtomicUsize>,
    /// Whether the hunt has found what it looks for, and no further client comes.
    has_found: Arc<AtomicBool>,
}

impl Round<'_> {
    pub(super) async fn run(&self, progress: impl Fn(Progress)) -> Report {
        let stage = Stage::build(self).await;
        let stories = Stories {
            all: Arc::new((0..self.payments).map(|_| Mutex::default()).collect()),
            begun: Arc::default(),
            has_found: Arc::default(),
        };
        let is_over = AtomicBool::new(false);
        let struck = Mutex::new(Vec::new());
        let lanes = Lane::ALL.map(|lane| {
            let faults = self.hunt.faults.iter().copied();
            let faults: Vec<_> = faults.filter(|fault| fault.lane() == lane).collect();
            let rng = Rng::with_seed(self.seed.wrapping_add(lane as u64 + 1));
            let (stage, is_over, struck) = (&stage, &is_over, &struck);
            async move {
                let lane = faults::Striking {
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
            let mut clients = self.all_pay(&stage, &stories);
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
                            begun: stories.begun.load(Ordering::SeqCst),
                            charges: provider.books(Bank::counts).1,
                            faults: struck.lock().len(),
                        });
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
        let open = stage.settle(SETTLING).await;
        self.all_come_back(&stage, &stories).await;
        let begun = stories.begun.load(Ordering::SeqCst);
        let told = stories.all.iter().take(begun);
        let told: Vec<_> = told
            .map(|story| std::mem::take(&mut *story.lock()))
            .collect();
        Report::of(self, &told, &stage, open, struck.into_inner())
    }

    fn all_pay(&self, stage: &Stage, stories: &Stories) -> JoinSet<()> {
        let mut clients = JoinSet::new();
        for _ in 0..CLIENTS {
            let (stories, pool) = (stories.clone(), Arc::clone(&stage.targets.pool));
            let (work, seed, began) = (self.hunt.work, self.seed, self.began);
            let stops_at_first = self.hunt.stops_at_first;
            clients.spawn(async move {
                while !(stops_at_first && stories.has_found.load(Ordering::SeqCst)) {
                    let order = stories.begun.fetch_add(1, Ordering::SeqCst);
                    let Some(story) = stories.all.get(order) else {
                        stories.begun.store(stories.all.len(), Ordering::SeqCst);
                        return;
                    };
                    Client::new(work, seed, order)
                        .run(&pool, story, began)
                        .await;
                    if story.lock().finals.len() > 1 {
                        stories.has_found.store(true, Ordering::SeqCst);
                    }
                }
            });
        }
        clients
    }

    /// Everybody asks again, from the first on.
    async fn all_come_back(&self, stage: &Stage, stories: &Stories) {
        let next = Arc::new(AtomicUsize::new(0));
        let mut clients = JoinSet::new();
        for _ in 0..CLIENTS {
            let (stories, next) = (Arc::clone(&stories.all), Arc::clone(&next));
            let pool = Arc::clone(&stage.targets.pool);
            let (work, seed, began) = (self.hunt.work, self.seed, self.began);
            clients.spawn(async move {
                loop {
                    let order = next.fetch_add(1, Ordering::SeqCst);
                    let Some(story) = stories.get(order) else {
                        return;
                    };
                    if story.lock().attempts > 0 {
                        Client::new(work, seed, order)
                            .come_back(&pool, story, began)
                            .await;
                    }
                }
            });
        }
        clients.join_all().await;
    }
}
