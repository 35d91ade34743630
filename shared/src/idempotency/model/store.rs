//! The store that decides: what it holds, and how it carries requests out.
//!
//! It decides by the functions by which the real stores decide (`decision`). MongoDB's filters are those of
//! `store/mongo_store.rs`.

use super::answer::Answer;
use super::bug::Bug;
use super::client::{claim, lease_left, standing};
use super::message::{Finding, HeldWrite, Judged, Message, Reply, Swap, Won};
use super::protocol::{Layout, Protocol};
use super::world::{Violation, Witness, World};
use crate::idempotency::decision::{self, Change, Decision, Start, Verdict};
use crate::idempotency::record::{Record, State, StoreTime, Version};

/// A record, and what the search has to remember with it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Stored {
    pub(super) record: Option<Record>,
    /// The claim generation of the record, or of the last one. Work counts per generation.
    pub(super) generation: u8,
    /// Whether the retention of the last record is over, so that the next claim begins a generation.
    is_forgotten: bool,
    /// Redis alone: the last instant at which the record is there.
    pub(super) expires: Option<StoreTime>,
    /// Only where that bug is planted: the `finished_at` of an unfinished record.
    left_over: Option<StoreTime>,
    highest_rev: u64,
    /// The clients that were settled, one bit each.
    settled: u8,
}

impl Stored {
    pub(super) const NOTHING: Self = Self {
        record: None,
        generation: 1,
        is_forgotten: false,
        expires: None,
        left_over: None,
        highest_rev: 0,
        settled: 0,
    };

    pub(super) fn was_settled(&self, who: u8) -> bool {
        self.settled & (1 << who) != 0
    }

    /// Whether the TTL index deletes the record.
    pub(super) fn may_be_deleted(&self, protocol: &Protocol, now: StoreTime) -> bool {
        let finished_at = self.record.as_ref().and_then(Record::finished_at);
        finished_at
            .or(self.left_over)
            .is_some_and(|at| now >= at.after(protocol.retention()))
    }

    /// The same without its record. The next claim begins a generation if the record was rightly forgotten.
    pub(super) fn forgetting(self, is_right: bool) -> Self {
        Self {
            record: None,
            is_forgotten: self.is_forgotten || is_right,
            expires: None,
            left_over: None,
            highest_rev: if is_right { 0 } else { self.highest_rev },
            settled: if is_right { 0 } else { self.settled },
            ..self
        }
    }
}

impl World {
    /// Carries out a request to the store that decides.
    pub(super) fn decide_on(&mut self, protocol: &Protocol, message: &Message) -> Reply {
        match message {
            Message::Insert { who } => self.insert(protocol, *who),
            Message::Update(write) => self.update(protocol, write),
            Message::Swap { judged, write } => self.swap(protocol, *judged, write),
            Message::Decide { who } => self.decide(protocol, *who),
            Message::Change(write) => self.change(protocol, write),
            Message::Settle { seen, finding } => {
                self.settle_in_one_step(protocol, *seen, finding);
                Reply::Done
            }
            _ => Reply::Found {
                stored: Box::new(self.read(protocol).clone()),
                now: self.time(),
            },
        }
    }

    /// What a reader sees: what a majority has acknowledged.
    pub(super) fn read(&self, protocol: &Protocol) -> &Stored {
        if protocol.bug == Some(Bug::ReadConcernLocal) {
            self.primary()
        } else {
            &self.acknowledged
        }
    }

    fn insert(&mut self, protocol: &Protocol, who: u8) -> Reply {
        if self.primary().record.is_some() {
            return Reply::Lost;
        }
        let claim = claim(protocol, who);
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
        match decision::change(Some(&record), &fence, &write.change, self.time()) {
            Verdict::Write(next) if !needs_a_reading => self.write_change(protocol, write, *next),
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
            | (Some(Bug::SettleWithoutOwner), Swap::Settle(_)) => record.rev == seen.rev,
            (Some(Bug::SettleWithoutRev), Swap::Settle(_)) => record.owner == seen.owner,
            _ => record.version() == seen,
        };
        if !is_judged {
            return Reply::Lost;
        }
        match write {
            Swap::Claim { how, next } => {
                // The server's clock and counters, not those of the reading.
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
                match decision::change(Some(&record), &fence, &write.change, self.time()) {
                    Verdict::Write(next) => self.write_change(protocol, write, *next),
                    _ => Reply::Lost,
                }
            }
            Swap::Settle(finding) => {
                self.write_finding(protocol, &record, finding);
                Reply::Done
            }
        }
    }

    fn decide(&mut self, protocol: &Protocol, who: u8) -> Reply {
        let claim = claim(protocol, who);
        let record = self.primary().record.clone();
        match decision::decide(record.as_ref(), &claim, self.time()) {
            Decision::Start(how) => {
                let next = decision::start(how, record.as_ref(), &claim, self.time());
                self.write_claim(protocol, next)
            }
            decision => standing(decision, self.primary(), self.time()),
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
        match decision::change(stored.record.as_ref(), &fence, &write.change, self.time()) {
            Verdict::Write(next) => self.write_change(protocol, write, *next),
            verdict => self.unchanged(protocol, &verdict, &stored, write, self.time()),
        }
    }

    /// The reply to a holder's write that changes nothing.
    pub(super) fn unchanged(
        &mut self,
        protocol: &Protocol,
        verdict: &Verdict,
        stored: &Stored,
        write: &HeldWrite,
        now: StoreTime,
    ) -> Reply {
        let Some(record) = stored.record.as_ref() else {
            return Reply::Superseded(Box::new(Reply::Unknown));
        };
        if *verdict != Verdict::Superseded && stored.was_settled(write.who) {
            self.violate(Violation::MissedASettlement);
        }
        match (verdict, &write.change) {
            (Verdict::Already, Change::Complete(_)) => Reply::Result(Box::new(record.clone())),
            (Verdict::Already, _) => Reply::Already {
                lease_left: lease_left(record, now),
            },
            (Verdict::TooLate, _) => Reply::TooLate,
            (Verdict::Moved, _) => Reply::Moved { rev: record.rev },
            _ => {
                let claim = claim(protocol, write.who);
                let decision = decision::decide(Some(record), &claim, now);
                Reply::Superseded(Box::new(standing(decision, stored, now)))
            }
        }
    }

    fn change_against_the_rules(
        &mut self,
        protocol: &Protocol,
        record: &Record,
        write: &HeldWrite,
    ) -> Option<Reply> {
        let next = Record {
            rev: record.rev + 1,
            ..record.clone()
        };
        let is_holder =
            record.owner == claim(protocol, write.who).owner && record.state == State::InProgress;
        let state = match (protocol.bug?, &write.change) {
            (Bug::UnfencedComplete, Change::Complete(response)) => State::Completed {
                finished_at: self.time(),
                response: response.clone(),
            },
            (Bug::ReleaseForTheAttemptBefore, Change::Release) if is_holder => State::Released {
                finished_at: self.time(),
            },
            (Bug::NoteOverALaterOne, Change::Checkpoint(note)) if is_holder => {
                let next = Record {
                    checkpoint: note.clone(),
                    ..next
                };
                return Some(self.write_change(protocol, write, next));
            }
            (Bug::ReleaseDeletes, Change::Release) if is_holder => {
                let stored = self.primary().clone().forgetting(false);
                self.put(protocol, stored);
                return Some(Reply::Done);
            }
            _ => return None,
        };
        Some(self.write_change(protocol, write, Record { state, ..next }))
    }

    fn write_claim(&mut self, protocol: &Protocol, next: Record) -> Reply {
        let before = self.primary().clone();
        let is_over = |record: &Record| record.is_over(protocol.retention(), self.time());
        let begins = before.is_forgotten || before.record.as_ref().is_some_and(is_over);
        if let Some(record) = &before.record
            && !begins
            && record.fingerprint != next.fingerprint
            && !matches!(record.state, State::Released { .. })
        {
            self.violate(Violation::ChangedRequest);
        }
        let won = Won {
            attempt: next.attempt,
            rev: next.rev,
            lease_left: lease_left(&next, self.time()),
            generation: before.generation + u8::from(begins),
        };
        let left_over = match protocol.bug {
            Some(Bug::KeepFinishedAt) => before.record.as_ref().and_then(Record::finished_at),
            _ => None,
        };
        // An owner that claims again is none that was settled: it has not begun before.
        let claims_again = bit_of(protocol, &next);
        self.write(
            protocol,
            Stored {
                settled: before.settled & !claims_again,
                record: Some(next),
                generation: won.generation,
                is_forgotten: false,
                left_over,
                highest_rev: if begins { 0 } else { before.highest_rev },
                ..before
            },
        );
        Reply::Won(won)
    }

    fn write_change(&mut self, protocol: &Protocol, write: &HeldWrite, next: Record) -> Reply {
        let before = self.primary().clone();
        if before.was_settled(write.who) {
            self.violate(Violation::MissedASettlement);
        }
        // Redis alone: a result whose record was forgotten is stored all the same, as a record of its own.
        let is_restored = before.record.is_none();
        let generation = before.generation + u8::from(before.is_forgotten);
        if !is_restored && Answer::of(&next).is_some_and(|answer| answer.generation != generation) {
            self.violate(Violation::MisplacedResult);
        }
        let reply = match write.change {
            Change::Complete(_) => Reply::Result(Box::new(next.clone())),
            _ => Reply::Done,
        };
        self.write(
            protocol,
            Stored {
                record: Some(next),
                generation,
                is_forgotten: false,
                highest_rev: if is_restored { 0 } else { before.highest_rev },
                ..before
            },
        );
        reply
    }

    fn settle_in_one_step(&mut self, protocol: &Protocol, seen: Version, finding: &Finding) {
        if let Some(record) = self.primary().record.clone()
            && self.may_settle(protocol, &record, seen, finding)
        {
            self.write_finding(protocol, &record, finding);
        }
    }

    pub(super) fn may_settle(
        &self,
        protocol: &Protocol,
        record: &Record,
        mut seen: Version,
        finding: &Finding,
    ) -> bool {
        match protocol.bug {
            Some(Bug::SettleWithoutOwner) => seen.owner = record.owner,
            Some(Bug::SettleWithoutRev) => seen.rev = record.rev,
            _ => {}
        }
        let settlement = finding.settlement();
        let verdict = decision::settle(record, seen, finding.owner, &settlement, self.time());
        matches!(verdict, Verdict::Write(_))
    }

    /// Writes a finding over a record, as MongoDB's update does: whatever state the record is in.
    fn write_finding(&mut self, protocol: &Protocol, record: &Record, finding: &Finding) {
        let before = self.primary().clone();
        let is_at_work = record.state == State::InProgress && self.time() < record.lease_end();
        if is_at_work && !finding.is_completed {
            self.violate(Violation::ReleasedAtWork);
        }
        if finding.answer.generation != before.generation {
            self.violate(Violation::MisplacedResult);
        }
        let finished_at = self.time();
        let mut next = Record {
            state: if finding.is_completed {
                State::Completed {
                    finished_at,
                    response: finding.answer.response(),
                }
            } else {
                State::Released { finished_at }
            },
            owner: finding.owner,
            rev: record.rev + 1,
            took_over: false,
            ..record.clone()
        };
        if protocol.bug == Some(Bug::SettleKeepsTheOwner) {
            next.owner = record.owner;
        }
        if finding.is_completed {
            next.checkpoint = bytes::Bytes::new();
        }
        self.witness(Witness::Settlement);
        self.write(
            protocol,
            Stored {
                record: Some(next),
                settled: before.settled | bit_of(protocol, record),
                ..before
            },
        );
    }

    fn write(&mut self, protocol: &Protocol, mut next: Stored) {
        if let Some(record) = &next.record {
            if record.rev <= next.highest_rev {
                self.violate(Violation::CountedBack);
            }
            next.highest_rev = record.rev;
            let lease = match record.state {
                State::InProgress | State::Unknown => record.lease,
                State::Released { .. } | State::Completed { .. } => std::time::Duration::ZERO,
            };
            next.expires = (protocol.layout == Layout::RedisAlone)
                .then(|| self.time().after(protocol.retention()).after(lease));
        }
        self.put(protocol, next);
    }
}

/// The bit of the client that owns the record; none if it is a reconciler's.
fn bit_of(protocol: &Protocol, record: &Record) -> u8 {
    let owner = (0..protocol.clients).find(|who| claim(protocol, *who).owner == record.owner);
    owner.map_or(0, |who| 1 << who)
}
