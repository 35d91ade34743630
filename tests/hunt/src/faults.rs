//! The faults of a hunt and their times, drawn from a seed.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use fastrand::Rng;
use harness::fault_proxy::FaultProxy;
use harness::lambda::Lambda;
use harness::redis_server::RedisServer;
use parking_lot::Mutex;
use tokio::time::sleep;

use super::pool::Pool;
use super::provider::Provider;
use super::{LEASE, Mode, between};

/// A fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// A process is killed.
    Kill,
    /// A process is frozen and later thawed. The freeze lasts longer than the lease of a process without a deadline.
    Freeze,
    /// The provider has executed the request of a process. Before the response arrives, the process is killed.
    KillBeforeAnswer,
    /// The provider has executed the request of a process. Before the response arrives, the process is frozen. Later it
    /// is thawed.
    FreezeBeforeAnswer,
    /// Some processes have wrong clocks during the whole hunt.
    ClockSkew,
    /// Redis is killed and restarted with the data on its disk.
    RedisRestart,
    /// Redis is killed and restarted without data.
    RedisRestartEmpty,
    /// Redis is flushed.
    RedisFlush,
    /// A failover: another Redis server becomes the primary. The new primary is empty, or has only the data from the last time
    /// that it was the primary.
    RedisFailover,
    /// Redis accepts connections and never answers.
    RedisBlackHole,
    /// Redis executes a command, and its reply is lost.
    RedisReplyLost,
    /// Redis executes commands immediately, and some replies are late.
    RedisRepliesLate,
    /// Redis refuses connections.
    RedisRefuses,
    /// Connections to Redis are reset.
    RedisBreaks,
    /// MongoDB accepts connections and never answers.
    MongoBlackHole,
    /// MongoDB executes a command, and its reply is lost.
    MongoReplyLost,
    /// MongoDB executes commands immediately, and some replies are late.
    MongoRepliesLate,
    /// MongoDB refuses connections.
    MongoRefuses,
    /// Connections to MongoDB are reset.
    MongoBreaks,
    /// Requests to the provider fail in various ways.
    Provider,
}

impl Fault {
    /// The default faults of a mode. In the mode `Redis`, no default fault makes Redis lose data, because Redis is the only
    /// store.
    pub(super) fn of(mode: Mode) -> Vec<Self> {
        let mut faults = Self::EVERYWHERE.to_vec();
        if mode != Mode::MongoDb {
            faults.extend(Self::OF_REDIS);
        }
        if mode == Mode::Tiered {
            faults.extend(Self::LOSING);
        }
        if mode != Mode::Redis {
            faults.extend(Self::OF_MONGODB);
        }
        faults
    }

    /// The faults of a hunt with a short retention in this mode. Many of these faults are late replies, because a record can
    /// expire before a late reply about it arrives.
    pub(super) fn of_short_retention(mode: Mode) -> Vec<Self> {
        [Self::of(mode), Self::late(mode).repeat(LATE_OFTEN)].concat()
    }

    fn late(mode: Mode) -> &'static [Self] {
        match mode {
            Mode::Tiered => &[Self::RedisRepliesLate, Self::MongoRepliesLate],
            Mode::MongoDb => &[Self::MongoRepliesLate],
            Mode::Redis => &[Self::RedisRepliesLate],
        }
    }

    /// All faults that are allowed in the variable `FAULTS`. In the mode `Redis`, they include the faults that lose Redis's
    /// data, which are not default faults of this mode.
    pub fn selectable(mode: Mode) -> Vec<Self> {
        let mut faults = Self::of(mode);
        faults.extend(Self::late(mode));
        if mode == Mode::Redis {
            faults.extend(Self::LOSING);
        }
        faults
    }

    const EVERYWHERE: [Self; 6] = [
        Self::Kill,
        Self::Freeze,
        Self::KillBeforeAnswer,
        Self::FreezeBeforeAnswer,
        Self::ClockSkew,
        Self::Provider,
    ];

    const OF_REDIS: [Self; 5] = [
        Self::RedisRestart,
        Self::RedisBlackHole,
        Self::RedisReplyLost,
        Self::RedisRefuses,
        Self::RedisBreaks,
    ];

    const LOSING: [Self; 3] = [
        Self::RedisRestartEmpty,
        Self::RedisFlush,
        Self::RedisFailover,
    ];

    const OF_MONGODB: [Self; 4] = [
        Self::MongoBlackHole,
        Self::MongoReplyLost,
        Self::MongoRefuses,
        Self::MongoBreaks,
    ];

    /// The target of the fault.
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
            | Self::RedisRepliesLate
            | Self::RedisRefuses
            | Self::RedisBreaks => Lane::Redis,
            Self::MongoBlackHole
            | Self::MongoReplyLost
            | Self::MongoRepliesLate
            | Self::MongoRefuses
            | Self::MongoBreaks => Lane::Mongo,
            Self::Provider => Lane::Provider,
        }
    }
}

/// The name of the fault in the variable `FAULTS`.
impl fmt::Display for Fault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, formatter)
    }
}

/// The target of a fault (its lane). Two faults of one lane never overlap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lane {
    /// The lane of faults that last for the whole hunt and are not injected.
    Always,
    Processes,
    /// Processes that wait for the provider's response to a request that the provider has just executed.
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

/// The period of a fault. Times are measured from the start of the hunt.
#[derive(Clone, Copy, Debug)]
pub struct FaultPeriod {
    /// The fault.
    pub fault: Fault,
    /// The start of the fault.
    pub from: Duration,
    /// The end of the fault.
    pub to: Duration,
}

/// All targets of faults.
pub(super) struct Targets {
    pub(super) pool: Arc<Pool>,
    /// The reconcilers and webhooks, which clients do not call.
    pub(super) beside: Vec<Arc<Lambda>>,
    pub(super) redis: Option<RedisPair>,
    pub(super) to_mongo: Option<FaultProxy>,
    pub(super) provider: Provider,
}

/// Two Redis servers, and a proxy that connects to the primary.
pub(super) struct RedisPair {
    servers: [RedisServer; 2],
    pub(super) proxy: FaultProxy,
    /// Whether the second server is the primary.
    is_second: AtomicBool,
}

impl RedisPair {
    /// Makes the first server the primary.
    pub(super) fn new(servers: [RedisServer; 2]) -> Self {
        Self {
            proxy: FaultProxy::in_front_of(servers[0].address()),
            servers,
            is_second: AtomicBool::new(false),
        }
    }

    /// The URL with which functions reach the primary.
    pub(super) fn url(&self) -> String {
        self.server().url_through(&self.proxy)
    }

    fn server(&self) -> &RedisServer {
        &self.servers[usize::from(self.is_second.load(Ordering::SeqCst))]
    }
}

impl Targets {
    fn redis(&self) -> &RedisPair {
        let pair = self.redis.as_ref();
        pair.expect("a fault of Redis requires Redis")
    }

    fn to_mongo(&self) -> &FaultProxy {
        let proxy = self.to_mongo.as_ref();
        proxy.expect("a fault of MongoDB requires MongoDB")
    }

    fn processes(&self) -> usize {
        self.pool.processes.len() + self.beside.len()
    }

    /// The process with this number. The processes of `pool` have the first numbers. The processes of `beside` have the next
    /// numbers.
    fn process(&self, number: usize) -> &Lambda {
        match self.pool.processes.get(number) {
            Some(process) => process,
            None => &self.beside[number - self.pool.processes.len()],
        }
    }
}

/// Injects the faults of one lane, one after the other.
pub(super) struct FaultInjector<'a> {
    pub(super) targets: &'a Targets,
    pub(super) faults: Vec<Fault>,
    pub(super) longest_pause: Duration,
    /// The start of the hunt.
    pub(super) began: Instant,
    pub(super) fault_periods: &'a Mutex<Vec<FaultPeriod>>,
}

impl FaultInjector<'_> {
    /// Injects faults, with pauses between them, until `is_over` is true.
    pub(super) async fn inject(&self, mut rng: Rng, is_over: &AtomicBool) {
        while !is_over.load(Ordering::SeqCst) {
            sleep(self.longest_pause.mul_f64(rng.f64())).await;
            let Some(fault) = rng.choice(&self.faults).copied() else {
                return;
            };
            let from = self.began.elapsed();
            if inject_fault(self.targets, fault, &mut rng).await {
                let to = self.began.elapsed();
                self.fault_periods
                    .lock()
                    .push(FaultPeriod { fault, from, to });
            }
        }
    }
}

/// The duration of a short fault. A freeze lasts for two leases plus a duration from this range.
const A_WHILE: Range<Duration> = Duration::from_millis(50)..Duration::from_millis(900);
/// The duration of a long outage. No client and no function waits this long.
const LONG_OUTAGE: Range<Duration> = Duration::from_secs(3)..Duration::from_secs(6);
/// The maximum delay of a reply. It is longer than the pause of the TTL monitor. So the monitor can delete a record, and another
/// client can claim its key, before the reply arrives.
const LATEST_REPLY: Duration = Duration::from_millis(900);
/// In a hunt with a short retention, the list of faults has this many additional entries for each fault with late replies. So
/// these faults are drawn more often.
const LATE_OFTEN: usize = 6;
/// On average, 1 of `LONG` outages is long.
const LONG: u32 = 6;

/// Injects a fault and waits until the fault has ended. Returns whether the fault took effect.
async fn inject_fault(targets: &Targets, fault: Fault, rng: &mut Rng) -> bool {
    let a_while = between(rng, A_WHILE);
    let victim = rng.usize(..targets.processes());
    match fault {
        // The clocks of some processes are wrong from their start, so there is nothing to inject.
        Fault::ClockSkew => return false,
        Fault::Kill => targets.process(victim).stop().await,
        Fault::Freeze => freeze(targets, victim, a_while).await,
        Fault::KillBeforeAnswer => {
            let Some(caught) = targets.provider.catch(a_while).await else {
                return false;
            };
            targets.process(caught.process).stop().await;
        }
        Fault::FreezeBeforeAnswer => {
            let Some(caught) = targets.provider.catch(a_while).await else {
                return false;
            };
            let victim = caught.process;
            targets.process(victim).suspend().await;
            // Releases the response. The frozen process reads it after the thaw.
            drop(caught);
            freeze(targets, victim, a_while).await;
        }
        Fault::RedisRestart => restart(targets.redis().server(), a_while / 4).await,
        Fault::RedisRestartEmpty => {
            if !flush(targets.redis().server()).await {
                return false;
            }
            restart(targets.redis().server(), a_while / 4).await;
        }
        Fault::RedisFlush => return flush(targets.redis().server()).await,
        Fault::RedisFailover => fail_over(targets.redis(), rng.bool(), a_while / 4).await,
        Fault::RedisBlackHole => outage(&targets.redis().proxy, FaultProxy::black_hole, rng).await,
        Fault::RedisReplyLost => {
            outage(&targets.redis().proxy, FaultProxy::drop_next_reply, rng).await;
        }
        Fault::RedisRepliesLate => late_replies(&targets.redis().proxy, rng).await,
        Fault::RedisRefuses => outage(&targets.redis().proxy, FaultProxy::refuse, rng).await,
        Fault::RedisBreaks => targets.redis().proxy.reset_connections(),
        Fault::MongoBlackHole => outage(targets.to_mongo(), FaultProxy::black_hole, rng).await,
        Fault::MongoReplyLost => outage(targets.to_mongo(), FaultProxy::drop_next_reply, rng).await,
        Fault::MongoRepliesLate => late_replies(targets.to_mongo(), rng).await,
        Fault::MongoRefuses => outage(targets.to_mongo(), FaultProxy::refuse, rng).await,
        Fault::MongoBreaks => targets.to_mongo().reset_connections(),
        Fault::Provider => {
            targets.provider.set_faulty(true);
            sleep(a_while * 2).await;
            targets.provider.set_faulty(false);
        }
    }
    true
}

/// Freezes a process, and thaws it after two leases plus `longer`.
async fn freeze(targets: &Targets, victim: usize, longer: Duration) {
    targets.pool.note_freeze(victim);
    targets.process(victim).suspend().await;
    sleep(LEASE * 2 + longer).await;
    targets.process(victim).thaw().await;
    targets.pool.note_freeze(victim);
}

/// Flushes Redis. Returns whether Redis answered in time. On a busy machine, the answer can come too late.
async fn flush(redis: &RedisServer) -> bool {
    redis.try_command(&["FLUSHALL"]).await.is_ok()
}

async fn restart(redis: &RedisServer, pause: Duration) {
    redis.stop().await;
    sleep(pause).await;
    redis.restart().await;
}

/// Makes the other Redis server the primary. If `is_empty` is true, this function first tries to flush that server.
async fn fail_over(redis: &RedisPair, is_empty: bool, pause: Duration) {
    redis.is_second.fetch_not(Ordering::SeqCst);
    redis.proxy.refuse();
    // A server that does not answer the flush keeps its data.
    let _ = is_empty && flush(redis.server()).await;
    sleep(pause).await;
    redis.proxy.lead_to(redis.server().address());
    redis.proxy.heal();
}

/// Delays some replies, for a short or a long time.
async fn late_replies(proxy: &FaultProxy, rng: &mut Rng) {
    proxy.delay_some(LATEST_REPLY, rng.u64(..));
    sleep(between(rng, A_WHILE.start..LONG_OUTAGE.start)).await;
    proxy.heal();
}

/// Injects a network fault. Most of these faults end before clients time out, but some last longer.
async fn outage(proxy: &FaultProxy, begin: fn(&FaultProxy), rng: &mut Rng) {
    let range = match rng.u32(..LONG) {
        0 => LONG_OUTAGE,
        _ => A_WHILE,
    };
    begin(proxy);
    sleep(between(rng, range)).await;
    proxy.heal();
}
