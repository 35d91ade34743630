//! One trial: a client repeats one request, and a fault strikes the process that works on it.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use harness::{FaultProxy, Lambda, RedisServer, Settled};

use super::Fault;
use crate::contestant::{Contestant, Store};
use crate::order::{self, Answer, Order, USUAL_PAD_BYTES};
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

/// A client with one request, and the servers of its trial: several trials take place at a time.
struct Client {
    order: Order,
    /// The different answers that said "done".
    told: BTreeSet<String>,
    redis: RedisServer,
    till: Till,
    /// The ways of the first process to its stores, where faults strike.
    to_redis: FaultProxy,
    /// It leads nowhere where MongoDB does not run.
    to_mongo: FaultProxy,
}

/// The processes that take the requests.
struct Processes {
    /// The one that the fault strikes.
    first: Lambda,
    /// The one that takes the repetitions: another one once it has been killed.
    next: Lambda,
}

/// The time of an invocation, and so how long a claim lasts; ours last two seconds longer.
const TIMEOUT: Duration = Duration::from_secs(3);
/// How much later than Lambda the benchmark kills: a process that is about to answer is not cut off for the machine's slowness.
const GRACE: Duration = Duration::from_secs(1);
/// For how long a client repeats itself: longer than the longest claim, and again when all claims are over.
pub(super) const PATIENCE: Duration = Duration::from_secs(8);
pub(super) const LAST_PATIENCE: Duration = Duration::from_secs(2);
const PAUSE: Duration = Duration::from_millis(300);

/// Sends one request until it is answered, while a fault strikes.
pub(super) async fn trial(stage: &Stage, contestant: &Contestant, fault: Fault) -> Trial {
    let mut client = Client::new(stage).await;
    let processes = client.start(stage, contestant, fault).await;
    // What a client does at its first call only, a script sent with its text for one, is not to take the fault upon itself.
    let warm = order::answer(&processes.first, Order::fresh(USUAL_PAD_BYTES).event()).await;
    assert_eq!(
        warm.map(|answer| answer.status),
        Ok(201),
        "{}",
        contestant.name
    );
    let has_struck = match fault {
        Fault::Flush => client.flush(&processes.first).await,
        Fault::Freeze => client.freeze(&processes).await,
        Fault::LostReply => client.lose_reply(&processes.first, contestant.store).await,
        Fault::LostCompletion => {
            client
                .lose_completion(&processes.first, contestant.store)
                .await
        }
        Fault::Kill => client.kill(&processes.first).await,
    };
    // If it has not answered by now, this is what Lambda does with it.
    processes.first.stop().await;
    let patience = match fault {
        Fault::Freeze => LAST_PATIENCE,
        _ => PATIENCE,
    };
    // Whatever it was told, if anything: a client whose answer was lost cannot know.
    let is_settled = client.insist(&processes.next, patience).await;
    Trial {
        executions: client.till.executions(&client.order.key),
        answers: client.told.len(),
        is_settled,
        has_struck,
    }
}

impl Client {
    async fn new(stage: &Stage) -> Self {
        let redis = RedisServer::start().await;
        Self {
            order: Order::fresh(USUAL_PAD_BYTES),
            told: BTreeSet::new(),
            to_redis: FaultProxy::in_front_of(redis.address()),
            to_mongo: match &stage.mongo {
                Some(mongo) => FaultProxy::in_front_of(mongo.server.address()),
                None => FaultProxy::silent(),
            },
            redis,
            till: Till::start().await,
        }
    }

    async fn start(&self, stage: &Stage, contestant: &Contestant, fault: Fault) -> Processes {
        let next = Around {
            redis: Some(self.redis.address()),
            till: Some(&self.till),
            timeout: TIMEOUT,
            grace: GRACE,
            ..Around::default()
        };
        let first = Around {
            redis: Some(self.to_redis.address()),
            mongo: Some(&self.to_mongo),
            grace: match fault {
                // A host that stalls, which no time limit reaches.
                Fault::Freeze => Duration::from_secs(3_600),
                _ => GRACE,
            },
            ..next
        };
        Processes {
            first: stage.start(contestant, first).await,
            next: stage.start(contestant, next).await,
        }
    }

    /// Lets Redis forget everything once the answer is there; whether there was one.
    async fn flush(&mut self, first: &Lambda) -> bool {
        let settled = first.hand_over(self.order.event()).await;
        let is_answered = self.hear(settled.await) == Some(201);
        self.redis.command(&["FLUSHALL"]).await;
        is_answered
    }

    /// Stops the process at its work, and lets it go on when others have been asked for as long as a claim lasts.
    async fn freeze(&mut self, Processes { first, next }: &Processes) -> bool {
        let (settled, is_at_work) = self.begin(first).await;
        first.suspend().await;
        self.till.open();
        self.insist(next, PATIENCE).await;
        first.thaw().await;
        // Whatever it says now, its client has gone on.
        let _ = tokio::time::timeout(TIMEOUT + GRACE, settled).await;
        is_at_work
    }

    async fn kill(&mut self, first: &Lambda) -> bool {
        let (_, is_at_work) = self.begin(first).await;
        first.stop().await;
        self.till.open();
        is_at_work
    }

    /// Lets the deciding store's reply to the completion get lost; whether one came that could.
    async fn lose_reply(&mut self, first: &Lambda, store: Store) -> bool {
        let (settled, is_at_work) = self.begin(first).await;
        let decides = self.way_to_decider(store);
        decides.reset_counters();
        decides.drop_next_reply();
        self.end(settled).await;
        is_at_work
            && (store == Store::Nothing || self.way_to_decider(store).bytes_from_server() > 0)
    }

    /// Lets no store be reached any more; whether the one that decides was tried.
    async fn lose_completion(&mut self, first: &Lambda, store: Store) -> bool {
        let (settled, is_at_work) = self.begin(first).await;
        self.way_to_decider(store).reset_counters();
        self.to_redis.black_hole();
        self.to_mongo.black_hole();
        self.end(settled).await;
        is_at_work
            && (store == Store::Nothing || self.way_to_decider(store).bytes_from_clients() > 0)
    }

    /// Brings the process to its work, which does not end before the till opens; whether it came there.
    async fn begin(&self, first: &Lambda) -> (impl Future<Output = Settled> + use<>, bool) {
        self.till.close();
        let settled = first.hand_over(self.order.event()).await;
        (settled, self.till.has_heard_of(&self.order.key).await)
    }

    /// Lets the work end, and hears what comes of it in the time of the invocation.
    async fn end(&mut self, settled: impl Future<Output = Settled>) {
        self.till.open();
        self.hear(settled.await);
    }

    fn way_to_decider(&self, store: Store) -> &FaultProxy {
        match store {
            Store::Tiered => &self.to_mongo,
            _ => &self.to_redis,
        }
    }

    /// Sends the request until it is answered with a result, or patience is over.
    async fn insist(&mut self, next: &Lambda, patience: Duration) -> bool {
        let began = Instant::now();
        loop {
            let settled = next.hand_over(self.order.event()).await;
            if self.hear(settled.await) == Some(201) {
                return true;
            }
            if began.elapsed() > patience {
                return false;
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Hears an answer, if one came.
    fn hear(&mut self, settled: Settled) -> Option<u16> {
        let answer = Answer::of(settled).ok()?;
        if answer.status == 201 {
            self.told.insert(answer.body);
        }
        Some(answer.status)
    }
}
