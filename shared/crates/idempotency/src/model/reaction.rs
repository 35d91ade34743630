//! The steps of a client after a reply, or after a request without a reply.

use super::answer::Answer;
use super::bug::Bug;
use super::client::{Held, Kind, Phase, Step};
use super::identity::LEASE;
use super::identity::claim;
use super::message::{Reply, Won};
use super::protocol::{Layout, Protocol};
use super::store::blocked_reply;
use super::stored::Stored;
use super::world::{Violation, Witness, World};
use crate::WriteResult;
use crate::decision::{self, Decision};
use crate::record::{Record, State};
use crate::store_time::StoreTime;

impl World {
    /// The reply to the client's request arrives.
    pub(super) fn receive(&mut self, protocol: &Protocol, id: usize) {
        let Some(pending) = self.clients[id].pending.take() else {
            return;
        };
        self.clients[id].unanswered = 0;
        let next = match self.clients[id].phase.clone() {
            Phase::Write { kind, rev, step } => {
                self.after_write(protocol, id, (kind, rev, step), pending.reply)
            }
            phase => self.after_claim(protocol, id, phase, pending.reply),
        };
        self.enter(id, next);
    }

    /// The client's request gets no reply. If the request was a claim, a read or a holder's write, the client
    /// sends the request once more, with the same owner.
    pub(super) fn receive_nothing(&mut self, protocol: &Protocol, id: usize) {
        let client = &mut self.clients[id];
        client.unanswered += 1;
        let again = client.unanswered < 2;
        let next = match client.phase.clone() {
            // The client sends its claim to MongoDB next, even if Redis did not reply.
            Phase::Hint => Phase::Insert,
            // With this bug, the client assumes that its claim was lost. So it reads, and starts to work if there is no
            // record.
            Phase::Insert if protocol.bug == Some(Bug::WorkOnAnAbsentRecord) => Phase::Read,
            Phase::Swap { .. } => Phase::Read,
            Phase::KeepFirst => complete(),
            phase @ (Phase::Insert | Phase::Read | Phase::Decide) if again => phase,
            Phase::Write { kind, rev, .. } if again => Phase::Write {
                kind,
                rev,
                step: kind.first_step(protocol, rev),
            },
            Phase::Write { kind, rev, .. } => self.give_up(protocol, id, kind, rev),
            _ => Phase::Over,
        };
        self.enter(id, next);
    }

    fn enter(&mut self, id: usize, next: Phase) {
        let client = &mut self.clients[id];
        if next == Phase::Over {
            client.end();
        } else {
            if next == Phase::Running {
                client.unanswered = 0;
            }
            client.phase = next;
        }
    }

    /// After a checkpoint or a renewal, a holder continues. That write may or may not be stored. Any other write was
    /// the holder's last step.
    fn give_up(&mut self, protocol: &Protocol, id: usize, kind: Kind, rev: u64) -> Phase {
        match kind {
            Kind::Checkpoint(_) | Kind::Renew => {
                if protocol.bug == Some(Bug::KeepTheRevision)
                    && let Some(held) = &mut self.clients[id].held
                {
                    held.rev = rev;
                }
                Phase::Running
            }
            Kind::Complete if protocol.bug == Some(Bug::FinalWithoutAcknowledgement) => {
                let answer = self.answer_of(protocol, id);
                self.respond(protocol, id, answer);
                Phase::Over
            }
            Kind::Complete | Kind::Release | Kind::MarkUnknown => Phase::Over,
        }
    }

    fn after_claim(&mut self, protocol: &Protocol, id: usize, phase: Phase, reply: Reply) -> Phase {
        match (phase, reply) {
            (Phase::Hint, Reply::Ask) => Phase::Insert,
            (Phase::Hint, Reply::Result(record)) => {
                self.replay(protocol, id, &record);
                Phase::Over
            }
            (Phase::Insert | Phase::Swap { .. } | Phase::Decide | Phase::Read, Reply::Won(won)) => {
                let client = &mut self.clients[id];
                client.held = Some(Held::new(protocol, won, client.asked));
                Phase::Running
            }
            (Phase::Insert | Phase::Swap { .. }, _) => Phase::Read,
            (Phase::Read, Reply::Found { stored, now }) => self.judge(protocol, id, &stored, now),
            (Phase::Decide, reply) => self.refused(protocol, id, reply),
            (Phase::KeepFirst, _) => complete(),
            (_, reply) => {
                self.record_refusal(&reply);
                Phase::Over
            }
        }
    }

    /// Returns the client's next phase after the client has read the record to claim the key.
    fn judge(&mut self, protocol: &Protocol, id: usize, stored: &Stored, now: StoreTime) -> Phase {
        let Some(record) = &stored.record else {
            if protocol.bug == Some(Bug::WorkOnAnAbsentRecord) {
                let won = Won {
                    attempt: 1,
                    rev: 0,
                    lease_left: LEASE,
                    generation: stored.generation,
                };
                self.clients[id].held = Some(Held::new(protocol, won, self.now));
                return Phase::Running;
            }
            return Phase::Insert;
        };
        let mut claim = claim(protocol, self.number(id));
        if protocol.bug == Some(Bug::AnswerAnyRequest) {
            claim.fingerprint = record.fingerprint;
        }
        match decision::decide(Some(record), &claim, now) {
            Decision::Start(how) => Phase::Swap {
                how,
                judged: Box::new(record.clone()),
            },
            decision => {
                let reply = blocked_reply(decision, stored, now);
                if let Reply::Won(_) = reply {
                    return self.after_claim(protocol, id, Phase::Read, reply);
                }
                self.refused(protocol, id, reply)
            }
        }
    }

    fn after_write(
        &mut self,
        protocol: &Protocol,
        id: usize,
        (kind, rev, step): (Kind, u64, Step),
        reply: Reply,
    ) -> Phase {
        let restart = |rev| Phase::Write {
            kind,
            rev,
            step: kind.first_step(protocol, rev),
        };
        match reply {
            Reply::Lost => Phase::Write {
                kind,
                rev,
                step: Step::Read,
            },
            Reply::Found { stored, now } => {
                let write = self.held_write(protocol, id, kind, rev);
                let fence = write.fence(protocol);
                let record = stored.record.as_ref();
                let (writes, result) = match record {
                    // In MongoDB, a write whose record is missing is superseded, because MongoDB never deletes an
                    // unfinished record.
                    None => (false, WriteResult::Superseded(None)),
                    Some(_) => {
                        let step = decision::change(record, &fence, &write.change, now);
                        (step.write.is_some(), step.answer)
                    }
                };
                match record {
                    Some(record) if writes => Phase::Write {
                        kind,
                        rev,
                        step: Step::Swap(record.version()),
                    },
                    _ => {
                        let reply = self.unchanged(protocol, &result, &stored, &write, now);
                        self.after_write(protocol, id, (kind, rev, step), reply)
                    }
                }
            }
            Reply::Moved { rev } => restart(rev),
            Reply::Result(record) => {
                if let Some(answer) = Answer::of(&record) {
                    self.respond(protocol, id, answer);
                }
                match protocol.layout {
                    Layout::Tiered => Phase::Keep(record),
                    Layout::MongoDb | Layout::RedisAlone => Phase::Over,
                }
            }
            Reply::Superseded(reply) => self.refused(protocol, id, *reply),
            reply => match kind {
                Kind::Checkpoint(_) | Kind::Renew => {
                    self.after_holding(protocol, id, (kind, rev), &reply)
                }
                Kind::Complete | Kind::Release | Kind::MarkUnknown => last_step(protocol),
            },
        }
    }

    /// Handles the reply to a holder's checkpoint or renewal. Returns the holder's next phase.
    fn after_holding(
        &mut self,
        protocol: &Protocol,
        id: usize,
        (kind, rev): (Kind, u64),
        reply: &Reply,
    ) -> Phase {
        let client = &mut self.clients[id];
        let asked = client.asked;
        let Some(held) = &mut client.held else {
            return Phase::Over;
        };
        held.rev = match reply {
            Reply::TooLate => rev,
            _ if rev > 0 => rev + 1,
            _ => 0,
        };
        match (kind, reply) {
            (Kind::Checkpoint(note), _) => self.last_checkpoint = self.last_checkpoint.max(note),
            (_, Reply::TooLate) => {}
            // This reply arrives only with `Bug::KeepTheRevision`.
            (_, Reply::Already { lease_left }) => {
                held.ends = asked + (*lease_left).max(LEASE);
                self.check_renewal(protocol, id);
            }
            _ => {
                held.ends = asked + LEASE;
                self.check_renewal(protocol, id);
            }
        }
        Phase::Running
    }

    /// Checks that an acknowledged renewal was written during its call. So the stored lease must last for at least one
    /// lease after the start of the call.
    fn check_renewal(&mut self, protocol: &Protocol, id: usize) {
        let least = self.clients[id].asked + LEASE;
        if self
            .stored_lease_end(protocol, id)
            .is_some_and(|stored| stored < least)
        {
            self.violate(Violation::EmptyRenewal);
        }
    }

    /// The end of the acknowledged lease of this client's own record, in ticks.
    pub(super) fn stored_lease_end(&self, protocol: &Protocol, id: usize) -> Option<u64> {
        let record = self.acknowledged.record.as_ref()?;
        let is_own = record.state == State::InProgress
            && record.owner == claim(protocol, self.number(id)).owner;
        is_own.then(|| record.lease_end().as_ms() + self.now - self.time().as_ms())
    }

    /// Handles a reply after which the client must not run the operation. Returns the client's next phase.
    fn refused(&mut self, protocol: &Protocol, id: usize, reply: Reply) -> Phase {
        self.record_refusal(&reply);
        match (reply, protocol.layout) {
            (Reply::Result(record), Layout::Tiered) => {
                self.replay(protocol, id, &record);
                Phase::Keep(record)
            }
            (Reply::Result(record), _) => {
                self.replay(protocol, id, &record);
                Phase::Over
            }
            _ => last_step(protocol),
        }
    }

    fn record_refusal(&mut self, reply: &Reply) {
        match reply {
            Reply::Unknown => self.witness(Witness::Unknown),
            Reply::Mismatch => self.witness(Witness::Mismatch),
            _ => {}
        }
    }

    fn replay(&mut self, protocol: &Protocol, id: usize, record: &Record) {
        self.witness(Witness::Replay);
        if let Some(answer) = Answer::of(record) {
            self.respond(protocol, id, answer);
        }
    }

    fn number(&self, id: usize) -> u8 {
        u8::try_from(id).unwrap_or(u8::MAX)
    }
}

fn complete() -> Phase {
    Phase::Write {
        kind: Kind::Complete,
        rev: 0,
        step: Step::Write,
    }
}

fn last_step(protocol: &Protocol) -> Phase {
    match protocol.layout {
        Layout::Tiered => Phase::TakeBack,
        Layout::MongoDb | Layout::RedisAlone => Phase::Over,
    }
}
