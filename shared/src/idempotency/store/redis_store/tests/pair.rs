//! A key on a server, and beside it what the pure functions hold it to be.

use ::tests::RedisServer;
use http::StatusCode;

use super::super::*;
use super::{Kind, Step, Wish};
use crate::config::Config;
use crate::idempotency::decision::{self, Decision, Verdict};
use crate::idempotency::record::{State, StoreTime};
use crate::idempotency::{Fingerprint, IdempotencyKey, Policy, Request, SavedResponse, Scope};
use crate::redis_client::Expiry;

/// The key on the server, and what the pure functions hold it to be.
pub(super) struct Pair {
    store: RedisStore,
    _redis: RedisServer,
    key: RecordKey,
    expected: Option<Record>,
    /// What was claimed, with the attempt it got or would have liked.
    claims: Vec<Fence>,
}

const WINDOW: Duration = Duration::from_millis(2_000_000);

impl Pair {
    pub(super) async fn new(redis: RedisServer) -> Self {
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

    pub(super) async fn begin(&mut self) {
        let deleted = self.store.client.delete(self.key.as_str()).await;
        deleted.expect("deleted");
        self.expected = None;
        self.claims.clear();
    }

    /// Lets it happen to both, and compares.
    pub(super) async fn take(&mut self, step: Step) {
        match step {
            Step::Pass(ms) => self.pass(ms).await,
            Step::Claim(wish) => {
                let claim = claim_of(&wish, OwnerId::fresh());
                let attempt = self.claim(&claim).await;
                let rev = 0;
                self.claims.push(Fence {
                    claim,
                    attempt,
                    rev,
                });
            }
            Step::ClaimAgain(which, amount) => {
                if let Some(Fence { mut claim, .. }) = pick(&self.claims, which) {
                    claim.fingerprint = amount.map_or(claim.fingerprint, fingerprint_of);
                    self.claim(&claim).await;
                }
            }
            Step::Look(wish) => self.look(&claim_of(&wish, OwnerId::fresh())).await,
            Step::Change {
                which,
                kind,
                behind,
            } => {
                if let Some(fence) = pick(&self.claims, which) {
                    let rev = self.rev().saturating_sub(behind);
                    self.change(&Fence { rev, ..fence }, &change_of(kind)).await;
                }
            }
            Step::Settle {
                behind,
                stale_owner,
                released,
            } => self.settle(behind, stale_owner, released).await,
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
            Verdict::Moved => "moved",
            Verdict::Superseded if self.expected.is_none() => "absent",
            Verdict::Superseded => "superseded",
        };
        assert_eq!(reply.verdict, expected, "{change:?} {:?}", self.expected);
        if verdict == Verdict::Moved {
            assert_eq!(reply.rev(), Some(self.rev()));
        }
        self.settle_on(verdict);
    }

    async fn settle(&mut self, behind: u64, stale_owner: bool, released: bool) {
        let owner = OwnerId::fresh();
        let settlement = if released {
            Settlement::Released
        } else {
            Settlement::Completed(response(0))
        };
        let rev = self.rev().saturating_sub(behind);
        let seen = Version {
            owner: self.expected.as_ref().map_or(OwnerId::NOBODY, |record| {
                if stale_owner {
                    OwnerId::fresh()
                } else {
                    record.owner
                }
            }),
            rev,
        };
        let reply = self
            .run(Call::of_settlement(seen, owner, &settlement), WINDOW)
            .await;
        let Some(record) = &self.expected else {
            assert_eq!(reply.verdict, "absent");
            return;
        };
        let verdict = decision::settle(record, seen, owner, &settlement, reply.now);
        let expected = match &verdict {
            Verdict::Write(_) => "done",
            _ => "superseded",
        };
        assert_eq!(reply.verdict, expected);
        self.settle_on(verdict);
    }

    fn rev(&self) -> u64 {
        self.expected.as_ref().map_or(0, |record| record.rev)
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
