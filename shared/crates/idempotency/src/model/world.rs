//! The whole state of the model, and the steps of servers and clocks.

use std::collections::BTreeSet;

use super::answer::Answer;
use super::bug::Bug;
use super::client::Client;
use super::message::Message;
use super::protocol::{Beginning, Protocol};
use super::seen::Reconciler;
use super::stored::Stored;
use crate::record::{Record, State};
use crate::store::hints::simulated::Held;
use crate::store_time::StoreTime;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct World {
    /// The time, in ticks of the clock.
    pub(super) now: u64,
    /// The acknowledged state of the authoritative store; in MongoDB, the state of a majority.
    pub(super) acknowledged: Stored,
    /// The primary's state, if the primary has writes that a majority of MongoDB's servers lacks. A failover drops this
    /// state.
    pub(super) tail: Option<Box<Stored>>,
    /// The value in the Redis cache in front of MongoDB.
    pub(super) hints: Option<Held>,
    /// The value of the cache before its last write. Redis has this value again if it loses that write.
    pub(super) hints_before: Option<Held>,
    pub(super) clients: Vec<Client>,
    pub(super) reconciler: Reconciler,
    /// The requests that were sent and have not arrived yet.
    pub(super) in_flight: Vec<Message>,
    /// The number of faults that can still happen.
    pub(super) faults: u8,
    /// A generation and an attempt. The provider refuses the requests of this attempt and of all earlier attempts.
    pub(super) fence: (u8, u64),
    /// The number of checkpoints that clients have begun to store.
    pub(super) notes_begun: u8,

    // Data for the properties.
    /// Number of executions per generation, counted up to two.
    pub(super) executions: Vec<u8>,
    /// The requests that were executed in each generation.
    pub(super) executed: BTreeSet<(u8, u8)>,
    /// The last acknowledged checkpoint.
    pub(super) last_checkpoint: u8,
    /// The acknowledged results of generations whose retention is not over.
    pub(super) results: BTreeSet<Answer>,
    /// The final responses that clients received. Only generations whose retention is not over are included.
    pub(super) responses: BTreeSet<Answer>,
    /// The last generation whose retention is over.
    pub(super) ended: u8,
    /// The forbidden steps that occurred.
    pub(super) violations: BTreeSet<Violation>,
    /// The steps that a search must reach, and that occurred.
    pub(super) witnessed: BTreeSet<Witness>,
}

/// A step that the protocol forbids, but that occurred in the search.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Violation {
    MissedResolution,
    ChangedRequest,
    MisplacedResult,
    ReleasedRunningLease,
    Decreased,
    WrongResponse,
    FalseMismatch,
    StaleReplay,
    EmptyRenewal,
    LostResult,
    OlderResult,
}

/// A step that a search must reach at least once. Otherwise, the search would miss cases in which a property could
/// fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Witness {
    Replay,
    Mismatch,
    Unknown,
    Decline,
    Resolution,
    Reopening,
    Deletion,
    Rollback,
}

impl World {
    pub(super) fn new(protocol: &Protocol) -> Self {
        let world = Self {
            now: 0,
            acknowledged: Stored::NOTHING,
            tail: None,
            hints: None,
            hints_before: None,
            clients: (0..protocol.clients)
                .map(|_| Client::new(protocol))
                .collect(),
            reconciler: Reconciler::new(protocol),
            in_flight: Vec::new(),
            faults: protocol.faults,
            fence: (0, 0),
            notes_begun: 0,
            executions: vec![0; 2],
            executed: BTreeSet::new(),
            last_checkpoint: 0,
            results: BTreeSet::new(),
            responses: BTreeSet::new(),
            ended: 0,
            violations: BTreeSet::new(),
            witnessed: BTreeSet::new(),
        };
        match protocol.beginning {
            Beginning::Nothing => world,
            Beginning::Completed => world.with_a_result(protocol),
        }
    }

    pub(super) fn violate(&mut self, violation: Violation) {
        self.violations.insert(violation);
    }

    pub(super) fn witness(&mut self, witness: Witness) {
        self.witnessed.insert(witness);
    }

    pub(super) fn primary(&self) -> &Stored {
        self.tail.as_deref().unwrap_or(&self.acknowledged)
    }

    /// The primary applies a write.
    pub(super) fn put(&mut self, protocol: &Protocol, stored: Stored) {
        if protocol.lags {
            self.tail = Some(Box::new(stored));
        } else {
            self.acknowledge(protocol, stored);
        }
    }

    /// A majority of MongoDB's servers receives the writes that it lacks (`tail`).
    pub(super) fn replicate(&mut self, protocol: &Protocol) {
        if let Some(stored) = self.tail.take() {
            self.acknowledge(protocol, *stored);
            for client in &mut self.clients {
                client.acknowledge();
            }
        }
    }

    /// A failover: a replica that lacks the unacknowledged writes (`tail`) becomes primary.
    pub(super) fn fail_over(&mut self, protocol: &Protocol) {
        self.tail = None;
        self.witness(Witness::Rollback);
        for id in 0..self.clients.len() {
            if self.clients[id].forget_unacknowledged() {
                self.receive_nothing(protocol, id);
            }
        }
    }

    fn acknowledge(&mut self, protocol: &Protocol, stored: Stored) {
        let answer = stored.record.as_ref().and_then(Answer::of);
        self.acknowledged = stored;
        if let Some(answer) = answer.filter(|answer| answer.generation > self.ended) {
            self.results.insert(answer);
        }
        self.end_retention(protocol);
    }

    pub(super) fn tick(&mut self, protocol: &Protocol) {
        self.now += 1;
        let now = self.time();
        let stored = &self.acknowledged;
        if stored.expires.is_some_and(|expires| expires < now) {
            self.acknowledged = stored.clone().forgetting(true);
            self.drop_late_claims();
        }
        if protocol.bug == Some(Bug::RecordExpiresWithItsLease) && self.is_open(protocol) {
            self.acknowledged = self.acknowledged.clone().forgetting(false);
        }
        self.end_retention(protocol);
    }

    fn end_retention(&mut self, protocol: &Protocol) {
        let (stored, now) = (&self.acknowledged, self.time());
        let is_over = |record: &Record| record.is_over(protocol.retention(), now);
        if stored.record.as_ref().is_some_and(is_over) {
            self.ended = self.ended.max(stored.generation);
            self.results.retain(|answer| answer.generation > self.ended);
            self.responses
                .retain(|answer| answer.generation > self.ended);
            self.drop_late_claims();
        }
    }

    /// Drops the claims in flight: the model assumes that no claim is in flight for a whole retention. If a claim were
    /// in flight for so long, it could make a second record after the first one is deleted. The owner's late result
    /// would then be stored in the second record. That result is correct, but would be kept for one retention too long.
    fn drop_late_claims(&mut self) {
        self.in_flight.retain(|message| !message.is_claim());
    }

    /// MongoDB's TTL index deletes the record.
    pub(super) fn delete(&mut self, protocol: &Protocol) {
        let stored = self.primary().clone();
        let is_over = |record: &Record| record.is_over(protocol.retention(), self.time());
        let is_right = stored.record.as_ref().is_some_and(is_over);
        self.witness(Witness::Deletion);
        self.put(protocol, stored.forgetting(is_right));
    }

    /// Whether the reconciler may read the key, because the key is abandoned or its outcome is unknown.
    pub(super) fn is_open(&self, protocol: &Protocol) -> bool {
        let record = self.read(protocol).record.as_ref();
        record.is_some_and(|record| match record.state {
            State::Unknown => true,
            State::InProgress => self.time() >= record.lease_end(),
            State::Released { .. } | State::Completed { .. } => false,
        })
    }

    pub(super) fn is_finished(&self) -> bool {
        let record = self.primary().record.as_ref();
        record.is_some_and(|record| record.finished_at().is_some())
    }

    pub(super) fn execute(&mut self, generation: u8, request: u8) {
        let at = usize::from(generation);
        if self.executions.len() <= at {
            self.executions.resize(at + 1, 0);
        }
        self.executions[at] = (self.executions[at] + 1).min(2);
        self.executed.insert((generation, request));
    }

    pub(super) fn was_executed(&self, generation: u8) -> bool {
        let executions = self.executions.get(usize::from(generation));
        executions.is_some_and(|executions| *executions > 0)
    }

    /// A client receives a final response.
    pub(super) fn respond(&mut self, protocol: &Protocol, id: usize, answer: Answer) {
        if answer.request != protocol.request_of(id) {
            self.violate(Violation::WrongResponse);
        }
        if answer.generation > self.ended {
            self.responses.insert(answer);
        }
    }

    /// The Redis cache loses its data.
    pub(super) fn lose_hints(&mut self) {
        self.hints = None;
    }

    pub(super) fn fall_back(&mut self) {
        self.hints = self.hints_before.clone();
    }

    pub(super) fn time(&self) -> StoreTime {
        StoreTime::from_ms(1_000 + self.now)
    }

    fn with_a_result(self, protocol: &Protocol) -> Self {
        // The first client runs alone, and without faults.
        let mut world = self;
        while !world.clients[0].is_over() {
            if world.clients[0].is_running() {
                world.work(protocol, 0);
            } else if world.tail.is_some() {
                world.replicate(protocol);
                world.receive(protocol, 0);
            } else {
                world.send(protocol, 0, super::message::Delivery::Answered);
            }
        }
        world
    }
}
