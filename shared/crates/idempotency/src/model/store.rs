//! The authoritative store: its records, and how it applies requests.
//!
//! This module uses the functions of the real stores (`decision`). `insert`, `update` and `swap` restate the filters of
//! `store/mongo_store.rs` as conditions in Rust.

use super::bug::Bug;
use super::identity::claim;
use super::message::{Finding, HeldWrite, Judged, Message, Reply, Swap, Won};
use super::protocol::Protocol;
use super::stored::{Stored, lease_left};
use super::world::{Violation, World};
use crate::decision::{self, Change, Decision, Start};
use crate::record::{Record, Version};
use crate::store_time::StoreTime;
use crate::{Blocked, SavedResponse, WriteResult};

impl World {
    /// Applies a request to the authoritative store.
    pub(super) fn decide_on(&mut self, protocol: &Protocol, message: &Message) -> Reply {
        match message {
            Message::Insert { id } => self.insert(protocol, *id),
            Message::Update(write) => self.update(protocol, write),
            Message::Swap { judged, write } => self.swap(protocol, *judged, write),
            Message::Decide { id } => self.decide(protocol, *id),
            Message::Change(write) => self.change(protocol, write),
            Message::Resolve { seen, finding } => {
                self.resolve_in_one_step(protocol, *seen, finding);
                Reply::Done
            }
            _ => Reply::Found {
                stored: Box::new(self.read(protocol).clone()),
                now: self.time(),
            },
        }
    }

    /// Returns the record that a reader receives: the record that a majority has acknowledged.
    pub(super) fn read(&self, protocol: &Protocol) -> &Stored {
        if protocol.bug == Some(Bug::ReadConcernLocal) {
            self.primary()
        } else {
            &self.acknowledged
        }
    }

    fn insert(&mut self, protocol: &Protocol, id: u8) -> Reply {
        if self.primary().record.is_some() {
            return Reply::Lost;
        }
        let claim = claim(protocol, id);
        self.write_claim(
            protocol,
            decision::start(Start::New, None, &claim, self.time()),
        )
    }

    fn update(&mut self, protocol: &Protocol, write: &HeldWrite) -> Reply {
        let Some(record) = self.primary().record.clone() else {
            return Reply::Lost;
        };
        if let Some(reply) = self.change_against_the_rules(protocol, &record, write) {
            return reply;
        }
        let needs_a_reading = match write.change {
            Change::Renew(_) => record.took_over || write.rev == 0,
            Change::Checkpoint(_) => write.rev == 0,
            Change::Release => record.took_over,
            Change::Complete(_) | Change::MarkUnknown => false,
        };
        let fence = write.fence(protocol);
        match decision::change(Some(&record), &fence, &write.change, self.time()).write {
            Some(next) if !needs_a_reading => self.write_change(protocol, write, *next),
            _ => Reply::Lost,
        }
    }

    fn swap(&mut self, protocol: &Protocol, judged: Judged, write: &Swap) -> Reply {
        let Some(record) = self.primary().record.clone() else {
            return Reply::Lost;
        };
        let seen = judged.version;
        let is_judged = match (protocol.bug, write) {
            (Some(Bug::BlindTakeover), Swap::Claim { .. }) => true,
            (Some(Bug::ClaimByAttempt), Swap::Claim { .. }) => record.attempt == judged.attempt,
            (Some(Bug::ClaimByRevAlone), Swap::Claim { .. })
            | (Some(Bug::ResolveWithoutOwner), Swap::Resolve(_)) => record.rev == seen.rev,
            (Some(Bug::ResolveWithoutRev), Swap::Resolve(_)) => record.owner == seen.owner,
            _ => record.version() == seen,
        };
        if !is_judged {
            return Reply::Lost;
        }
        match write {
            Swap::Claim { how, next } => {
                // Uses the server's clock and counters, not the values that the client has read.
                let first_at = match how {
                    Start::New | Start::Restart => self.time(),
                    Start::Reclaim | Start::TakeOver => record.first_at,
                };
                let next = Record {
                    leased_at: self.time(),
                    attempt: record.attempt + 1,
                    rev: record.rev + 1,
                    first_at,
                    ..next.clone()
                };
                self.write_claim(protocol, next)
            }
            Swap::Change(write) => {
                let fence = write.fence(protocol);
                match decision::change(Some(&record), &fence, &write.change, self.time()).write {
                    Some(next) => self.write_change(protocol, write, *next),
                    None => Reply::Lost,
                }
            }
            Swap::Resolve(finding) => {
                self.write_finding(protocol, &record, finding);
                Reply::Done
            }
        }
    }

    fn decide(&mut self, protocol: &Protocol, id: u8) -> Reply {
        let claim = claim(protocol, id);
        let record = self.primary().record.clone();
        match decision::decide(record.as_ref(), &claim, self.time()) {
            Decision::Start(how) => {
                let next = decision::start(how, record.as_ref(), &claim, self.time());
                self.write_claim(protocol, next)
            }
            decision => blocked_reply(decision, self.primary(), self.time()),
        }
    }

    fn change(&mut self, protocol: &Protocol, write: &HeldWrite) -> Reply {
        let stored = self.primary().clone();
        if let Some(record) = &stored.record
            && let Some(reply) = self.change_against_the_rules(protocol, record, write)
        {
            return reply;
        }
        let fence = write.fence(protocol);
        let step = decision::change(stored.record.as_ref(), &fence, &write.change, self.time());
        match step.write {
            Some(next) => self.write_change(protocol, write, *next),
            None => self.unchanged(protocol, &step.answer, &stored, write, self.time()),
        }
    }

    /// Returns the reply to a holder's write that changes nothing.
    pub(super) fn unchanged(
        &mut self,
        protocol: &Protocol,
        result: &WriteResult<Option<SavedResponse>>,
        stored: &Stored,
        write: &HeldWrite,
        now: StoreTime,
    ) -> Reply {
        let Some(record) = stored.record.as_ref() else {
            return Reply::Superseded(Box::new(Reply::Unknown));
        };
        if !matches!(result, WriteResult::Superseded(_)) && stored.was_resolved(write.id) {
            self.violate(Violation::MissedResolution);
        }
        match (result, &write.change) {
            (WriteResult::Stored(_), Change::Complete(_)) => {
                Reply::Result(Box::new(record.clone()))
            }
            (WriteResult::Stored(_), _) => Reply::Already {
                lease_left: lease_left(record, now),
            },
            (WriteResult::TooLate, _) => Reply::TooLate,
            (WriteResult::Outdated(rev), _) => Reply::Moved { rev: *rev },
            _ => {
                let claim = claim(protocol, write.id);
                let decision = decision::decide(Some(record), &claim, now);
                Reply::Superseded(Box::new(blocked_reply(decision, stored, now)))
            }
        }
    }

    fn resolve_in_one_step(&mut self, protocol: &Protocol, seen: Version, finding: &Finding) {
        if let Some(record) = self.primary().record.clone()
            && self.may_resolve(protocol, &record, seen, finding)
        {
            self.write_finding(protocol, &record, finding);
        }
    }

    pub(super) fn may_resolve(
        &self,
        protocol: &Protocol,
        record: &Record,
        mut seen: Version,
        finding: &Finding,
    ) -> bool {
        match protocol.bug {
            Some(Bug::ResolveWithoutOwner) => seen.owner = record.owner,
            Some(Bug::ResolveWithoutRev) => seen.rev = record.rev,
            _ => {}
        }
        let (owner, resolution) = (finding.owner, &finding.resolution);
        let step = decision::resolve(record, seen, owner, resolution, self.time());
        step.write.is_some()
    }
}

/// Returns the reply to a claim that does not start an attempt.
pub(super) fn blocked_reply(decision: Decision, stored: &Stored, now: StoreTime) -> Reply {
    let Some(record) = &stored.record else {
        return Reply::Unknown;
    };
    match decision {
        Decision::Blocked(Blocked::Replay(_)) => Reply::Result(Box::new(record.clone())),
        Decision::Blocked(Blocked::Unknown(_)) => Reply::Unknown,
        Decision::Blocked(Blocked::Mismatch) => Reply::Mismatch,
        Decision::Repeated => Reply::Won(Won {
            attempt: record.attempt,
            rev: record.rev,
            lease_left: lease_left(record, now),
            generation: stored.generation,
        }),
        Decision::Blocked(Blocked::InProgress { .. }) | Decision::Start(_) => Reply::InProgress,
    }
}
