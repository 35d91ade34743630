//! The script against the pure functions: random histories of claims, changes, settlements, late messages and passing
//! time, run on a real server and beside it, verdict by verdict and byte by byte.

use ::tests::RedisServer;
use http::StatusCode;
use proptest::prelude::*;
use proptest::test_runner::{Config as Cases, TestRunner};

use super::*;
use crate::config::Config;
use crate::idempotency::decision::{self, Decision, Verdict};
use crate::idempotency::record::{State, StoreTime};
use crate::idempotency::{Fingerprint, IdempotencyKey, Policy, Request, SavedResponse, Scope};
use crate::redis_client::Expiry;

/// One thing that happens to a key.
#[derive(Clone, Debug)]
enum Step {
    /// So many milliseconds pass; fewer than none where a replica's clock takes over.
    Pass(i64),
    /// Somebody claims, and remembers what came of it.
    Claim(Wish),
    /// Somebody looks.
    Look(Wish),
    /// Somebody repeats a claim that was sent before, or abuses its owner for this amount.
    ClaimAgain(usize, Option<u8>),
    /// Somebody who has claimed, no matter with what success, changes the record.
    Change(usize, Kind),
    /// A reconciler settles what it has read, or something older.
    Settle { behind: u64, released: bool },
}

#[derive(Clone, Debug)]
struct Wish {
    amount: u8,
    bound_ms: u64,
    lease_ms: u64,
    window_ms: u64,
}

#[derive(Clone, Debug)]
enum Kind {
    Complete(u8),
    Release,
    Renew(u64),
    Checkpoint(String),
    MarkUnknown,
}

/// The key on the server, and what the pure functions hold it to be.
struct Pair {
    store: RedisStore,
    _redis: RedisServer,
    key: RecordKey,
    expected: Option<Record>,
    /// What was claimed, with the attempt it got or would have liked.
    claims: Vec<Fence>,
}

const WINDOW: Duration = Duration::from_millis(2_000_000);

fn wish() -> impl Strategy<Value = Wish> {
    let bound = prop_oneof![Just(0), Just(9_999_999_999_999), 1_u64..3_000];
    let window = prop_oneof![Just(500_u64), Just(2_000_000)];
    (0_u8..2, bound, 1_u64..1_000, window).prop_map(|(amount, bound_ms, lease_ms, window_ms)| {
        Wish {
            amount,
            bound_ms,
            lease_ms,
            window_ms,
        }
    })
}

fn step() -> impl Strategy<Value = Step> {
    let kind = prop_oneof![
        3 => any::<u8>().prop_map(Kind::Complete),
        2 => Just(Kind::Release),
        1 => (1_u64..2_000).prop_map(Kind::Renew),
        1 => "[a-z\n]{0,5}".prop_map(Kind::Checkpoint),
        1 => Just(Kind::MarkUnknown),
    ];
    prop_oneof![
        3 => (-1_500_i64..2_500).prop_map(Step::Pass),
        4 => wish().prop_map(Step::Claim),
        1 => wish().prop_map(Step::Look),
        1 => (any::<usize>(), prop_oneof![3 => Just(None), 1 => (0_u8..2).prop_map(Some)])
            .prop_map(|(claim, amount)| Step::ClaimAgain(claim, amount)),
        4 => (any::<usize>(), kind).prop_map(|(claim, kind)| Step::Change(claim, kind)),
        1 => (0_u64..2, any::<bool>()).prop_map(|(behind, released)| Step::Settle { behind, released }),
    ]
}

impl Pair {
    async fn new(redis: RedisServer) -> Self {
        let url = redis.url();
        let lookup = |variable: &str| (variable == "REDIS_URL").then(|| url.clone().into());
        let config = Config::from_lookup(lookup).expect("usable");
        Self {
            store: RedisStore::new(RedisClient::new(&config.redis), WINDOW),
            _redis: redis,
            key: RecordKey::new(&Scope::none(), &IdempotencyKey::parse("k").expect("a key")),
            expected: None,
            claims: Vec::new(),
        }
    }

    async fn begin(&mut self) {
        let deleted = self.store.client.delete(self.key.as_str()).await;
        deleted.expect("deleted");
        self.expected = None;
        self.claims.clear();
    }

    async fn take(&mut self, step: Step) {
        match step {
            Step::Pass(ms) => self.pass(ms).await,
            Step::Claim(wish) => {
                let claim = claim_of(&wish, OwnerId::fresh());
                let attempt = self.claim(&claim).await;
                self.claims.push(Fence { claim, attempt });
            }
            Step::ClaimAgain(which, amount) => {
                if let Some(Fence { mut claim, .. }) = pick(&self.claims, which) {
                    claim.fingerprint = amount.map_or(claim.fingerprint, fingerprint_of);
                    self.claim(&claim).await;
                }
            }
            Step::Look(wish) => self.look(&claim_of(&wish, OwnerId::fresh())).await,
            Step::Change(which, kind) => {
                if let Some(fence) = pick(&self.claims, which) {
                    self.change(&fence, &change_of(kind)).await;
                }
            }
            Step::Settle { behind, released } => self.settle(behind, released).await,
        }
        self.compare().await;
    }

    /// Moves the record into the past, which is the same as moving the clock into the future.
    async fn pass(&mut self, ms: i64) {
        let Some(record) = &mut self.expected else {
            return;
        };
        let earlier = |time: StoreTime| StoreTime::from_ms(time.as_ms().saturating_add_signed(-ms));
        record.leased_at = earlier(record.leased_at);
        record.first_at = earlier(record.first_at);
        match &mut record.state {
            State::Released { finished_at } | State::Completed { finished_at, .. } => {
                *finished_at = earlier(*finished_at);
            }
            State::InProgress | State::Unknown => {}
        }
        let (key, text) = (self.key.as_str(), record.to_text());
        let moved = self.store.client.set(key, text, Expiry::Never).await;
        moved.expect("moved");
    }

    async fn claim(&mut self, claim: &Claim) -> u64 {
        let reply = self.run(Call::of_claim("claim", claim), claim.window).await;
        let decision = decision::decide(self.expected.as_ref(), claim, reply.now);
        assert_eq!(reply.verdict, word(decision), "{:?}", self.expected);
        if let Decision::InProgress { retry_after } = decision {
            let lease_end = reply.lease_end().expect("told");
            assert_eq!(lease_end.since(reply.now), retry_after);
        }
        if let Decision::Start(how) = decision {
            let next = decision::start(how, self.expected.as_ref(), claim, reply.now);
            assert_eq!(reply.record().as_ref(), Some(&next));
            self.expected = Some(next);
        }
        self.expected.as_ref().map_or(1, |record| record.attempt)
    }

    async fn look(&mut self, claim: &Claim) {
        let reply = self.run(Call::of_claim("look", claim), claim.window).await;
        let decision = decision::decide(self.expected.as_ref(), claim, reply.now);
        let expected = match decision {
            Decision::Start(_) => "absent",
            other => word(other),
        };
        assert_eq!(reply.verdict, expected);
    }

    async fn change(&mut self, fence: &Fence, change: &Change) {
        let reply = self.run(Call::of_change(fence, change), WINDOW).await;
        let verdict = decision::change(self.expected.as_ref(), fence, change, reply.now);
        let expected = match &verdict {
            Verdict::Write(_) => "done",
            Verdict::Already => "already",
            Verdict::TooLate => "too_late",
            Verdict::Superseded if self.expected.is_none() => "absent",
            Verdict::Superseded => "superseded",
        };
        assert_eq!(reply.verdict, expected, "{change:?} {:?}", self.expected);
        self.settle_on(verdict);
    }

    async fn settle(&mut self, behind: u64, released: bool) {
        let owner = OwnerId::fresh();
        let settlement = if released {
            Settlement::Released
        } else {
            Settlement::Completed(response(0))
        };
        let rev = self.expected.as_ref().map_or(0, |record| record.rev);
        let rev = rev.saturating_sub(behind);
        let reply = self
            .run(Call::of_settlement(rev, owner, &settlement), WINDOW)
            .await;
        let Some(record) = &self.expected else {
            assert_eq!(reply.verdict, "absent");
            return;
        };
        let verdict = decision::settle(record, rev, owner, &settlement, reply.now);
        let expected = match &verdict {
            Verdict::Write(_) => "done",
            _ => "superseded",
        };
        assert_eq!(reply.verdict, expected);
        self.settle_on(verdict);
    }

    fn settle_on(&mut self, verdict: Verdict) {
        if let Verdict::Write(record) = verdict {
            self.expected = Some(*record);
        }
    }

    async fn run(&mut self, call: Call<'_>, window: Duration) -> Reply {
        self.store.window = window;
        let reply = self.store.run(&self.key, call, Deadline::UNKNOWN).await;
        // What a short window lets expire is to stay: its end is decided by the header alone.
        let hour = Duration::from_secs(3_600);
        let kept = self.store.client.expire(self.key.as_str(), hour).await;
        kept.expect("kept");
        reply.expect("answered")
    }

    async fn compare(&self) {
        let stored = self.store.client.get(self.key.as_str()).await;
        let expected = self.expected.as_ref().map(Record::to_text);
        assert_eq!(stored.expect("read"), expected, "{:?}", self.expected);
    }
}

fn fingerprint_of(amount: u8) -> Fingerprint {
    let request = Request {
        payload: &[amount],
        ..Request::default()
    };
    Fingerprint::of(&request).expect("unambiguous")
}

fn claim_of(wish: &Wish, owner: OwnerId) -> Claim {
    Claim {
        owner,
        fingerprint: fingerprint_of(wish.amount),
        policy: Policy::from_bound_ms(wish.bound_ms),
        lease: Duration::from_millis(wish.lease_ms),
        window: Duration::from_millis(wish.window_ms),
    }
}

fn change_of(kind: Kind) -> Change {
    match kind {
        Kind::Complete(number) => Change::Complete(response(number)),
        Kind::Release => Change::Release,
        Kind::Renew(ms) => Change::Renew(Duration::from_millis(ms)),
        Kind::Checkpoint(note) => Change::Checkpoint(note.into()),
        Kind::MarkUnknown => Change::MarkUnknown,
    }
}

fn response(number: u8) -> SavedResponse {
    SavedResponse::new(StatusCode::OK, number.to_string())
}

fn word(decision: Decision) -> &'static str {
    match decision {
        Decision::Start(_) => "started",
        Decision::Repeated => "repeated",
        Decision::Replay => "replay",
        Decision::Mismatch => "mismatch",
        Decision::InProgress { .. } => "in_progress",
        Decision::Unknown => "unknown",
    }
}

/// Mostly the last one, which has the best chance to be the owner.
fn pick(claims: &[Fence], which: usize) -> Option<Fence> {
    match which % 4 {
        0 => claims.get((which / 4).checked_rem(claims.len())?).cloned(),
        _ => claims.last().cloned(),
    }
}

/// Histories that chance rarely finds.
fn known_histories() -> [Vec<Step>; 3] {
    let claim = |bound_ms| {
        Step::Claim(Wish {
            amount: 0,
            bound_ms,
            lease_ms: 100,
            window_ms: 2_000_000,
        })
    };
    let change = |kind| Step::Change(1, kind);
    [
        // A clock that goes back makes nothing young enough to run again.
        vec![
            claim(0),
            change(Kind::MarkUnknown),
            Step::Pass(-9_000),
            claim(0),
        ],
        // The reply to a release after a takeover is lost.
        vec![
            claim(9_999_999_999_999),
            Step::Pass(200),
            claim(9_999_999_999_999),
            change(Kind::Release),
            change(Kind::Release),
        ],
        // An owner is used twice, for two requests.
        vec![claim(0), Step::ClaimAgain(1, Some(1))],
    ]
}

#[tokio::test]
async fn the_script_decides_as_the_pure_functions_do_where_chance_rarely_gets() {
    let mut pair = Pair::new(RedisServer::start().await).await;
    for history in known_histories() {
        pair.begin().await;
        for step in history {
            pair.take(step).await;
        }
    }
}

#[test]
fn the_script_decides_as_the_pure_functions_do() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let pair = runtime.block_on(async { Pair::new(RedisServer::start().await).await });
    let pair = std::cell::RefCell::new(pair);
    let mut cases = TestRunner::new(Cases {
        failure_persistence: None,
        ..Cases::with_cases(500)
    });
    let history = prop::collection::vec(step(), 1..25);

    let ran = cases.run(&history, |steps| {
        #[expect(clippy::await_holding_refcell_ref, reason = "one history at a time")]
        runtime.block_on(async {
            let mut pair = pair.borrow_mut();
            pair.begin().await;
            for step in steps {
                pair.take(step).await;
            }
        });
        Ok(())
    });

    if let Err(failure) = ran {
        panic!("{failure}");
    }
}
