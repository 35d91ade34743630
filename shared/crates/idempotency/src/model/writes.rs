//! Writes of the authoritative store, and the data that the search keeps about each write.

use std::time::Duration;

use bytes::Bytes;

use super::answer::Answer;
use super::bug::Bug;
use super::identity::claim;
use super::message::{Finding, HeldWrite, Reply, Won};
use super::protocol::{Layout, Protocol};
use super::stored::{Stored, lease_left};
use super::world::{Violation, Witness, World};
use crate::decision::{Change, Resolution};
use crate::record::{Record, State};

impl World {
    pub(super) fn write_claim(&mut self, protocol: &Protocol, next: Record) -> Reply {
        let before = self.primary().clone();
        let is_over = |record: &Record| record.is_over(protocol.retention(), self.time());
        let begins = before.is_forgotten || before.record.as_ref().is_some_and(is_over);
        if let Some(record) = &before.record
            && !begins
            && record.fingerprint != next.fingerprint
            && (record.took_over || !matches!(record.state, State::Released { .. }))
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
        // This write starts the attempt, so the attempt is not resolved yet. The bit of its owner is cleared.
        let claims_again = bit_of(protocol, &next);
        self.write(
            protocol,
            Stored {
                resolved: before.resolved & !claims_again,
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

    pub(super) fn write_change(
        &mut self,
        protocol: &Protocol,
        write: &HeldWrite,
        next: Record,
    ) -> Reply {
        let before = self.primary().clone();
        if before.was_resolved(write.id) {
            self.violate(Violation::MissedResolution);
        }
        // If Redis has lost the record of a result, the result is stored anyway, as a new record.
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

    /// Writes a finding over a record in any state, as MongoDB's update does.
    pub(super) fn write_finding(
        &mut self,
        protocol: &Protocol,
        record: &Record,
        finding: &Finding,
    ) {
        let before = self.primary().clone();
        let is_running = record.state == State::InProgress && self.time() < record.lease_end();
        let is_completed = matches!(finding.resolution, Resolution::Completed(_));
        if is_running && !is_completed {
            self.violate(Violation::ReleasedRunningLease);
        }
        if finding.generation != before.generation {
            self.violate(Violation::MisplacedResult);
        }
        let finished_at = self.time();
        let mut next = Record {
            state: match &finding.resolution {
                Resolution::Completed(response) => State::Completed {
                    finished_at,
                    response: response.clone(),
                },
                Resolution::Released | Resolution::Reopened => State::Released { finished_at },
            },
            owner: finding.owner,
            rev: record.rev + 1,
            took_over: finding.resolution == Resolution::Reopened
                && protocol.bug != Some(Bug::ReopenedWithoutTakeover),
            ..record.clone()
        };
        if protocol.bug == Some(Bug::ResolveKeepsTheOwner) {
            next.owner = record.owner;
        }
        if is_completed {
            next.checkpoint = Bytes::new();
        }
        self.witness(match finding.resolution {
            Resolution::Reopened => Witness::Reopening,
            _ => Witness::Resolution,
        });
        self.write(
            protocol,
            Stored {
                record: Some(next),
                resolved: before.resolved | bit_of(protocol, record),
                ..before
            },
        );
    }

    fn write(&mut self, protocol: &Protocol, mut next: Stored) {
        if let Some(record) = &next.record {
            if record.rev <= next.highest_rev {
                self.violate(Violation::Decreased);
            }
            next.highest_rev = record.rev;
            let lease = match record.state {
                State::InProgress | State::Unknown => record.lease,
                State::Released { .. } | State::Completed { .. } => Duration::ZERO,
            };
            next.expires = (protocol.layout == Layout::RedisAlone)
                .then(|| self.time().after(protocol.retention()).after(lease));
        }
        self.put(protocol, next);
    }

    pub(super) fn change_against_the_rules(
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
            record.owner == claim(protocol, write.id).owner && record.state == State::InProgress;
        let state = match (protocol.bug?, &write.change) {
            (Bug::UnfencedComplete, Change::Complete(response)) => State::Completed {
                finished_at: self.time(),
                response: response.clone(),
            },
            (Bug::ReleaseForTheAttemptBefore, Change::Release) if is_holder => {
                let next = Record {
                    state: State::Released {
                        finished_at: self.time(),
                    },
                    took_over: false,
                    ..next
                };
                return Some(self.write_change(protocol, write, next));
            }
            (Bug::NoteOverALaterOne, Change::Checkpoint(note)) if is_holder => {
                let next = Record {
                    checkpoint: note.clone(),
                    ..next
                };
                return Some(self.write_change(protocol, write, next));
            }
            (Bug::KeepTheRevision, Change::Renew(_))
                if is_holder && write.rev > 0 && record.rev == write.rev + 1 =>
            {
                let lease_left = lease_left(record, self.time());
                return Some(Reply::Already { lease_left });
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
}

/// The bit of the client that owns the record; zero for a reconciler.
fn bit_of(protocol: &Protocol, record: &Record) -> u8 {
    let owner = (0..protocol.clients).find(|id| claim(protocol, *id).owner == record.owner);
    owner.map_or(0, |id| 1 << id)
}
