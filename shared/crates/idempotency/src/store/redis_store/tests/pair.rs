//! Runs each step on a server and on the pure functions, and compares the results.
//!
//! Three of four claims and changes are plain commands, if a plain command can write them. The times of such a record follow
//! from the expiry of its key. So the pair moves this expiry instead of the times, and lets no key expire too early.

use bytes::Bytes;
use foundation::secret::Secrets;
use harness::RedisServer;
use redis_client::{Expiry, RedisConfig, Ttl};

use super::super::super::history::{
    self, Finding, Step, age, change_of, claim_of, fingerprint_of, known_rev, pick, resolution_of,
};
use super::super::*;
use crate::decision::{self, Decision};
use crate::record::State;
use crate::store_time::StoreTime;
use crate::{IdempotencyKey, Policy, Scope};

/// The key on the server, and the record that the pure functions compute.
pub(super) struct Pair {
    store: RedisStore,
    redis: RedisServer,
    key: RecordKey,
    expected: Option<Record>,
    /// Whether a plain command wrote the record. Then the times follow from the expiry of the key.
    is_plain: bool,
    /// The number of steps so far.
    steps: u32,
    /// The claims so far, each with the number of the attempt that it started or would have started.
    claims: Vec<Fence>,
}

const RETENTION: Duration = Duration::from_millis(2_000_000);

impl Pair {
    pub(super) async fn new(redis: RedisServer) -> Self {
        let client = RedisClient::new(&RedisConfig::at(redis.url()), &Secrets::without_store());
        Self {
            store: RedisStore::new(client, RETENTION),
            redis,
            key: RecordKey::new(&Scope::none(), &IdempotencyKey::parse("k").expect("a key")),
            expected: None,
            is_plain: false,
            steps: 0,
            claims: Vec::new(),
        }
    }

    /// Moves the record into the past, which is equivalent to moving the clock into the future.
    async fn pass(&mut self, ms: i64) {
        let Some(record) = &mut self.expected else {
            return;
        };
        age(record, ms);
        if self.is_plain {
            return self.move_expiry(ms).await;
        }
        let text = redis_text::write(record, RETENTION);
        let end = record.finished_at().unwrap_or(record.lease_end());
        let left = end.after(RETENTION).since(self.now().await);
        // The script must detect the end of the retention from the header alone.
        let left = if left.is_zero() { HOUR } else { left };
        let key = self.key.as_str();
        let moved = self.store.client.set(key, text, Expiry::After(left)).await;
        moved.expect("moved");
    }

    async fn move_expiry(&mut self, ms: i64) {
        let at = (self.expiry().await - ms).to_string();
        let moved: i64 = self
            .redis
            .query(&["PEXPIREAT", self.key.as_str(), &at])
            .await;
        assert_eq!(moved, 1);
        // An expiry in the past deletes the key at once.
        let is_kept = self.store.client.exists(self.key.as_str()).await;
        if !is_kept.expect("read") {
            self.expected = None;
        }
    }

    /// The time at which the key expires, in milliseconds since 1970.
    async fn expiry(&self) -> i64 {
        self.redis.query(&["PEXPIRETIME", self.key.as_str()]).await
    }

    async fn now(&self) -> StoreTime {
        let (seconds, micros): (u64, u64) = self.redis.query(&["TIME"]).await;
        StoreTime::from_ms(seconds * 1_000 + micros / 1_000)
    }

    /// Whether the next claim or change is a plain command, if possible.
    fn prefers_plain(&self) -> bool {
        self.steps % 4 != 3
    }

    /// Deletes a finished record, as the server does after the retention.
    async fn expire(&mut self) {
        let finished = |record: &mut Record| record.finished_at().is_some();
        if self.expected.take_if(finished).is_some() {
            let deleted = self.store.client.delete(self.key.as_str()).await;
            deleted.expect("deleted");
        }
    }

    async fn claim(&mut self, claim: &ClaimRequest) -> u64 {
        // With a short retention, the server would delete the key while the test runs.
        if self.prefers_plain() && claim.retention == RETENTION && self.claim_plainly(claim).await {
            return self.expected.as_ref().map_or(1, |record| record.attempt);
        }
        let reply = self.run(Call::claim(claim, claim.retention)).await;
        let decision = decision::decide(self.expected.as_ref(), claim, reply.now);
        assert_eq!(reply.verdict, verdict_of(&decision), "{:?}", self.expected);
        if let Decision::Blocked(Blocked::InProgress { retry_after }) = decision {
            let lease_end = reply.lease_end().expect("a lease end");
            assert_eq!(lease_end.since(reply.now), retry_after);
        }
        if let Decision::Start(how) = decision {
            let next = decision::start(how, self.expected.as_ref(), claim, reply.now);
            assert_eq!(record_in(&reply).as_ref(), Some(&next));
            self.follow(Some(Box::new(next)));
        }
        self.expected.as_ref().map_or(1, |record| record.attempt)
    }

    /// Claims by plain commands. Returns false if only the script can answer the claim.
    async fn claim_plainly(&mut self, claim: &ClaimRequest) -> bool {
        let before = self.now().await;
        let claimed = self
            .store
            .claim_plainly(&self.key, claim, Deadline::UNKNOWN)
            .await;
        let after = self.now().await;
        match claimed.expect("answered") {
            None => {
                let needs_script = matches!(claim.policy, Policy::Rerun { .. });
                assert!(self.expected.is_some() || needs_script);
                false
            }
            Some(ClaimOutcome::Claimed(grant)) => {
                let claimed_at = self.expiry().await - ms(claim.retention) - ms(claim.lease);
                let claimed_at = StoreTime::from_ms(claimed_at.unsigned_abs());
                assert!(before <= claimed_at && claimed_at <= after);
                let decision = decision::decide(self.expected.as_ref(), claim, claimed_at);
                assert_eq!(decision, Decision::Start(decision::Start::New));
                let next = decision::start(decision::Start::New, None, claim, claimed_at);
                let exact = Grant::of(&next, Repeated::No, claimed_at);
                assert_eq!(
                    Grant {
                        first_at: exact.first_at,
                        ..grant
                    },
                    exact
                );
                self.expected = Some(next);
                self.is_plain = true;
                true
            }
            Some(ClaimOutcome::Blocked(blocked)) => {
                let [earliest, latest] = [before, after]
                    .map(|now| decision::blocked(self.expected.as_ref(), claim, now));
                let lease_left = |blocked| match blocked {
                    Some(Blocked::InProgress { retry_after }) => retry_after,
                    _ => Duration::ZERO,
                };
                if let Blocked::InProgress { retry_after } = blocked {
                    // The pair sets an expiry a few milliseconds after it has read the clock.
                    let least = lease_left(latest).saturating_sub(SETTING_TIME);
                    let most = lease_left(earliest) + SETTING_TIME;
                    assert!(least <= retry_after && retry_after <= most);
                } else {
                    assert_eq!(Some(blocked), earliest);
                }
                true
            }
        }
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
        if self.prefers_plain() && self.change_plainly(fence, change).await {
            return;
        }
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

    /// Writes a change by a plain command. Returns false if only the script can write it.
    async fn change_plainly(&mut self, fence: &Fence, change: &Change) -> bool {
        let is_possible = self.is_plain
            && !matches!(change, Change::Release | Change::Renew(_))
            && fence.attempt == 1
            && self.expected.as_ref().is_some_and(|record| {
                record.state == State::InProgress
                    && record.rev == fence.rev
                    && record.owner == fence.claim.owner
                    && record.fingerprint == fence.claim.fingerprint
            });
        let expiry = self.expiry().await;
        let store = &self.store;
        let changed = store
            .change_plainly(&self.key, fence, change, Deadline::UNKNOWN)
            .await;
        assert_eq!(changed, Ok(is_possible), "{change:?} {:?}", self.expected);
        if is_possible && !matches!(change, Change::Complete(_)) {
            assert_eq!(self.expiry().await, expiry);
            let now = self.now().await;
            let step = decision::change(self.expected.as_ref(), fence, change, now);
            assert_eq!(step.answer, WriteResult::Stored(None));
            self.expected = step.write.map(|record| *record);
        } else if is_possible {
            let finished_at = self.expiry().await - ms(fence.claim.retention);
            let finished_at = StoreTime::from_ms(finished_at.unsigned_abs());
            let step = decision::change(self.expected.as_ref(), fence, change, finished_at);
            assert_eq!(step.answer, WriteResult::Stored(None));
            // The expiry no longer shows the time of the claim.
            self.expected = step.write.map(|record| Record {
                leased_at: finished_at,
                first_at: finished_at,
                ..*record
            });
        }
        is_possible
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

    fn checkpoint(&self) -> Option<Bytes> {
        let record = self.expected.as_ref()?;
        Some(record.checkpoint.clone())
    }

    fn rev(&self) -> u64 {
        self.expected.as_ref().map_or(0, |record| record.rev)
    }

    fn follow(&mut self, written: Option<Box<Record>>) {
        if let Some(record) = written {
            self.expected = Some(*record);
            self.is_plain = false;
        }
    }

    async fn run(&self, call: Call) -> Reply {
        let reply = self.store.run(&self.key, call, Deadline::UNKNOWN).await;
        let reply = reply.expect("answered");
        // Keeps a key beyond a short retention, because the script must detect the end of the retention from the header
        // alone.
        let key = self.key.as_str();
        let ttl = self.store.client.ttl(key).await;
        if !self.is_plain && matches!(ttl, Ok(Ttl::Left(left)) if left < RETENTION / 2) {
            let kept = self.store.client.expire(key, HOUR).await;
            kept.expect("kept");
        }
        reply
    }

    async fn compare(&self) {
        let read = self.run(Call::read()).await;
        assert_eq!(record_in(&read), self.expected, "{}", read.verdict);
        let stored = self.store.client.get(self.key.as_str()).await;
        let stored = stored.expect("read").map(Bytes::from);
        let whole = stored.as_ref().and_then(redis_text::read);
        assert_eq!(whole.is_some(), self.expected.is_some());
        if !self.is_plain {
            assert_eq!(whole.map(|stored| stored.record), self.expected);
        }
    }
}

/// The longest time between reading the server's clock and setting an expiry.
const SETTING_TIME: Duration = Duration::from_millis(100);
const HOUR: Duration = Duration::from_secs(3_600);

fn ms(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).expect("short")
}

impl history::Pair<Step> for Pair {
    async fn begin(&mut self) {
        let deleted = self.store.client.delete(self.key.as_str()).await;
        deleted.expect("deleted");
        self.expected = None;
        self.is_plain = false;
        self.steps = 0;
        self.claims.clear();
    }

    async fn take(&mut self, step: Step) {
        self.steps += 1;
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
                    checkpoint: None,
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
                    let fence = Fence {
                        rev: known_rev(known, self.rev()),
                        checkpoint: self.checkpoint(),
                        ..fence
                    };
                    self.change(&fence, &change_of(kind)).await;
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
