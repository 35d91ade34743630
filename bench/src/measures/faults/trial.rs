//! One trial: a client retries one request while a fault affects the process that works on it.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use harness::{FaultProxy, Lambda, RedisServer, Settled};

use super::Fault;
use crate::contestant::{Contestant, Store};
use crate::execution_counter::ExecutionCounter;
use crate::order::{self, Answer, Order, USUAL_PAD_BYTES};
use crate::stage::{Around, Stage};

/// The outcome of one key.
pub(super) struct Trial {
    /// The number of executions of the key's work.
    pub(super) executions: usize,
    /// The number of different successful answers.
    pub(super) answers: usize,
    /// Whether the last retry got a result.
    pub(super) is_settled: bool,
    /// Whether the fault took effect.
    pub(super) took_effect: bool,
}

/// A client with one request, and the servers of its trial. Each trial has its own servers, because trials run concurrently.
struct Client {
    order: Order,
    /// The different successful answers.
    answers: BTreeSet<String>,
    redis: RedisServer,
    counter: ExecutionCounter,
    /// The proxy between the first process and Redis, for faults.
    to_redis: FaultProxy,
    /// The proxy to MongoDB. It has no server behind it if MongoDB does not run.
    to_mongo: FaultProxy,
}

/// The processes that handle the requests.
struct Processes {
    /// The process with the fault.
    first: Lambda,
    /// Another process, which gets the retries.
    next: Lambda,
}

/// The timeout of an invocation. It is also the lease of an attempt, except with this workspace's engine: there the lease is
/// two seconds longer.
const TIMEOUT: Duration = Duration::from_secs(3);
/// The time between the timeout and the kill of the process. Lambda kills at the timeout; on a slow machine the benchmark must
/// not kill a process that is about to answer.
const GRACE: Duration = Duration::from_secs(1);
/// The time for which a client retries, longer than the longest lease.
pub(super) const PATIENCE: Duration = Duration::from_secs(8);
/// The time for which the client retries after the thaw of a frozen process, when all leases have expired.
pub(super) const LAST_PATIENCE: Duration = Duration::from_secs(2);
/// The pause between two retries of a client.
const PAUSE: Duration = Duration::from_millis(300);

/// Sends one request with retries until it is answered, during a fault.
pub(super) async fn trial(stage: &Stage, contestant: &Contestant, fault: Fault) -> Trial {
    let mut client = Client::new(stage).await;
    let processes = client.start(stage, contestant, fault).await;
    // The first call comes before the fault, so that the fault does not affect initialization, such as sending the text of a
    // script.
    let warm = order::answer(&processes.first, Order::fresh(USUAL_PAD_BYTES).event()).await;
    assert_eq!(
        warm.map(|answer| answer.status),
        Ok(201),
        "{}",
        contestant.name
    );
    let took_effect = match fault {
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
    // Ends a process that has not answered yet, because Lambda would have killed it.
    processes.first.stop().await;
    let patience = match fault {
        Fault::Freeze => LAST_PATIENCE,
        _ => PATIENCE,
    };
    // The client retries after any answer, because a client whose answer was lost cannot know the result.
    let is_settled = client.retry(&processes.next, patience).await;
    Trial {
        executions: client.counter.executions(&client.order.key),
        answers: client.answers.len(),
        is_settled,
        took_effect,
    }
}

impl Client {
    async fn new(stage: &Stage) -> Self {
        let redis = RedisServer::start().await;
        Self {
            order: Order::fresh(USUAL_PAD_BYTES),
            answers: BTreeSet::new(),
            to_redis: FaultProxy::in_front_of(redis.address()),
            to_mongo: match &stage.mongo {
                Some(mongo) => FaultProxy::in_front_of(mongo.server.address()),
                None => FaultProxy::silent(),
            },
            redis,
            counter: ExecutionCounter::start().await,
        }
    }

    async fn start(&self, stage: &Stage, contestant: &Contestant, fault: Fault) -> Processes {
        let next = Around {
            redis: Some(self.redis.address()),
            counter: Some(&self.counter),
            timeout: TIMEOUT,
            grace: GRACE,
            ..Around::default()
        };
        let first = Around {
            redis: Some(self.to_redis.address()),
            mongo: Some(&self.to_mongo),
            grace: match fault {
                // A frozen process simulates a stalled host, where no timeout ends the process.
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

    /// Flushes Redis after the answer. Returns whether there was an answer.
    async fn flush(&mut self, first: &Lambda) -> bool {
        let settled = first.hand_over(self.order.event()).await;
        let is_answered = self.record(settled.await) == Some(201);
        self.redis.command(&["FLUSHALL"]).await;
        is_answered
    }

    /// Freezes the process during its work. Then the client retries for longer than a lease, and the process is thawed.
    async fn freeze(&mut self, Processes { first, next }: &Processes) -> bool {
        let (settled, is_at_work) = self.begin(first).await;
        first.suspend().await;
        self.counter.open();
        self.retry(next, PATIENCE).await;
        first.thaw().await;
        // The client has given up, so this answer is ignored.
        let _ = tokio::time::timeout(TIMEOUT + GRACE, settled).await;
        is_at_work
    }

    async fn kill(&mut self, first: &Lambda) -> bool {
        let (_, is_at_work) = self.begin(first).await;
        first.stop().await;
        self.counter.open();
        is_at_work
    }

    /// Loses the authoritative store's reply to the completion. Returns whether there was such a reply.
    async fn lose_reply(&mut self, first: &Lambda, store: Store) -> bool {
        let (settled, is_at_work) = self.begin(first).await;
        let decides = self.proxy_to_decider(store);
        decides.reset_counters();
        decides.drop_next_reply();
        self.end(settled).await;
        is_at_work
            && (store == Store::Nothing || self.proxy_to_decider(store).bytes_from_server() > 0)
    }

    /// Makes all stores unreachable. Returns whether the process sent bytes to the authoritative store.
    async fn lose_completion(&mut self, first: &Lambda, store: Store) -> bool {
        let (settled, is_at_work) = self.begin(first).await;
        self.proxy_to_decider(store).reset_counters();
        self.to_redis.black_hole();
        self.to_mongo.black_hole();
        self.end(settled).await;
        is_at_work
            && (store == Store::Nothing || self.proxy_to_decider(store).bytes_from_clients() > 0)
    }

    /// Sends the request and waits until its work starts. The work does not end before the counter opens. Returns whether the
    /// work started.
    async fn begin(&self, first: &Lambda) -> (impl Future<Output = Settled> + use<>, bool) {
        self.counter.close();
        let settled = first.hand_over(self.order.event()).await;
        (settled, self.counter.has_started(&self.order.key).await)
    }

    /// Lets the work end, and records the answer within the timeout.
    async fn end(&mut self, settled: impl Future<Output = Settled>) {
        self.counter.open();
        self.record(settled.await);
    }

    fn proxy_to_decider(&self, store: Store) -> &FaultProxy {
        match store {
            Store::Tiered => &self.to_mongo,
            _ => &self.to_redis,
        }
    }

    /// Retries until the client gets a result or `patience` has passed. Returns whether there was a result.
    async fn retry(&mut self, next: &Lambda, patience: Duration) -> bool {
        let began = Instant::now();
        loop {
            let settled = next.hand_over(self.order.event()).await;
            if self.record(settled.await) == Some(201) {
                return true;
            }
            if began.elapsed() > patience {
                return false;
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Records an answer, if there is one.
    fn record(&mut self, settled: Settled) -> Option<u16> {
        let answer = Answer::of(settled).ok()?;
        if answer.status == 201 {
            self.answers.insert(answer.body);
        }
        Some(answer.status)
    }
}
