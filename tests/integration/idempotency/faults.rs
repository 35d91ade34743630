//! Faults of the stores at each step of a payment, and the guarantees that must hold.

use std::time::Duration;

use futures_util::future::join_all;
use harness::{FaultProxy, MongoServer, RedisServer, eventually};
use shared::deadline::Deadline;
use shared::idempotency::{
    Blocked, ClaimOutcome, Idempotency, Lease, Operation, Policy, SavedResponse, WriteResult,
};

use super::stage::{Provider, Stage, a_payment, answer, claim, patience, started};

/// The step of the first attempt at which the fault occurs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Moment {
    BeforeTheClaim,
    AtWork,
    BeforeTheResult,
    AfterTheResult,
}

pub(super) const MOMENTS: [Moment; 4] = [
    Moment::BeforeTheClaim,
    Moment::AtWork,
    Moment::BeforeTheResult,
    Moment::AfterTheResult,
];

/// A payment's stores, each behind a proxy, and every response that a client received.
pub(super) struct World {
    pub(super) redis: RedisServer,
    pub(super) redis_proxy: FaultProxy,
    pub(super) mongo_proxy: FaultProxy,
    stage: Stage,
    pub(super) payment: Operation,
    pub(super) provider: Provider,
    responses: parking_lot::Mutex<Vec<SavedResponse>>,
}

/// The time from a claim to its deadline. It is short, because the deadline determines when the lease ends.
const ATTEMPT: Duration = Duration::from_millis(1_500);
const LIMIT: Duration = Duration::from_secs(20);
/// The time within which messages that a proxy has held back arrive after `heal`.
const IN_FLIGHT: Duration = Duration::from_millis(500);

impl World {
    pub(super) async fn tiered() -> Self {
        Self::new(async |stage: Stage, _: &FaultProxy, mongo: &FaultProxy| {
            let server = MongoServer::shared().await;
            stage
                .with("MONGODB_URI", &server.uri_through(mongo))
                .with("MONGODB_DATABASE", &server.fresh_database())
        })
        .await
    }

    pub(super) async fn redis_alone() -> Self {
        Self::new(async |stage: Stage, _: &FaultProxy, _: &FaultProxy| {
            stage.with("IDEMPOTENCY_FALLBACK", "reject")
        })
        .await
    }

    async fn new(and: impl AsyncFn(Stage, &FaultProxy, &FaultProxy) -> Stage) -> Self {
        let redis = RedisServer::start().await;
        let redis_proxy = FaultProxy::in_front_of(redis.address());
        let mongo_proxy = FaultProxy::in_front_of(MongoServer::shared().await.address());
        let stage = Stage::memory()
            .await
            .with("REDIS_URL", &redis.url_through(&redis_proxy))
            .with("REDIS_RESPONSE_TIMEOUT_MS", "150")
            .with("REDIS_CONNECT_TIMEOUT_MS", "150")
            .with("IDEMPOTENCY_LEASE_GRACE_MS", "0");
        Self {
            stage: and(stage, &redis_proxy, &mongo_proxy).await,
            redis,
            redis_proxy,
            mongo_proxy,
            payment: a_payment(),
            provider: Provider::default(),
            responses: parking_lot::Mutex::default(),
        }
    }

    /// The engine of another process.
    pub(super) fn engine(&self) -> Idempotency {
        self.stage.new_engine()
    }

    /// The engine of a process with other settings.
    pub(super) fn engine_with(&self, variables: &[(&str, &str)]) -> Idempotency {
        let stage = variables
            .iter()
            .fold(self.stage.clone_settings(), |stage, (name, value)| {
                stage.with(name, value)
            });
        stage.new_engine()
    }

    /// Makes one attempt, from its claim to its result. Runs `strike` at this moment of the attempt.
    pub(super) async fn attempt(&self, moment: Moment, strike: impl AsyncFn(&World)) {
        let engine = self.engine();
        let strike_at = async |now: Moment| {
            if now == moment {
                strike(self).await;
            }
        };
        strike_at(Moment::BeforeTheClaim).await;
        let claimed = engine.claim(&self.payment, Deadline::after(ATTEMPT)).await;
        let Ok(claimed) = claimed else { return };
        let lease = match claimed.value {
            ClaimOutcome::Claimed(lease) => lease,
            ClaimOutcome::Blocked(Blocked::Replay(response)) => {
                return self.responses.lock().push(response);
            }
            _ => return,
        };
        strike_at(Moment::AtWork).await;
        self.finish(lease, async || strike_at(Moment::BeforeTheResult).await)
            .await;
        strike_at(Moment::AfterTheResult).await;
    }

    /// Charges the payment, and completes the key with the result.
    async fn finish(&self, lease: Lease, before_the_result: impl AsyncFnOnce()) {
        self.provider.charge();
        let response = answer(format!("charge {}", self.provider.charges()));
        before_the_result().await;
        match lease.complete(response.clone()).await {
            WriteResult::Stored(stored) => self.responses.lock().push(stored),
            WriteResult::NotDurable => self.responses.lock().push(response),
            WriteResult::Superseded(_) => {}
            other => panic!("unexpected result of completing: {other:?}"),
        }
    }

    /// One retry of a client, at a new process.
    pub(super) async fn retry(&self) {
        self.attempt(Moment::BeforeTheClaim, async |_: &World| ())
            .await;
    }

    /// Retries until the key has a result or an unknown outcome, and then twice more.
    pub(super) async fn retry_until_final(&self) {
        let engine = self.engine();
        eventually(LIMIT, async || {
            self.retry().await;
            let claimed = engine.claim(&self.payment, Deadline::after(ATTEMPT)).await;
            match claimed.map(|claimed| claimed.value) {
                Ok(ClaimOutcome::Blocked(Blocked::Replay(response))) => {
                    self.responses.lock().push(response);
                    true
                }
                Ok(ClaimOutcome::Blocked(Blocked::Unknown(_))) => true,
                Ok(ClaimOutcome::Claimed(lease)) => {
                    self.finish(lease, async || ()).await;
                    false
                }
                _ => false,
            }
        })
        .await;
        self.retry().await;
        self.retry().await;
    }

    /// Asserts at most one charge, and the same response to every client.
    pub(super) fn assert_charged_at_most_once(&self, case: &str) {
        assert!(self.provider.charges() <= 1, "{case}: charged twice");
        let responses = self.responses.lock();
        assert!(
            responses.iter().all(|response| *response == responses[0]),
            "{case}: two responses"
        );
    }
}

/// Tests one fault at each moment of a payment. `strike` causes the fault, a client retries, `heal` ends the fault,
/// and the client retries again.
pub(super) async fn at_every_moment(
    world: impl AsyncFn() -> World,
    strike: impl AsyncFn(&World),
    heal: impl AsyncFn(&World),
) {
    let stories = MOMENTS.map(async |moment| {
        let world = world().await;
        world.attempt(moment, &strike).await;
        world.retry().await;
        world.assert_charged_at_most_once(&format!("{moment:?}, not healed"));
        heal(&world).await;
        world.retry_until_final().await;
        world.assert_charged_at_most_once(&format!("{moment:?}, healed"));
    });
    join_all(stories).await;
}

/// The first copy of a write is delayed in the network. The second copy and a later write are acknowledged. Then the
/// first copy arrives.
pub(super) async fn a_delayed_write_undoes_nothing(world: &World, proxy: &FaultProxy) {
    let payment = world.payment.clone().with_policy(Policy::RerunAlways);
    let mut lease = started(&world.engine(), &payment).await;
    let connected = lease.checkpoint("begun").await;
    assert_eq!(connected, WriteResult::Stored(()));

    proxy.stall_existing();
    until_done(async || lease.checkpoint("about to charge").await == WriteResult::Stored(())).await;
    assert_eq!(lease.checkpoint("charged").await, WriteResult::Stored(()));
    proxy.heal();
    tokio::time::sleep(IN_FLIGHT).await;

    let noted = world.engine().entry(&payment.key, patience()).await;
    assert_eq!(noted.expect("read").expect("there").checkpoint, "charged");

    proxy.stall_existing();
    until_done(async || {
        let renewal = lease.renew(Duration::from_millis(1)).await;
        matches!(renewal, WriteResult::Stored(_))
    })
    .await;
    let long = Duration::from_secs(600);
    let renewal = lease.renew(long).await;
    assert!(matches!(renewal, WriteResult::Stored(_)), "{renewal:?}");
    proxy.heal();
    tokio::time::sleep(IN_FLIGHT).await;

    let second = claim(&world.engine(), &payment).await;
    assert!(
        matches!(second, ClaimOutcome::Blocked(Blocked::InProgress { .. })),
        "{second:?}"
    );
}

/// Regression: after a renewal whose reply was lost, the lease holder kept its revision. So the next renewal of equal
/// length was mistaken for a retry, and the holder relied on a renewal that no store had written.
pub(super) async fn a_renewal_after_an_unacknowledged_one_is_written(
    world: &World,
    proxy: &FaultProxy,
) {
    let lease_time = Duration::from_secs(60);
    let payment = world.payment.clone().with_policy(Policy::RerunAlways);
    let mut lease = started(&world.engine(), &payment).await;
    let rev = async || {
        let entry = world.engine().entry(&payment.key, patience()).await;
        entry.expect("read").expect("there").revision().rev()
    };
    // From now on, the server has the script, so that each write is one message.
    assert_eq!(rev().await, 1);
    for expected in [3, 5] {
        proxy.delay(Duration::from_millis(400));
        let renewing = tokio::time::timeout(Duration::from_millis(100), async {
            if expected == 3 {
                lease.renew(lease_time).await;
            } else {
                lease.checkpoint("charging").await;
            }
        });
        assert!(
            renewing.await.is_err(),
            "the caller stops waiting before the reply"
        );
        proxy.delay(Duration::ZERO);
        eventually(LIMIT, async || rev().await == expected - 1).await;

        let renewal = lease.renew(lease_time).await;

        assert!(matches!(renewal, WriteResult::Stored(_)), "{renewal:?}");
        assert_eq!(rev().await, expected);
    }
}

/// Repeats the write until it is acknowledged, at most five times.
async fn until_done(mut write: impl AsyncFnMut() -> bool) {
    for _ in 0..5 {
        if write().await {
            return;
        }
    }
    panic!("the write is never acknowledged");
}
