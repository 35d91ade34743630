//! One round of a hunt. It has its own stores, processes and provider. First the clients pay while faults are injected. Then all
//! faults end, and every client sends its request again.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use fastrand::Rng;
use futures_util::future;
use futures_util::stream::{self, FuturesUnordered, StreamExt};
use parking_lot::Mutex;

use super::bank::Bank;
use super::client::Client;
use super::faults::{FaultInjector, FaultPeriod, Lane};
use super::report::Report;
use super::retention::Retention;
use super::stage::Stage;
use super::story::Story;
use super::{Mode, Progress, Round, Work, verdict};

/// The number of concurrent clients per process.
const CLIENTS_A_PROCESS: usize = 4;
/// The time limit for settling open payments at the end.
const SETTLING: Duration = Duration::from_secs(60);

/// The state that clients share.
struct Stories {
    /// The history of each payment.
    all: Vec<Arc<Mutex<Story>>>,
    /// How often a worker looked for a client to start. When no client is left, this number exceeds the number of clients.
    came: AtomicUsize,
    /// Whether a double charge, a contradiction or a stale answer was found. Other findings are known only after all faults have
    /// ended.
    has_found: AtomicBool,
}

impl Round<'_> {
    /// Runs the round. Calls `progress` every second.
    pub(super) async fn run(&self, progress: impl Fn(Progress)) -> Report {
        let from = self.began.elapsed();
        let stage = Stage::build(self).await;
        let stories = Stories::of(self.payments);
        let fault_periods = Mutex::new(Vec::new());
        let is_over = AtomicBool::new(false);
        let paying = async {
            let report_progress =
                || progress(self.progress(&stage, &stories, fault_periods.lock().len()));
            self.all_pay(&stage, &stories, report_progress).await;
            is_over.store(true, Ordering::SeqCst);
        };
        tokio::join!(self.inject_faults(&stage, &fault_periods, &is_over), paying);

        stage.heal();
        stage.settle(SETTLING).await;
        let unsettled = stage.count_open().await;
        self.all_ask_at_the_end(&stage, &stories).await;
        stage.targets.pool.rest().await;
        let mut fault_periods = fault_periods.into_inner();
        fault_periods.extend(self.all_the_time(from));
        let open = [unsettled, stage.count_open().await];
        Report::of(self, &stories.into_vec(), &stage, open, fault_periods)
    }

    /// The time from the start of the hunt to `moment`.
    pub(super) fn since(&self, moment: Instant) -> Duration {
        moment.saturating_duration_since(self.began)
    }

    /// The longest pause between two faults of one lane. A short hunt has shorter pauses, so that it has enough faults.
    fn longest_pause(&self) -> Duration {
        match self.payments {
            ..2_000 => Duration::from_millis(600),
            _ => Duration::from_millis(1_500),
        }
    }

    /// The fault that lasts for the whole round; `None`: the hunt has no such fault. `from` is the start of the round.
    fn all_the_time(&self, from: Duration) -> Option<FaultPeriod> {
        let faults = self.hunt.faults.iter();
        let fault = faults.copied().find(|fault| fault.lane() == Lane::Always)?;
        Some(FaultPeriod {
            fault,
            from,
            to: self.began.elapsed(),
        })
    }

    /// The rule that decides when the work of a key is allowed to run again.
    pub(super) fn retention(&self) -> Retention {
        Retention {
            // The ledger keeps each final response for ever.
            lasts: match self.hunt.work {
                Work::Payments => None,
                Work::Once | Work::Rerun => self.hunt.retention,
            },
            forgets_abandoned: self.hunt.mode == Mode::Redis,
            began: self.began,
        }
    }

    /// The number of processes. A long hunt needs more processes, because many processes wait for unavailable stores. A long
    /// hunt with a retention needs even more. Otherwise a caller at the end of a retention would wait for a process.
    pub(super) fn processes(&self) -> usize {
        match (self.payments, self.hunt.retention) {
            (..200, _) | (..2_000, None) => 24,
            (_, None) => 64,
            (_, Some(_)) => 96,
        }
    }

    fn clients(&self) -> usize {
        self.processes() * CLIENTS_A_PROCESS
    }

    /// The current progress.
    fn progress(&self, stage: &Stage, stories: &Stories, faults: usize) -> Progress {
        Progress {
            begun: stories.begun(),
            charges: stage.targets.provider.books(Bank::counts).1,
            faults,
            took: self.began.elapsed(),
        }
    }

    /// Injects faults in every lane until `is_over` is true.
    async fn inject_faults(
        &self,
        stage: &Stage,
        fault_periods: &Mutex<Vec<FaultPeriod>>,
        is_over: &AtomicBool,
    ) {
        let lanes = Lane::STRUCK.map(|lane| {
            let faults = self.hunt.faults.iter().copied();
            let faults = faults.filter(|fault| fault.lane() == lane).collect();
            let rng = Rng::with_seed(self.seed.wrapping_add(lane as u64 + 1));
            let injector = FaultInjector {
                targets: &stage.targets,
                faults,
                longest_pause: self.longest_pause(),
                began: self.began,
                fault_periods,
            };
            async move { injector.inject(rng, is_over).await }
        });
        future::join_all(lanes).await;
    }

    /// Runs all clients. Calls `report_progress` every second.
    async fn all_pay(&self, stage: &Stage, stories: &Stories, report_progress: impl Fn()) {
        let clients = (0..self.clients()).map(|_| self.pay(stage, stories));
        let mut clients: FuturesUnordered<_> = clients.collect();
        let mut ticks = tokio::time::interval(Duration::from_secs(1));
        loop {
            tokio::select! {
                ended = clients.next() => if ended.is_none() { return },
                _ = ticks.tick() => {
                    report_progress();
                    let provider = &stage.targets.provider;
                    let has_charged_twice = |bank: &Bank| bank.has_charged_twice(self.retention());
                    if self.hunt.work.charges_once() && provider.books(has_charged_twice) {
                        stories.has_found.store(true, Ordering::SeqCst);
                    }
                }
            }
        }
    }

    /// Runs one client after the other, until no client is left or the hunt must stop early.
    async fn pay(&self, stage: &Stage, stories: &Stories) {
        let needs_no_retry = || {
            let has_found = stories.has_found.load(Ordering::SeqCst);
            self.hunt.is_cancelled() || self.hunt.stops_at_first && has_found
        };
        while !needs_no_retry() {
            if self.hunt.retention.is_some() {
                stage.targets.pool.wait_for_room().await;
            }
            let order = stories.came.fetch_add(1, Ordering::SeqCst);
            let Some(story) = stories.all.get(order) else {
                return;
            };
            self.client(order, stage, story).run().await;
            let found = stage.targets.provider.books(|bank| {
                let (work, runs) = (self.hunt.work, bank.runs(order));
                verdict::findings(work, self.retention(), &story.lock(), runs)
            });
            if found.into_iter().any(verdict::is_permanent) {
                stories.has_found.store(true, Ordering::SeqCst);
            }
        }
    }

    /// Lets every started client send its request again, until a response needs no retry.
    async fn all_ask_at_the_end(&self, stage: &Stage, stories: &Stories) {
        let begun = stories.all.iter().take(stories.begun());
        stream::iter(begun.enumerate())
            .for_each_concurrent(self.clients(), async |(order, story)| {
                self.client(order, stage, story).ask_at_the_end().await;
            })
            .await;
    }

    fn client<'a>(&self, order: usize, stage: &'a Stage, story: &Arc<Mutex<Story>>) -> Client<'a> {
        Client::new(self, order, &stage.targets.pool, story)
    }
}

impl Stories {
    fn of(payments: u32) -> Self {
        Self {
            all: (0..payments).map(|_| Arc::default()).collect(),
            came: AtomicUsize::default(),
            has_found: AtomicBool::default(),
        }
    }

    /// The number of started payments.
    fn begun(&self) -> usize {
        self.came.load(Ordering::SeqCst).min(self.all.len())
    }

    /// The histories of the started payments.
    fn into_vec(self) -> Vec<Story> {
        let begun = self.begun();
        let begun = self.all.into_iter().take(begun);
        begun
            .map(|story| std::mem::take(&mut *story.lock()))
            .collect()
    }
}
