//! What goes wrong, when, and for how long: drawn from a seed.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use fastrand::Rng;
use parking_lot::Mutex;
use tokio::time::sleep;

use super::Mode;
use super::pool::Pool;
use super::provider::Provider;
use crate::fault_proxy::FaultProxy;
use crate::lambda::Lambda;
use crate::redis_server::RedisServer;

/// Something that goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// A process is killed.
    Kill,
    /// One stands still for longer than its lease, and goes on.
    Freeze,
    /// One is killed when the provider has done something for it, and before it hears of that.
    KillBeforeAnswer,
    /// One stands still then, for longer than its lease, and goes on.
    FreezeBeforeAnswer,
    /// Some processes have clocks that are off, from the beginning to the end.
    ClockSkew,
    /// Redis is killed and starts again, with what it keeps on its disk.
    RedisRestart,
    /// Redis is killed and starts again, with nothing.
    RedisRestartEmpty,
    /// Redis forgets everything.
    RedisFlush,
    /// Another Redis takes its place, which has nothing, or what it had when it was last in charge.
    RedisFailover,
    /// Redis swallows everything.
    RedisBlackHole,
    /// Redis does what it is asked, and its answer is lost.
    RedisReplyLost,
    /// Redis refuses connections.
    RedisRefuses,
    /// Connections to Redis break.
    RedisBreaks,
    /// MongoDB swallows everything.
    MongoBlackHole,
    /// MongoDB does what it is asked, and its answer is lost.
    MongoReplyLost,
    /// MongoDB refuses connections.
    MongoRefuses,
    /// Connections to MongoDB break.
    MongoBreaks,
    /// Requests to the provider fare badly.
    Provider,
}

impl Fault {
    /// Those that a mode takes: Redis alone may lose nothing.
    pub(super) fn of(mode: Mode) -> Vec<Self> {
        let all = [
            Self::Kill,
            Self::Freeze,
            Self::KillBeforeAnswer,
            Self::FreezeBeforeAnswer,
            Self::ClockSkew,
            Self::RedisRestart,
            Self::RedisBlackHole,
            Self::RedisReplyLost,
            Self::RedisRefuses,
            Self::RedisBreaks,
            Self::Provider,
        ];
        let more = [
            Self::RedisRestartEmpty,
            Self::RedisFlush,
            Self::RedisFailover,
            Self::MongoBlackHole,
            Self::MongoReplyLost,
            Self::MongoRefuses,
            Self::MongoBreaks,
        ];
        match mode {
            Mode::Redis => all.to_vec(),
            Mode::Tiered => all.into_iter().chain(more).collect(),
        }
    }

    /// Which faults never happen at the same time: those of one lane.
    pub(super) fn lane(self) -> Lane {
        match self {
            Self::ClockSkew => Lane::Always,
            Self::Kill | Self::Freeze => Lane::Processes,
            Self::KillBeforeAnswer | Self::FreezeBeforeAnswer => Lane::Answers,
            Self::RedisRestart
            | Self::RedisRestartEmpty
            | Self::RedisFlush
            | Self::RedisFailover
            | Self::RedisBlackHole
            | Self::RedisReplyLost
            | Self::RedisRefuses
            | Self::RedisBreaks => Lane::Redis,
            Self::MongoBlackHole
            | Self::MongoReplyLost
            | Self::MongoRefuses
            | Self::MongoBreaks => Lane::Mongo,
            Self::Provider => Lane::Provider,
        }
    }
}

/// What faults strike; one at a time does so in each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lane {
    /// No faults strike here: they are there all the time.
    Always,
    Processes,
    /// Processes too, at a moment that is chosen.
    Answers,
    Redis,
    Mongo,
    Provider,
}

impl Lane {
    pub(super) const STRUCK: [Self; 5] = [
        Self::Processes,
        Self::Answers,
        Self::Redis,
        Self::Mongo,
        Self::Provider,
    ];
}

/// When a fault was, from the beginning of the hunt.
#[derive(Clone, Copy, Debug)]
pub struct Struck {
    /// What went wrong.
    pub fault: Fault,
    /// When it began.
    pub from: Duration,
    /// When it was over.
    pub to: Duration,
}

/// What faults strike.
pub(super) struct Targets {
    pub(super) pool: Arc<Pool>,
    /// Processes that clients do not talk to.
    pub(super) beside: Vec<Arc<Lambda>>,
    pub(super) redis: [RedisServer; 2],
    pub(super) to_redis: FaultProxy,
    pub(super) to_mongo: Option<FaultProxy>,
    pub(super) provider: Provider,
    /// Which of the two is in charge.
    pub(super) second_redis: AtomicBool,
}

impl Targets {
    fn processes(&self) -> usize {
        self.pool.processes.len() + self.beside.len()
    }

    /// The process with this number: those of the pool first.
    fn process(&self, number: usize) -> &Lambda {
        match self.pool.processes.get(number) {
            Some(process) => process,
            None => &self.beside[number - self.pool.processes.len()],
        }
    }
}

/// Faults of a lane, one after the other.
pub(super) struct Striking<'a> {
    pub(super) targets: &'a Targets,
    pub(super) faults: Vec<Fault>,
    pub(super) longest_pause: Duration,
    /// When the hunt began.
    pub(super) began: Instant,
    pub(super) struck: &'a Mutex<Vec<Struck>>,
}

impl Striking<'_> {
    /// Strikes, with pauses, until `is_over`.
    pub(super) async fn strike(&self, mut rng: Rng, is_over: &AtomicBool) {
        while !is_over.load(Ordering::SeqCst) {
            sleep(self.longest_pause.mul_f64(rng.f64())).await;
            let Some(fault) = rng.choice(&self.faults).copied() else {
                return;
            };
            let from = self.began.elapsed();
            one(self.targets, fault, &mut rng).await;
            let to = self.began.elapsed();
            self.struck.lock().push(Struck { fault, from, to });
        }
    }
}

/// One of so many outages is long.
const LONG: u32 = 6;

async fn one(targets: &Targets, fault: Fault, rng: &mut Rng) {
    let a_while = Duration::from_millis(rng.u64(50..900));
    let victim = targets.process(rng.usize(..targets.processes()));
    let redis = &targets.redis[usize::from(targets.second_redis.load(Ordering::SeqCst))];
    match fault {
        Fault::Kill => victim.stop().await,
        Fault::Freeze => {
            victim.suspend().await;
            sleep(super::stage::LEASE * 2 + a_while).await;
            victim.thaw().await;
        }
        Fault::KillBeforeAnswer | Fault::FreezeBeforeAnswer => {
            let Some(caught) = targets.provider.catch(a_while).await else {
                return;
            };
            let victim = targets.process(caught.process);
            if fault == Fault::KillBeforeAnswer {
                victim.stop().await;
                return;
            }
            victim.suspend().await;
            drop(caught);
            sleep(super::stage::LEASE * 2 + a_while).await;
            victim.thaw().await;
        }
        Fault::RedisRestart | Fault::RedisRestartEmpty => {
            if fault == Fault::RedisRestartEmpty {
                redis.command(&["FLUSHALL"]).await;
            }
            redis.stop().await;
            sleep(a_while / 4).await;
            redis.restart().await;
        }
        Fault::RedisFlush => {
            redis.command(&["FLUSHALL"]).await;
        }
        Fault::RedisFailover => {
            let other = !targets.second_redis.load(Ordering::SeqCst);
            let next = &targets.redis[usize::from(other)];
            targets.second_redis.store(other, Ordering::SeqCst);
            targets.to_redis.refuse();
            if rng.bool() {
                next.command(&["FLUSHALL"]).await;
            }
            sleep(a_while / 4).await;
            targets.to_redis.lead_to(next.address());
            targets.to_redis.heal();
        }
        Fault::Provider => {
            targets.provider.set_faulty(true);
            sleep(a_while * 2).await;
            targets.provider.set_faulty(false);
        }
        // Most outages end before anybody gives up, some do not.
        on_the_way => {
            let long = Duration::from_millis(rng.u64(3_000..6_000));
            let duration = if rng.u32(..LONG) == 0 { long } else { a_while };
            on_the_network(targets, on_the_way, duration).await;
        }
    }
}

async fn on_the_network(targets: &Targets, fault: Fault, duration: Duration) {
    let mongo = targets.to_mongo.as_ref();
    let proxy = match fault.lane() {
        Lane::Redis => &targets.to_redis,
        _ => mongo.expect("faults of MongoDB strike where there is one"),
    };
    match fault {
        Fault::RedisBlackHole | Fault::MongoBlackHole => proxy.black_hole(),
        Fault::RedisReplyLost | Fault::MongoReplyLost => proxy.drop_next_reply(),
        Fault::RedisRefuses | Fault::MongoRefuses => proxy.refuse(),
        _ => proxy.reset_connections(),
    }
    sleep(duration).await;
    proxy.heal();
}
