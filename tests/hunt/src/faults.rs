//! What goes wrong, when, and for how long: drawn from a seed.

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

/// Something that goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// A process is killed.
    Kill,
    /// One stands still for longer than the lease of those that know no deadline, and goes on.
    Freeze,
    /// One is killed when the provider has done something for it, and before it hears of that.
    KillBeforeAnswer,
    /// One stands still then, for as long, and goes on.
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
    /// Redis does at once what it is asked, and some of its answers are late.
    RedisRepliesLate,
    /// Redis refuses connections.
    RedisRefuses,
    /// Connections to Redis break.
    RedisBreaks,
    /// MongoDB swallows everything.
    MongoBlackHole,
    /// MongoDB does what it is asked, and its answer is lost.
    MongoReplyLost,
    /// MongoDB does at once what it is asked, and some of its answers are late.
    MongoRepliesLate,
    /// MongoDB refuses connections.
    MongoRefuses,
    /// Connections to MongoDB break.
    MongoBreaks,
    /// Requests to the provider fare badly.
    Provider,
}

impl Fault {
    /// Those that strike in a mode: Redis alone loses nothing.
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

    /// Those that strike in a mode where results are kept for so short a time that callers meet its end: also late replies, more
    /// often than others, as what was read may be over when it arrives.
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

    /// Those that can be wanted by name: also that a Redis loses what it alone decides by.
    pub fn that_can_be_named(mode: Mode) -> Vec<Self> {
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

    /// Where it strikes.
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

/// The word by which `FAULTS` names it.
impl fmt::Display for Fault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, formatter)
    }
}

/// Where faults strike. Faults of one lane never overlap.
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

/// Everything that can be struck.
pub(super) struct Targets {
    pub(super) pool: Arc<Pool>,
    /// Processes that clients do not talk to.
    pub(super) beside: Vec<Arc<Lambda>>,
    pub(super) redis: Option<RedisPair>,
    pub(super) to_mongo: Option<FaultProxy>,
    pub(super) provider: Provider,
}

/// Two Redis servers, and what leads to one of them.
pub(super) struct RedisPair {
    servers: [RedisServer; 2],
    pub(super) proxy: FaultProxy,
    /// Which of the two is in charge.
    is_second: AtomicBool,
}

impl RedisPair {
    /// The first one is in charge.
    pub(super) fn new(servers: [RedisServer; 2]) -> Self {
        Self {
            proxy: FaultProxy::in_front_of(servers[0].address()),
            servers,
            is_second: AtomicBool::new(false),
        }
    }

    /// Where functions find the one that is in charge.
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
        pair.expect("faults of Redis strike where there is one")
    }

    fn to_mongo(&self) -> &FaultProxy {
        let proxy = self.to_mongo.as_ref();
        proxy.expect("faults of MongoDB strike where there is one")
    }

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
            if happens(self.targets, fault, &mut rng).await {
                let to = self.began.elapsed();
                self.struck.lock().push(Struck { fault, from, to });
            }
        }
    }
}

/// How long faults are, or by how much longer than a lease.
const A_WHILE: Range<Duration> = Duration::from_millis(50)..Duration::from_millis(900);
/// How long outages are that nobody waits for the end of.
const LONG_OUTAGE: Range<Duration> = Duration::from_secs(3)..Duration::from_secs(6);
/// How late a reply is at most that is late: longer than the TTL monitor pauses, and another client works.
const LATEST_REPLY: Duration = Duration::from_millis(900);
/// How often late replies are among the faults of their server.
const LATE_OFTEN: usize = 6;
/// One of so many outages is long.
const LONG: u32 = 6;

/// Lets a fault happen, and returns when it is over: whether it came to it.
async fn happens(targets: &Targets, fault: Fault, rng: &mut Rng) -> bool {
    let a_while = between(rng, A_WHILE);
    let victim = rng.usize(..targets.processes());
    match fault {
        // It is there already.
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
            // The answer is there when it goes on.
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

/// Lets a process stand still for so much longer than any lease that knows no deadline.
async fn freeze(targets: &Targets, victim: usize, longer: Duration) {
    targets.pool.note_freeze(victim);
    targets.process(victim).suspend().await;
    sleep(LEASE * 2 + longer).await;
    targets.process(victim).thaw().await;
    targets.pool.note_freeze(victim);
}

/// Lets Redis forget everything: whether it has heard of it, on a machine that is busy.
async fn flush(redis: &RedisServer) -> bool {
    redis.try_command(&["FLUSHALL"]).await.is_ok()
}

async fn restart(redis: &RedisServer, pause: Duration) {
    redis.stop().await;
    sleep(pause).await;
    redis.restart().await;
}

/// Lets the other Redis be in charge, as it is or empty.
async fn fail_over(redis: &RedisPair, is_empty: bool, pause: Duration) {
    redis.is_second.fetch_not(Ordering::SeqCst);
    redis.proxy.refuse();
    // Where it does not hear of it, it is as it is.
    let _ = is_empty && flush(redis.server()).await;
    sleep(pause).await;
    redis.proxy.lead_to(redis.server().address());
    redis.proxy.heal();
}

/// Lets some replies be late, for a while or for as long as a long outage.
async fn late_replies(proxy: &FaultProxy, rng: &mut Rng) {
    proxy.delay_some(LATEST_REPLY, rng.u64(..));
    sleep(between(rng, A_WHILE.start..LONG_OUTAGE.start)).await;
    proxy.heal();
}

/// Lets a fault of the network last. Most are over before anybody gives up, some are not.
async fn outage(proxy: &FaultProxy, begin: fn(&FaultProxy), rng: &mut Rng) {
    let range = match rng.u32(..LONG) {
        0 => LONG_OUTAGE,
        _ => A_WHILE,
    };
    begin(proxy);
    sleep(between(rng, range)).await;
    proxy.heal();
}
