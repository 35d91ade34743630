//! One client wants one thing, and something goes wrong meanwhile.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use harness::{FaultProxy, RedisServer};

use super::Fault;
use crate::contestant::{Contestant, Store};
use crate::function::{self, Answer, Function};
use crate::order::{Order, USUAL_PAD_BYTES};
use crate::runtime_api::Call;
use crate::stage::{Around, Stage};
use crate::till::Till;

/// What became of one key.
pub(super) struct Trial {
    pub(super) executions: usize,
    /// Different answers that say "done".
    pub(super) answers: usize,
    /// Whether the last repetition was answered with a result.
    pub(super) is_settled: bool,
    /// Whether the fault met what it is about.
    pub(super) has_struck: bool,
}

/// Somebody who wants one thing, and the process that takes the requests.
struct Client<'a> {
    stage: &'a Stage,
    contestant: &'a Contestant,
    ground: &'a Ground,
    order: Order,
    /// `None`: the next request starts one.
    function: Option<Function>,
    /// The different answers that said "done".
    told: BTreeSet<String>,
}

/// What a trial has for itself, so that several can take place at a time.
struct Ground {
    redis: RedisServer,
    till: Till,
    /// The ways of the first process to its stores, where faults strike.
    to_redis: FaultProxy,
    /// Where nobody needs it, it leads nowhere.
    to_mongo: FaultProxy,
}

/// The time of an invocation, and so how long a claim lasts; ours last two seconds longer.
const TIMEOUT: Duration = Duration::from_secs(3);
/// How much later than Lambda the benchmark kills: a process that is about to answer is not cut off for the machine's slowness.
const GRACE: Duration = Duration::from_secs(1);
/// For how long a client repeats itself: longer than the longest claim, and again when all claims are over.
pub(super) const PATIENCE: Duration = Duration::from_secs(8);
pub(super) const LAST_PATIENCE: Duration = Duration::from_secs(2);
const PAUSE: Duration = Duration::from_millis(300);

/// Lets one client want one thing while something goes wrong.
pub(super) async fn trial(stage: &Stage, contestant: &Contestant, fault: Fault) -> Trial {
    let redis = RedisServer::start().await;
    let ground = Ground {
        to_redis: FaultProxy::in_front_of(redis.address()),
        to_mongo: match stage.mongo_server() {
            Some(mongo) => FaultProxy::in_front_of(mongo.address()),
            None => FaultProxy::silent(),
        },
        redis,
        till: Till::start().await,
    };
    let mut client = Client {
        stage,
        contestant,
        ground: &ground,
        order: Order::fresh(USUAL_PAD_BYTES),
        function: None,
        told: BTreeSet::new(),
    };
    let first = client.start_first().await;
    // What a client does at its first call only, a script sent with its text for one, is not to take the fault upon itself.
    let warm = first.send(&Order::fresh(USUAL_PAD_BYTES)).await;
    assert_eq!(warm.status, 201, "{}: {}", contestant.name, warm.body);
    let has_struck = match fault {
        Fault::Flush => client.flush(&first).await,
        Fault::Freeze => client.freeze(&first).await,
        Fault::LostReply => client.lose_reply(&first).await,
        Fault::LostCompletion => client.lose_completion(&first).await,
        Fault::Kill => client.kill(&first).await,
    };
    // If it has not answered by now, this is what Lambda does with it.
    first.kill();
    let patience = match fault {
        Fault::Freeze => LAST_PATIENCE,
        _ => PATIENCE,
    };
    // Whatever it was told, if anything: a client whose answer was lost cannot know.
    let is_settled = client.insist(patience).await;
    Trial {
        executions: ground.till.executions(&client.order.key),
        answers: client.told.len(),
        is_settled,
        has_struck,
    }
}

impl<'a> Client<'a> {
    /// Lets Redis forget everything once the answer is there; whether there was one.
    async fn flush(&mut self, first: &Function) -> bool {
        let answer = first.send(&self.order).await;
        let is_answered = answer.status == 201;
        self.hear(answer);
        self.ground.redis.command(&["FLUSHALL"]).await;
        is_answered
    }

    /// Stops the process at its work, and lets it go on when others have been asked for as long as a claim lasts.
    async fn freeze(&mut self, first: &Function) -> bool {
        let (call, is_at_work) = self.begin(first).await;
        first.freeze();
        self.ground.till.open();
        self.insist(PATIENCE).await;
        first.thaw();
        // Whatever it says now, its client has gone on.
        function::answer(call, TIMEOUT + GRACE).await;
        is_at_work
    }

    async fn kill(&mut self, first: &Function) -> bool {
        let (_, is_at_work) = self.begin(first).await;
        first.kill();
        self.ground.till.open();
        is_at_work
    }

    /// Lets the deciding store's reply to the completion get lost; whether one came that could.
    async fn lose_reply(&mut self, first: &Function) -> bool {
        let (call, is_at_work) = self.begin(first).await;
        let decides = self.way_to_decider();
        decides.reset_counters();
        decides.drop_next_reply();
        self.end(call).await;
        is_at_work && (self.is_without_store() || decides.bytes_from_server() > 0)
    }

    /// Lets no store be reached any more; whether the one that decides was tried.
    async fn lose_completion(&mut self, first: &Function) -> bool {
        let (call, is_at_work) = self.begin(first).await;
        let decides = self.way_to_decider();
        decides.reset_counters();
        self.ground.to_redis.black_hole();
        self.ground.to_mongo.black_hole();
        self.end(call).await;
        is_at_work && (self.is_without_store() || decides.bytes_from_clients() > 0)
    }

    /// Brings the process to its work, which does not end before the till opens; whether it came there.
    async fn begin(&self, first: &Function) -> (Call, bool) {
        self.ground.till.close();
        let call = first.begin(&self.order).await;
        let is_at_work = self.ground.till.has_heard_of(&self.order.key).await;
        (call, is_at_work)
    }

    /// Lets the work end, and hears what comes of it in the time of the invocation.
    async fn end(&mut self, call: Call) {
        self.ground.till.open();
        if let Some(answer) = function::answer(call, TIMEOUT + GRACE).await {
            self.hear(answer);
        }
    }

    fn way_to_decider(&self) -> &'a FaultProxy {
        match self.contestant.store {
            Store::Tiered => &self.ground.to_mongo,
            _ => &self.ground.to_redis,
        }
    }

    fn is_without_store(&self) -> bool {
        self.contestant.store == Store::Nothing
    }

    /// Sends the request until it is answered with a result, or patience is over.
    async fn insist(&mut self, patience: Duration) -> bool {
        // A language that starts slowly has no less time.
        self.start_next().await;
        let began = Instant::now();
        loop {
            if self.attempt().await == Some(201) {
                return true;
            }
            if began.elapsed() > patience {
                return false;
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn attempt(&mut self) -> Option<u16> {
        self.start_next().await;
        let function = self.function.take()?;
        let call = function.begin(&self.order).await;
        // Without an answer the process is dropped, and so killed.
        let answer = function::answer(call, TIMEOUT + GRACE).await?;
        self.function = Some(function);
        let status = answer.status;
        self.hear(answer);
        Some(status)
    }

    fn hear(&mut self, answer: Answer) {
        if answer.status == 201 {
            self.told.insert(answer.body);
        }
    }

    /// The process that the fault strikes.
    async fn start_first(&self) -> Function {
        let Ground {
            to_redis, to_mongo, ..
        } = self.ground;
        self.start(to_redis.address(), Some(to_mongo)).await
    }

    /// A process to repeat the request with, if there is none.
    async fn start_next(&mut self) {
        if self.function.is_none() {
            let redis = self.ground.redis.address();
            self.function = Some(self.start(redis, None).await);
        }
    }

    async fn start(&self, redis: SocketAddr, mongo: Option<&FaultProxy>) -> Function {
        let around = Around {
            redis: Some(redis),
            mongo,
            till: Some(&self.ground.till),
            timeout: TIMEOUT,
            ..Around::default()
        };
        let started = self.stage.start(self.contestant, around).await;
        started.unwrap_or_else(|why| panic!("{why}"))
    }
}
