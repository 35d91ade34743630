//! Runs each step on a server and on the pure functions, and compares the two.

use foundation::secret::Secrets;
use harness::RedisServer;
use redis_client::{Expiry, RedisConfig};

use super::super::super::history::{
    self, Finding, Step, age, change_of, claim_of, fingerprint_of, known_rev, pick, resolution_of,
};
use super::super::*;
use crate::decision::{self, Decision};
use crate::store_time::StoreTime;
use crate::{IdempotencyKey, Scope};

/// The key on the server, and the record that the pure functions make.
pub(super) struct Pair {
    store: RedisStore,
    _redis: RedisServer,
    key: RecordKey,
    expected: Option<Record>,
    /// The claims so far, each with the number of the attempt that it started or would have started.
    claims: Vec<Fence>,
}

const RETENTION: Duration = Duration::from_millis(2_000_000);

impl Pair {
    pub(super) async fn new(redis: RedisServer) -> Self {
        let client = RedisClient::new(&RedisConfig::at(redis.url()), &Secrets::without_store());
        Self {
            store: RedisStore::new(client, RETENTION),
            _redis: redis,
            key: RecordKey::new(&Scope::none(), &IdempotencyKey::parse("k").expect("a key")),
            expected: None,
            claims: Vec::new(),
        }
    }

    /// Moves the record into the past, which is equivalent to moving the clock into the future.
    async fn pass(&mut self, ms: i64) {
        let Some(record) = &mut self.expected else {
            return;
        };
        age(record, ms);
        let (key, text) = (self.key.as_str(), record.to_text());
        let moved = self.store.client.set(key, text, Expiry::Never).await;
        moved.expect("moved");
    }

    /// Deletes a finished record, as the server does when its time to live is over.
    async fn expire(&mut self) {
        let finished = |record: &mut Record| record.finished_at().is_some();
        if self.expected.take_if(finished).is_some() {
            let deleted = self.store.client.delete(self.key.as_str()).await;
            deleted.expect("deleted");
        }
    }

    async fn claim(&mut self, claim: &ClaimRequest) -> u64 {
        let reply = self.run(Call::claim(claim, claim.retention)).await;
        let decision = decision::decide(self.expected.as_ref(), claim, reply.now);
        assert_eq!(reply.verdict, verdict_of(&decision), "{:?}", self.expected);
        if let Decision::Blocked(Blocked::InProgress { retry_after }) = decision {
            let lease_end = reply.lease_end().expect("a lease end");
            assert_eq!(lease_end.since(reply.now), retry_after);
        }
        if let Decision::Start(how) = decision {
            let next = decision::start(how, self.expected.as_ref(), claim, reply.now);
            assert_eq!(reply.record().as_ref(), Some(&next));
            self.expected = Some(next);
        }
        self.expected.as_ref().map_or(1, |record| record.attempt)
    }

    async fn look(&mut self, claim: &ClaimRequest) {
        let reply = self.run(Call::look(claim, claim.retention)).await;
        let decision = decision::decide(self.expected.as_ref(), claim, reply.now);
        let expected = match decision {
            Decision::Start(_) => "absent",
            other => verdict_of(&other),
        };
        assert_eq!(reply.verdict, expected);
    }

    async fn change(&mut self, fence: &Fence, change: &Change) {
        let reply = self.run(Call::change(fence, change, RETENTION)).await;
        let step = decision::change(self.expected.as_ref(), fence, change, reply.now);
        let expected = match &step.answer {
            WriteResult::Stored(_) if step.write.is_some() => "stored",
            WriteResult::Stored(_) => "already_stored",
            WriteResult::TooLate => "too_late",
            WriteResult::Outdated(_) => "outdated",
            WriteResult::Superseded(None) if self.expected.is_none() => "absent",
            WriteResult::Superseded(_) => "superseded",
            other => panic!("no store answers {other:?}"),
        };
        assert_eq!(reply.verdict, expected, "{change:?} {:?}", self.expected);
        if let WriteResult::Outdated(rev) = step.answer {
            assert_eq!(reply.rev(), Some(rev));
        }
        self.follow(step.write);
    }

    async fn resolve(&mut self, behind: u64, stale_owner: bool, finding: Finding) {
        let owner = OwnerId::fresh();
        let resolution = resolution_of(finding);
        let mut seen = self.expected.as_ref().map_or(
            Version {
                owner: OwnerId::NONE,
                rev: 0,
                first_at: StoreTime::from_ms(0),
            },
            Record::version,
        );
        seen.rev = seen.rev.saturating_sub(behind);
        match (stale_owner, seen.rev % 2) {
            (false, _) => {}
            (true, 0) => seen.owner = OwnerId::fresh(),
            // A delayed copy of the same claim.
            (true, _) => seen.first_at = StoreTime::from_ms(seen.first_at.as_ms() + 1),
        }
        let reply = self
            .run(Call::resolve(seen, owner, &resolution, RETENTION))
            .await;
        let Some(record) = &self.expected else {
            assert_eq!(reply.verdict, "absent");
            return;
        };
        let step = decision::resolve(record, seen, owner, &resolution, reply.now);
        let expected = match step.answer {
            ResolveResult::Stored => "stored",
            ResolveResult::Refused => "superseded",
        };
        assert_eq!(reply.verdict, expected);
        self.follow(step.write);
    }

    fn rev(&self) -> u64 {
        self.expected.as_ref().map_or(0, |record| record.rev)
    }

    fn follow(&mut self, written: Option<Box<Record>>) {
        if let Some(record) = written {
            self.expected = Some(*record);
        }
    }

    async fn run(&self, call: Call) -> Reply {
        let reply = self.store.run(&self.key, call, Deadline::UNKNOWN).await;
        // Keeps the key beyond a short retention, because the script must judge expiry by the
        // header alone.
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

impl history::Pair<Step> for Pair {
    async fn begin(&mut self) {
        let deleted = self.store.client.delete(self.key.as_str()).await;
        deleted.expect("deleted");
        self.expected = None;
        self.claims.clear();
    }

    async fn take(&mut self, step: Step) {
        match step {
            Step::Pass(ms) => self.pass(ms).await,
            Step::Expire => self.expire().await,
            Step::Claim(wish) => {
                let claim = claim_of(&wish);
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
            Step::Look(wish) => self.look(&claim_of(&wish)).await,
            Step::Change { which, kind, known } => {
                if let Some(fence) = pick(&self.claims, which) {
                    let rev = known_rev(known, self.rev());
                    self.change(&Fence { rev, ..fence }, &change_of(kind)).await;
                }
            }
            Step::Resolve {
                behind,
                stale_owner,
                finding,
            } => self.resolve(behind, stale_owner, finding).await,
        }
        self.compare().await;
    }
}

fn verdict_of(decision: &Decision) -> &'static str {
    match decision {
        Decision::Start(_) => "claimed",
        Decision::Repeated => "claim_repeated",
        Decision::Blocked(Blocked::Replay(_)) => "replay",
        Decision::Blocked(Blocked::Mismatch) => "mismatch",
        Decision::Blocked(Blocked::InProgress { .. }) => "in_progress",
        Decision::Blocked(Blocked::Unknown(_)) => "unknown",
    }
}
