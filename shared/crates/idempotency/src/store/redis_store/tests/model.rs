//! A model check of the plain commands together with the script. It searches for an order of their steps that breaks a
//! rule.
//!
//! A claim is two commands, and other clients act between them. The record of a plain claim has no times until the
//! script computes them from the expiry. The search tries every order of the commands of two or three clients, passing
//! time, expiring keys, lost replies and crashes. The search uses the production functions: `plain` for plain commands,
//! and `decision` for the script. The server's commands, the times from the expiry, and the steps of clients are
//! modelled by hand.
//!
//! `crate::model` checks the protocol as a whole, with each claim as one step.

use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use redis_client::{Expiry, Ttl};
use stateright::{Checker, HasDiscoveries, Model, Property};

use super::super::plain;
use crate::blocked::Blocked;
use crate::decision::{self, Change, ClaimRequest, Decision, Fence};
use crate::record::{Record, State};
use crate::store::redis_text;
use crate::store_time::StoreTime;
use crate::write_result::WriteResult;
use crate::{Fingerprint, OwnerId, Policy, SavedResponse};

/// The configuration of a search.
#[derive(Clone, Copy, Debug)]
struct Search {
    clients: u8,
    /// The number of different requests that the clients send.
    requests: u8,
    policy: Policy,
    /// The retention of each client's deployment.
    retentions: [u64; 3],
    ticks: u64,
    faults: u8,
    renewals: u8,
    /// Whether attempts mark their outcome as unknown.
    marks: bool,
    bug: Option<Bug>,
}

/// A deviation that the search has to find.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Bug {
    /// The time to live is used, even if it belongs to another record.
    TtlOfAnotherRecord,
    /// A client that finds its own record assumes that the whole lease is left.
    OwnRecordIsARepeatedClaim,
    /// A renewal writes no times. So the time of the first claim follows from the renewed expiry.
    FirstTimeFromARenewal,
    /// A checkpoint moves the expiry, as if it renewed the lease.
    CheckpointRenews,
    /// The result replaces any record, even a record of another claim.
    UnconditionalResult,
    /// A result is replayed as long as Redis keeps it, even if this deployment's retention is over.
    RetentionOfAnotherDeployment,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct World {
    now: u64,
    stored: Option<Stored>,
    clients: Vec<Client>,
    faults: u8,
    /// The number of executions since the key was last free. `first_claim` is the time of the claim before the first of
    /// them.
    executions: u8,
    first_claim: Option<u64>,
    violation: Option<&'static str>,
    seen: Vec<&'static str>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Stored {
    text: Bytes,
    expiry: u64,
    /// The record with all its times by the server's clock.
    record: Record,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Client {
    /// Has not sent the claim, or sends it again with the same owner.
    Ready,
    /// The server has run `SET`, which found `text`. The client sent `SET` at the time `sent`.
    Found {
        text: Bytes,
        record: Box<Record>,
        sent: u64,
    },
    /// Only the script can answer the claim.
    NeedsScript,
    /// Runs the operation; assumes that its lease lasts until `ends`.
    Working {
        fence: Box<Held>,
        ends: u64,
        renewals: u8,
    },
    Done,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Held {
    attempt: u64,
    rev: u64,
    checkpoint: Option<Bytes>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Action {
    Tick,
    /// The server runs the `SET` of a claim.
    Set(u8),
    /// The server runs the `SET` of a claim, and the reply is lost. So the client sends the claim again.
    SetAndLoseTheReply(u8),
    /// The server runs the `PTTL` of a claim, and the client gets both replies.
    Pttl(u8),
    Script(u8),
    Complete(u8),
    MarkUnknown(u8),
    Renew(u8),
    Checkpoint(u8),
    Crash(u8),
}

const LEASE: u64 = 2;
const LONG: u64 = 50;

impl Search {
    const TWO: Self = Self {
        clients: 2,
        requests: 2,
        policy: Policy::AtMostOnce,
        retentions: [LONG; 3],
        ticks: 4,
        faults: 1,
        renewals: 1,
        marks: true,
        bug: None,
    };

    /// Three clients with the same request, which may take over while the provider recognises the derived key.
    const TAKEOVERS: Self = Self {
        clients: 3,
        requests: 1,
        policy: Policy::Rerun {
            within: Duration::from_millis(5),
        },
        ticks: 6,
        marks: false,
        ..Self::TWO
    };

    /// Takeovers without a limit, whose first attempts write plain commands.
    const RERUNS: Self = Self {
        policy: Policy::RerunAlways,
        ticks: 4,
        marks: true,
        ..Self::TAKEOVERS
    };

    /// Two deployments with different retentions, which end.
    const RETENTIONS: Self = Self {
        requests: 1,
        retentions: [4, 2, 4],
        clients: 3,
        ticks: 5,
        faults: 0,
        renewals: 0,
        marks: false,
        ..Self::TWO
    };

    fn with(self, bug: Bug) -> Self {
        Self {
            bug: Some(bug),
            ..self
        }
    }

    fn claim(&self, id: u8) -> ClaimRequest {
        let request = ["a", "b"][usize::from(id % self.requests)];
        ClaimRequest {
            owner: OwnerId::from_hex(&format!("{:032x}", id + 1)).expect("an owner"),
            fingerprint: Fingerprint::from_hex(&request.repeat(64)).expect("a fingerprint"),
            policy: self.policy,
            lease: Duration::from_millis(LEASE),
            retention: Duration::from_millis(self.retentions[usize::from(id)]),
        }
    }

    fn run(self) {
        let checker = self.checker().threads(2).spawn_bfs().join();
        checker.assert_properties();
    }
}

impl World {
    fn at(&self) -> StoreTime {
        StoreTime::from_ms(self.now)
    }

    fn violate(&mut self, what: &'static str) {
        self.violation.get_or_insert(what);
    }

    fn witness(&mut self, what: &'static str) {
        if !self.seen.contains(&what) {
            self.seen.push(what);
            self.seen.sort_unstable();
        }
    }

    /// Redis deletes the key as soon as it has expired.
    fn expire(&mut self) {
        if self
            .stored
            .as_ref()
            .is_some_and(|stored| stored.expiry <= self.now)
        {
            self.stored = None;
            self.executions = 0;
            self.first_claim = None;
        }
    }

    fn put(&mut self, text: Vec<u8>, expiry: u64, record: Record) {
        self.stored = Some(Stored {
            text: text.into(),
            expiry,
            record,
        });
    }

    /// Returns the record as the script reads it. If the stored record has no times, they follow from the expiry.
    fn read(&self) -> Option<Record> {
        let stored = self.stored.as_ref()?;
        let whole = redis_text::read(&stored.text).expect("a record");
        let mut record = whole.record;
        if record.leased_at.as_ms() > 0 {
            return Some(record);
        }
        let start = stored.expiry - ms(whole.retention);
        match &mut record.state {
            State::Completed { finished_at, .. } => {
                *finished_at = StoreTime::from_ms(start);
                record.leased_at = *finished_at;
            }
            _ => record.leased_at = StoreTime::from_ms(start - ms(record.lease)),
        }
        record.first_at = record.leased_at;
        Some(record)
    }

    /// The script's write.
    fn write(&mut self, search: &Search, id: u8, change: Option<&Change>, record: Record) {
        let retention = search.claim(id).retention;
        let end = match record.state {
            State::InProgress | State::Unknown => record.lease_end().as_ms().max(self.now),
            _ => self.now,
        };
        let mut expiry = end + ms(retention);
        let mut written = record.clone();
        match (search.bug, change) {
            (Some(Bug::CheckpointRenews), Some(Change::Checkpoint(_))) => {
                expiry = self.now + LEASE + ms(retention);
            }
            (Some(Bug::FirstTimeFromARenewal), Some(Change::Renew(_))) => {
                written.leased_at = StoreTime::from_ms(0);
                written.first_at = StoreTime::from_ms(0);
            }
            _ => {}
        }
        self.put(redis_text::write(&written, retention), expiry, record);
    }

    fn begin(&mut self, search: &Search, id: u8, held: Held, ends: u64) {
        let takes_over = self.executions > 0;
        self.executions += 1;
        let first = *self.first_claim.get_or_insert(self.now);
        match search.policy {
            Policy::AtMostOnce if takes_over => self.violate("an operation runs twice"),
            Policy::RerunAlways if takes_over => self.witness("a takeover"),
            Policy::Rerun { within } if takes_over => {
                self.witness("a takeover");
                if self.now + LEASE >= first + ms(within) {
                    self.violate("a takeover after the provider has forgotten the key");
                }
            }
            _ => {}
        }
        self.hold(id, held, ends, 0);
    }

    fn hold(&mut self, id: u8, held: Held, ends: u64, renewals: u8) {
        self.clients[usize::from(id)] = Client::Working {
            fence: Box::new(held),
            ends,
            renewals,
        };
    }

    fn set(&mut self, search: &Search, id: u8) -> Client {
        let claim = search.claim(id);
        if let Some(stored) = &self.stored {
            return Client::Found {
                text: stored.text.clone(),
                record: Box::new(stored.record.clone()),
                sent: self.now,
            };
        }
        let expiry = self.now + ms(claim.retention) + LEASE;
        let record = decision::start(decision::Start::New, None, &claim, self.at());
        let text = redis_text::write(&record_without_times(&record), claim.retention);
        self.put(text, expiry, record);
        let grant = plain::grant(&claim);
        let held = Held {
            attempt: grant.attempt,
            rev: grant.rev,
            checkpoint: Some(grant.checkpoint.clone()),
        };
        let ends = self.now + ms(grant.lease_left);
        self.begin(search, id, held, ends);
        self.clients[usize::from(id)].clone()
    }

    /// The client has both replies of its claim.
    fn answer(&mut self, search: &Search, id: u8) {
        let Client::Found { text, record, sent } = self.clients[usize::from(id)].clone() else {
            return;
        };
        let claim = search.claim(id);
        let ttl = self.stored.as_ref().map_or(Ttl::NoKey, |stored| {
            Ttl::Left(Duration::from_millis(stored.expiry - self.now))
        });
        if search.bug == Some(Bug::OwnRecordIsARepeatedClaim) && record.owner == claim.owner {
            let held = Held {
                attempt: 1,
                rev: 1,
                checkpoint: Some(Bytes::new()),
            };
            return self.hold(id, held, sent + LEASE, 0);
        }
        let blocked = match (search.bug, plain::blocked(&text, ttl, &claim)) {
            (Some(Bug::TtlOfAnotherRecord), None) => self.trust_any_ttl(&text, ttl, &claim),
            (Some(Bug::RetentionOfAnotherDeployment), None) => record
                .response()
                .map(|response| Blocked::Replay(response.clone())),
            (_, blocked) => blocked,
        };
        let at_set = decision::blocked(Some(&record), &claim, StoreTime::from_ms(sent));
        self.clients[usize::from(id)] = match &blocked {
            Some(_) => Client::Done,
            None => Client::NeedsScript,
        };
        match blocked {
            Some(Blocked::InProgress { retry_after }) => {
                self.witness("in progress");
                let is_unchanged = self
                    .stored
                    .as_ref()
                    .is_some_and(|now| now.record == *record);
                let lease_left = record.lease_end().since(self.at());
                if retry_after.is_zero() || ms(retry_after) > LEASE {
                    self.violate("a client waits longer than a lease, or not at all");
                }
                if is_unchanged && retry_after != lease_left {
                    self.violate("a client does not wait for the end of the lease");
                }
                // Another attempt may have taken over meanwhile. Then its lease is the one to wait for.
                let current = self.stored.as_ref().map(|now| &now.record);
                let at_pttl = decision::blocked(current, &claim, self.at());
                let is_running = |blocked| matches!(blocked, Some(Blocked::InProgress { .. }));
                // With two retentions, a client may mistake the time to live of a result for a lease, and wait too
                // long.
                let has_one_retention = search.retentions == [search.retentions[0]; 3];
                // Or an attempt ran between the commands, and then marked its outcome as unknown.
                let ran_between =
                    current.is_some_and(|now| now.rev > record.rev && now.lease_end() > self.at());
                let was_running = is_running(at_set) || is_running(at_pttl) || ran_between;
                if has_one_retention && !was_running {
                    self.violate("in progress without a running lease");
                }
            }
            Some(Blocked::Mismatch) => {
                self.witness("a mismatch");
                if at_set != Some(Blocked::Mismatch) {
                    self.violate("a mismatch with no other request");
                }
            }
            Some(Blocked::Replay(response)) => {
                self.witness("a replay");
                if at_set != Some(Blocked::Replay(response)) {
                    self.violate("a replay of a result that is not valid");
                }
            }
            Some(Blocked::Unknown(_)) => self.violate("only the script reports an unknown outcome"),
            None => {}
        }
    }

    fn trust_any_ttl(&self, text: &Bytes, ttl: Ttl, claim: &ClaimRequest) -> Option<Blocked> {
        let whole = redis_text::read(text)?;
        let is_running = whole.record.state == State::InProgress
            && whole.record.owner != claim.owner
            && whole.record.fingerprint == claim.fingerprint;
        match ttl {
            Ttl::Left(left) if is_running => Some(Blocked::InProgress {
                retry_after: left.saturating_sub(whole.retention),
            }),
            _ => None,
        }
    }

    fn claim_by_script(&mut self, search: &Search, id: u8) {
        let claim = search.claim(id);
        let record = self.read();
        let held = |record: &Record| Held {
            attempt: record.attempt,
            rev: record.rev,
            checkpoint: Some(record.checkpoint.clone()),
        };
        match decision::decide(record.as_ref(), &claim, self.at()) {
            Decision::Start(how) => {
                let next = decision::start(how, record.as_ref(), &claim, self.at());
                if matches!(how, decision::Start::New | decision::Start::Restart) {
                    (self.executions, self.first_claim) = (0, None);
                }
                self.write(search, id, None, next.clone());
                let ends = self.now + LEASE;
                self.begin(search, id, held(&next), ends);
            }
            Decision::Repeated => {
                let record = record.expect("the stored claim");
                self.witness("a repeated claim");
                if self.executions == 0 {
                    return self.begin(search, id, held(&record), record.lease_end().as_ms());
                }
                self.hold(id, held(&record), record.lease_end().as_ms(), 0);
            }
            Decision::Blocked(_) => self.clients[usize::from(id)] = Client::Done,
        }
    }

    fn fence(&self, search: &Search, id: u8, held: &Held) -> Fence {
        Fence {
            claim: search.claim(id),
            attempt: held.attempt,
            rev: held.rev,
            checkpoint: held.checkpoint.clone(),
        }
    }

    /// Returns whether the write is stored.
    fn change(&mut self, search: &Search, id: u8, held: &Held, change: &Change) -> bool {
        let fence = self.fence(search, id, held);
        let is_result = matches!(change, Change::Complete(_));
        let any_record = is_result && search.bug == Some(Bug::UnconditionalResult);
        if let Some(replacement) = plain::replacement(&fence, change)
            && let Some(stored) = self.stored.clone()
            && (stored.text == replacement.expected || any_record)
        {
            if stored.record.is_completed() || stored.record.owner != fence.claim.owner {
                self.violate("a change replaces the record of another attempt");
                return true;
            }
            let step = decision::change(Some(&stored.record), &fence, change, self.at());
            let mut record = *step.write.expect("the change is possible");
            let expiry = match replacement.expiry {
                Expiry::After(time) => {
                    // The expiry no longer shows the time of the claim.
                    (record.leased_at, record.first_at) = (self.at(), self.at());
                    self.witness("a plain result");
                    self.now + ms(time)
                }
                _ if search.bug == Some(Bug::CheckpointRenews) => {
                    self.now + LEASE + ms(fence.claim.retention)
                }
                _ => {
                    self.witness("a plain checkpoint or mark");
                    stored.expiry
                }
            };
            self.put(replacement.text, expiry, record);
            return true;
        }
        self.change_by_script(search, id, &fence, change)
    }

    /// Returns whether the write is stored.
    fn change_by_script(
        &mut self,
        search: &Search,
        id: u8,
        fence: &Fence,
        change: &Change,
    ) -> bool {
        let record = self.read();
        let step = decision::change(record.as_ref(), fence, change, self.at());
        if let Some(next) = step.write {
            self.write(search, id, Some(change), *next);
        }
        matches!(step.answer, WriteResult::Stored(_))
    }

    /// A change that ends the attempt.
    fn end(&mut self, search: &Search, id: u8, change: &Change) {
        if let Client::Working { fence, .. } = self.clients[usize::from(id)].clone() {
            self.change(search, id, &fence, change);
        }
        self.clients[usize::from(id)] = Client::Done;
    }

    fn work(&mut self, search: &Search, id: u8, change: &Change) {
        let Client::Working {
            fence,
            ends,
            renewals,
        } = self.clients[usize::from(id)].clone()
        else {
            return;
        };
        let sent = self.now;
        if self.change(search, id, &fence, change) {
            let (ends, checkpoint) = match change {
                Change::Renew(lease) => (sent + ms(*lease), None),
                Change::Checkpoint(note) => (ends, fence.checkpoint.map(|_| note.clone())),
                _ => (ends, None),
            };
            let held = Held {
                attempt: fence.attempt,
                rev: fence.rev + 1,
                checkpoint,
            };
            self.hold(id, held, ends, renewals + 1);
        } else {
            self.clients[usize::from(id)] = Client::Done;
        }
    }

    /// At most one client assumes that it has the lease.
    fn has_one_holder(&self) -> bool {
        let holds =
            |client: &&Client| matches!(client, Client::Working { ends, .. } if *ends > self.now);
        self.clients.iter().filter(holds).count() <= 1
    }
}

impl Model for Search {
    type State = World;
    type Action = Action;

    fn init_states(&self) -> Vec<World> {
        vec![World {
            // In a record, zero means that there is no time.
            now: 100,
            stored: None,
            clients: vec![Client::Ready; usize::from(self.clients)],
            faults: self.faults,
            executions: 0,
            first_claim: None,
            violation: None,
            seen: Vec::new(),
        }]
    }

    fn actions(&self, world: &World, actions: &mut Vec<Action>) {
        if world.violation.is_some() {
            return;
        }
        if world.now < 100 + self.ticks {
            actions.push(Action::Tick);
        }
        for id in 0..self.clients {
            let can_fail = world.faults > 0;
            match &world.clients[usize::from(id)] {
                Client::Ready => {
                    actions.push(Action::Set(id));
                    if can_fail {
                        actions.push(Action::SetAndLoseTheReply(id));
                    }
                }
                Client::Found { .. } => actions.push(Action::Pttl(id)),
                Client::NeedsScript => actions.push(Action::Script(id)),
                Client::Working { renewals, .. } => {
                    actions.push(Action::Complete(id));
                    if self.marks {
                        actions.push(Action::MarkUnknown(id));
                    }
                    if *renewals < self.renewals {
                        actions.extend([Action::Renew(id), Action::Checkpoint(id)]);
                    }
                    actions.push(Action::Crash(id));
                }
                Client::Done => {}
            }
        }
    }

    fn next_state(&self, world: &World, action: Action) -> Option<World> {
        let mut next = world.clone();
        next.expire();
        match action {
            Action::Tick => {
                next.now += 1;
                next.expire();
            }
            Action::Set(id) => next.clients[usize::from(id)] = next.set(self, id),
            Action::SetAndLoseTheReply(id) => {
                let before = (next.executions, next.first_claim);
                let client = next.set(self, id);
                next.faults -= 1;
                // The client has not learned that it may work.
                if matches!(client, Client::Working { .. }) {
                    (next.executions, next.first_claim) = (before.0, Some(next.now));
                }
                next.clients[usize::from(id)] = Client::Ready;
            }
            Action::Pttl(id) => next.answer(self, id),
            Action::Script(id) => next.claim_by_script(self, id),
            Action::Complete(id) => {
                let result = SavedResponse::new(StatusCode::OK, id.to_string());
                next.end(self, id, &Change::Complete(result));
            }
            Action::MarkUnknown(id) => next.end(self, id, &Change::MarkUnknown),
            Action::Renew(id) => next.work(self, id, &Change::Renew(Duration::from_millis(LEASE))),
            Action::Checkpoint(id) => next.work(self, id, &Change::Checkpoint("note".into())),
            Action::Crash(id) => next.clients[usize::from(id)] = Client::Done,
        }
        Some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        let mut properties = vec![
            Property::always("no rule is violated", |_: &Self, world: &World| {
                world.violation.is_none()
            }),
            Property::always("one client has the lease", |_: &Self, world: &World| {
                world.has_one_holder()
            }),
        ];
        if self.bug.is_some() {
            return properties;
        }
        macro_rules! once {
            ($what:literal) => {
                properties.push(Property::sometimes($what, |_: &Self, world: &World| {
                    world.seen.contains(&$what)
                }));
            };
        }
        // The script writes the changes of every claim whose policy has a limit.
        if !matches!(self.policy, Policy::Rerun { .. }) {
            once!("a plain result");
            if self.marks {
                once!("a plain checkpoint or mark");
            }
        }
        if self.requests > 1 {
            once!("a mismatch");
        } else {
            once!("a replay");
            once!("in progress");
        }
        if self.policy != Policy::AtMostOnce {
            once!("a takeover");
        }
        if self.faults > 0 {
            once!("a repeated claim");
        }
        properties
    }
}

/// Returns the record that a plain claim writes. In production, a claim whose policy has a limit goes to the script. In
/// the search it is a plain claim too, because the search then covers more cases.
fn record_without_times(record: &Record) -> Record {
    Record {
        leased_at: StoreTime::from_ms(0),
        first_at: StoreTime::from_ms(0),
        ..record.clone()
    }
}

fn ms(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).expect("short")
}

#[test]
fn plain_commands_keep_every_rule() {
    for search in [
        Search::TWO,
        Search::TAKEOVERS,
        Search::RERUNS,
        Search::RETENTIONS,
    ] {
        search.run();
    }
}

#[test]
fn each_planted_bug_is_found() {
    for (search, bug) in [
        (Search::RETENTIONS, Bug::TtlOfAnotherRecord),
        (Search::TAKEOVERS, Bug::OwnRecordIsARepeatedClaim),
        (Search::TAKEOVERS, Bug::FirstTimeFromARenewal),
        (Search::TAKEOVERS, Bug::CheckpointRenews),
        (Search::RERUNS, Bug::CheckpointRenews),
        (Search::RERUNS, Bug::UnconditionalResult),
        (Search::RETENTIONS, Bug::RetentionOfAnotherDeployment),
    ] {
        let checker = search
            .with(bug)
            .checker()
            .threads(2)
            .finish_when(HasDiscoveries::AnyFailures)
            .spawn_bfs()
            .join();
        assert!(!checker.discoveries().is_empty(), "{bug:?} was not found");
    }
}
