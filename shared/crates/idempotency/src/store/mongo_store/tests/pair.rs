//! Runs each step on a server and on the pure functions, and compares the results.
//!
//! The server's clock is read before and after each step. An outcome is correct if the pure functions return the same
//! outcome at an instant between the two reads. The same holds for dates that the server sets.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use foundation::secret::Secrets;
use harness::MongoServer;
use mongo_client::MongoConfig;
use mongodb::bson::{Bson, DateTime};

use super::super::super::history::{
    self, Finding, Step, age, change_of, claim_of, fingerprint_of, known_rev, pick, resolution_of,
};
use super::super::*;
use super::{Event, Judged};
use crate::record::State;
use crate::store::mongo_document::binary;
use crate::{IdempotencyKey, Scope};

/// The key on the server, and the record that the pure functions compute.
pub(super) struct Pair {
    store: MongoStore,
    key: RecordKey,
    expected: Option<Record>,
    /// Earlier records, as they were when they were replaced or deleted.
    past: Vec<Record>,
    /// The server's time at the end of the previous step.
    now: StoreTime,
    /// The claims so far, with their attempts. A blocked claim has the attempt that blocked it.
    claims: Vec<Fence>,
}

/// The stored record after a step.
struct Observed {
    document: Option<Document>,
    /// The milliseconds during which the step ran.
    during: RangeInclusive<u64>,
}

/// The result of a step by the pure functions.
enum Expected {
    /// The record is unchanged.
    Same,
    /// The record is replaced by this record, which was made at this instant.
    Written(Box<Record>, StoreTime),
}

const RETENTION: Duration = Duration::from_millis(2_000_000);
/// A second document, from which the server's time is read even while there is no record.
const CLOCK: &str = "clock";

impl Pair {
    pub(super) async fn new() -> Self {
        let server = MongoServer::shared().await;
        let config = MongoConfig::at(server.uri(), server.fresh_database());
        let mongo = Mongo::new(&config, &Secrets::without_store());
        let pair = Self {
            store: MongoStore::new(mongo, RETENTION),
            key: RecordKey::new(&Scope::none(), &IdempotencyKey::parse("k").expect("a key")),
            expected: None,
            past: Vec::new(),
            now: StoreTime::from_ms(0),
            claims: Vec::new(),
        };
        pair.put(doc! { "_id": CLOCK }).await;
        pair
    }

    async fn step(&mut self, step: Step) {
        match step {
            Step::Pass(ms) => self.pass(ms).await,
            Step::Expire => self.expire().await,
            Step::Claim(wish) => {
                let claim = claim_of(&wish);
                self.claim(&claim).await;
                let attempt = self.expected.as_ref().map_or(1, |record| record.attempt);
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
                    let rev = self.expected.as_ref().map_or(0, |record| record.rev);
                    let rev = known_rev(known, rev);
                    self.change(&Fence { rev, ..fence }, &change_of(kind)).await;
                }
            }
            Step::Resolve {
                behind,
                stale_owner,
                finding,
            } => self.resolve(behind, stale_owner, finding).await,
        }
    }

    /// Time also passes for clients that have read an older record.
    async fn pass(&mut self, ms: i64) {
        for record in self.past.iter_mut().chain(&mut self.expected) {
            age(record, ms);
        }
        if let Some(record) = &self.expected {
            self.put(document_of(&self.key, record)).await;
        }
    }

    /// Deletes a finished record, as the server does after the retention.
    async fn expire(&mut self) {
        let finished = |record: &mut Record| record.finished_at().is_some();
        if let Some(record) = self.expected.take_if(finished) {
            self.past.push(record);
            self.delete().await;
        }
    }

    async fn claim(&mut self, claim: &ClaimRequest) {
        let claiming = self.store.claim_record(&self.key, claim, Deadline::UNKNOWN);
        let (claimed, returned) = claiming.await.expect("decided");

        let observed = self.observe().await;
        let judged = self.expected.clone();
        let decided = observed.instant_at_which(|now| {
            let decision = decision::decide(judged.as_ref(), claim, now);
            let is_right = match (&claimed, &decision, &judged) {
                (ClaimOutcome::Claimed(grant), Decision::Start(_), _) => !grant.repeated,
                (ClaimOutcome::Claimed(grant), Decision::Repeated, Some(record)) => {
                    *grant == Grant::of(record, Repeated::Yes, now)
                }
                (ClaimOutcome::Blocked(blocked), Decision::Blocked(expected), _) => {
                    blocked == expected
                }
                (ClaimOutcome::Claimed(_) | ClaimOutcome::Blocked(_), ..) => false,
            };
            is_right.then_some(decision)
        });
        let Some((decision, at)) = decided else {
            panic!("{claimed:?} of {claim:?}, over {judged:?}");
        };
        let Decision::Start(how) = decision else {
            self.compare(observed, Expected::Same);
            assert_eq!(returned, self.expected);
            return;
        };
        let next = decision::start(how, judged.as_ref(), claim, at);
        self.compare(observed, Expected::Written(Box::new(next), at));
        assert_eq!(returned, self.expected);
        let (ClaimOutcome::Claimed(grant), Some(record)) = (claimed, returned) else {
            panic!("nothing was granted");
        };
        assert_eq!(grant, Grant::of(&record, Repeated::No, record.leased_at));
    }

    async fn look(&mut self, claim: &ClaimRequest) {
        let looking = self.store.look(&self.key, claim, Deadline::UNKNOWN);
        let blocked = looking.await.expect("read").value;

        let observed = self.observe().await;
        let judged = self.expected.clone();
        let expected = |now| decision::blocked(judged.as_ref(), claim, now);
        let decided = observed.instant_at_which(|now| (expected(now) == blocked).then_some(()));
        assert!(
            decided.is_some(),
            "{blocked:?} of {claim:?}, over {judged:?}"
        );
        self.compare(observed, Expected::Same);
    }

    async fn change(&mut self, fence: &Fence, change: &Change) {
        let changing = self
            .store
            .change_record(&self.key, fence, change, Deadline::UNKNOWN);
        let (changed, returned) = changing.await.expect("decided");

        let observed = self.observe().await;
        let Some(judged) = self.expected.clone() else {
            // Unlike Redis, MongoDB deletes only finished records, so there is no lost record that a result would
            // restore.
            assert!(matches!(changed, WriteResult::Superseded(None)));
            return self.compare(observed, Expected::Same);
        };
        let decided = observed.instant_at_which(|now| {
            let step = decision::change(Some(&judged), fence, change, now);
            (changed == step.answer).then_some(step.write)
        });
        let Some((written, at)) = decided else {
            panic!("{changed:?} of {change:?} by {fence:?}, over {judged:?}");
        };
        self.compare(observed, Expected::of(written, at));
        assert_eq!(returned, self.expected);
    }

    async fn resolve(&mut self, behind: u64, stale_owner: bool, finding: Finding) {
        let (owner, resolution) = (OwnerId::fresh(), resolution_of(finding));
        let mut seen = self.expected.as_ref().map_or(
            Version {
                owner: OwnerId::NONE,
                rev: 0,
                first_at: StoreTime::from_ms(0),
            },
            Record::version,
        );
        seen.rev = seen.rev.saturating_sub(behind);
        if stale_owner {
            seen.owner = OwnerId::fresh();
        }
        let resolving =
            self.store
                .resolve_record(&self.key, seen, owner, &resolution, Deadline::UNKNOWN);
        let (resolved, returned) = resolving.await.expect("decided");

        let observed = self.observe().await;
        let Some(judged) = self.expected.clone() else {
            assert_eq!(resolved, ResolveResult::Refused);
            return self.compare(observed, Expected::Same);
        };
        let decided = observed.instant_at_which(|now| {
            let step = decision::resolve(&judged, seen, owner, &resolution, now);
            (resolved == step.answer).then_some(step.write)
        });
        let Some((written, at)) = decided else {
            panic!("{resolved:?} of {resolution:?} of {seen:?}, over {judged:?}");
        };
        self.compare(observed, Expected::of(written, at));
        assert_eq!(returned, self.expected);
    }

    /// Sends a write for a record that may have changed meanwhile. After a change the write matches no record.
    async fn late(&mut self, ago: usize, judged: Judged) {
        let record = match ago.checked_sub(1) {
            None => self.expected.clone(),
            Some(older) => self.past.iter().rev().nth(older).cloned(),
        };
        let Some((update, next)) = record.and_then(|record| self.decide(&record, judged)) else {
            return;
        };
        let expected = match ago {
            0 => Expected::Written(Box::new(next), self.now),
            _ => Expected::Same,
        };

        let updated = self.store.update(update, Deadline::UNKNOWN).await;

        let observed = self.observe().await;
        self.compare(observed, expected);
        let updated = updated.expect("decided");
        assert_eq!(updated, self.expected.clone().filter(|_| ago == 0));
    }

    /// Returns the write of a client or a reconciler that has read `record`, and the record after that write. `None`:
    /// nothing is written.
    fn decide(&self, record: &Record, judged: Judged) -> Option<(Update, Record)> {
        let (key, now) = (&self.key, self.now);
        let (update, written) = match judged {
            Judged::Claim(wish) => {
                // All claims have the same request, because a claim with another request rarely starts.
                let claim = ClaimRequest {
                    fingerprint: record.fingerprint,
                    ..claim_of(&wish)
                };
                let Decision::Start(how) = decision::decide(Some(record), &claim, now) else {
                    return None;
                };
                let next = decision::start(how, Some(record), &claim, now);
                return Some((Update::of_claim(key, record, how, &next), next));
            }
            Judged::Change(kind) => {
                let change = change_of(kind);
                let claim = ClaimRequest {
                    owner: record.owner,
                    fingerprint: record.fingerprint,
                    policy: record.policy,
                    lease: record.lease,
                    retention: RETENTION,
                };
                let fence = Fence {
                    claim,
                    attempt: record.attempt,
                    rev: record.rev,
                    checkpoint: None,
                };
                let step = decision::change(Some(record), &fence, &change, now);
                (Update::of_change(key, record, &change), step.write)
            }
            Judged::Resolve(finding) => {
                let (owner, resolution) = (OwnerId::fresh(), resolution_of(finding));
                let step = decision::resolve(record, record.version(), owner, &resolution, now);
                let update = Update::of_resolution(key, record.version(), owner, &resolution);
                (update, step.write)
            }
        };
        written.map(|next| (update, *next))
    }

    /// Reads the stored record and the server's time.
    async fn observe(&mut self) -> Observed {
        let pipeline = [
            doc! { "$match": { "_id": { "$in": [self.key.as_str(), CLOCK] } } },
            doc! { "$addFields": { "now": "$$NOW" } },
        ];
        let reading = self.store.mongo.run(Deadline::UNKNOWN, |database| {
            let (records, pipeline) = (records(&database), pipeline.clone());
            async move { records.aggregate(pipeline).await?.try_collect().await }
        });
        let read: Vec<Document> = reading.await.expect("read");
        let now = read.iter().filter_map(mongo_document::now).max();
        let before = self.now;
        self.now = before.max(now.expect("the clock is there"));
        let mut documents = read.into_iter();
        let mut document =
            documents.find(|document| document.get_str("_id") == Ok(self.key.as_str()));
        if let Some(document) = &mut document {
            document.remove("now");
        }
        Observed {
            document,
            during: before.as_ms()..=self.now.as_ms(),
        }
    }

    /// Checks that the stored record is the expected one. The next step starts from that record.
    fn compare(&mut self, observed: Observed, expected: Expected) {
        let stored = observed.document.clone().map(|mut document| {
            mongo_document::record(&mut document).expect("a record can be read")
        });
        if let Expected::Written(mut next, at) = expected {
            if let Some(stored) = &stored {
                observed.adopt_dates(&mut next, stored, at);
            }
            self.past.extend(self.expected.replace(*next));
        }
        assert_eq!(stored, self.expected);
        let expected = self
            .expected
            .as_ref()
            .map(|record| document_of(&self.key, record));
        assert_eq!(observed.document.map(fields), expected.map(fields));
    }

    /// Stores a document, replacing the one with the same name.
    async fn put(&self, document: Document) {
        let putting = self.store.mongo.run(Deadline::UNKNOWN, |database| {
            let (records, document) = (records(&database), document.clone());
            async move {
                let id = doc! { "_id": document.get("_id") };
                records.replace_one(id, document).upsert(true).await
            }
        });
        putting.await.expect("stored");
    }

    async fn delete(&self) {
        let deleting = self.store.mongo.run(Deadline::UNKNOWN, |database| {
            let (records, id) = (records(&database), doc! { "_id": self.key.as_str() });
            async move { records.delete_one(id).await }
        });
        deleting.await.expect("deleted");
    }
}

impl history::Pair<Event> for Pair {
    async fn begin(&mut self) {
        self.delete().await;
        self.expected = None;
        self.past.clear();
        self.claims.clear();
        // The first observation has no earlier one, so its time spans from 1970 until now.
        self.observe().await;
    }

    async fn take(&mut self, event: Event) {
        match event {
            Event::Step(step) => self.step(step).await,
            Event::Late { ago, judged } => self.late(ago, judged).await,
        }
    }
}

impl Observed {
    /// The last instant of the step at which `decide` returns a value, and the value.
    fn instant_at_which<T>(
        &self,
        decide: impl Fn(StoreTime) -> Option<T>,
    ) -> Option<(T, StoreTime)> {
        self.during.clone().rev().find_map(|ms| {
            let now = StoreTime::from_ms(ms);
            Some((decide(now)?, now))
        })
    }

    /// Copies the dates that the server set during the step into the expected record. Every other date has to be equal.
    fn adopt_dates(&self, record: &mut Record, stored: &Record, at: StoreTime) {
        let adopt = |date: &mut StoreTime, stored: StoreTime| {
            if *date == at && self.during.contains(&stored.as_ms()) {
                *date = stored;
            }
        };
        adopt(&mut record.leased_at, stored.leased_at);
        adopt(&mut record.first_at, stored.first_at);
        let finished = match &mut record.state {
            State::Released { finished_at } | State::Completed { finished_at, .. } => finished_at,
            State::InProgress | State::Unknown => return,
        };
        if let Some(stored) = stored.finished_at() {
            adopt(finished, stored);
        }
    }
}

impl Expected {
    fn of(written: Option<Box<Record>>, at: StoreTime) -> Self {
        match written {
            Some(record) => Self::Written(record, at),
            None => Self::Same,
        }
    }
}

/// The document of a record, by the table of `mongo_document`.
fn document_of(key: &RecordKey, record: &Record) -> Document {
    let integer = |number: u64| Bson::Int64(number.try_into().expect("fits"));
    let ms = |time: Duration| integer(time.as_millis().try_into().expect("fits"));
    let date = |time: StoreTime| DateTime::from_millis(time.as_ms().try_into().expect("fits"));
    let mut document = doc! {
        "_id": key.as_str(),
        "state": record.state.name(),
        "owner": record.owner.to_string(),
        "attempt": integer(record.attempt),
        "rev": integer(record.rev),
        "leased_at": date(record.leased_at),
        "lease_ms": ms(record.lease),
        "fingerprint": record.fingerprint.to_string(),
        "policy_ms": integer(record.policy.to_bound_ms()),
        "first_at": date(record.first_at),
        "took_over": record.took_over,
    };
    if let Some(finished_at) = record.finished_at() {
        document.insert("finished_at", date(finished_at));
    }
    if let State::Completed { response, .. } = &record.state {
        document.insert("response", binary(&response.to_bytes()));
    }
    if !record.checkpoint.is_empty() {
        document.insert("checkpoint", binary(&record.checkpoint));
    }
    document
}

fn fields(document: Document) -> BTreeMap<String, Bson> {
    document.into_iter().collect()
}
