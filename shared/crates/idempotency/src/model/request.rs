//! The requests of a client. Each step of the engine sends one request to a store.

use std::time::Duration;

use bytes::Bytes;

use super::answer::Answer;
use super::bug::Bug;
use super::client::{Kind, Pending, Phase, Step};
use super::identity::LEASE;
use super::identity::claim;
use super::message::{Delivery, HeldWrite, Judged, Message, Reply, Swap};
use super::protocol::{Layout, Protocol};
use super::world::{Witness, World};
use crate::decision::{self, Change, Start};
use crate::record::{Record, State};

impl World {
    /// The client's operation takes effect.
    pub(super) fn work(&mut self, protocol: &Protocol, id: usize) {
        let Some(held) = self.clients[id].held.clone() else {
            return;
        };
        self.execute(held.generation, protocol.request_of(id));
        self.clients[id].phase = match protocol.bug {
            Some(Bug::CompleteToBothAtOnce) => Phase::KeepFirst,
            _ => self.writing(protocol, id, Kind::Complete),
        };
    }

    /// The client's operation takes effect, but the client does not receive the outcome.
    pub(super) fn mark_unknown(&mut self, protocol: &Protocol, id: usize) {
        self.work(protocol, id);
        self.clients[id].phase = self.writing(protocol, id, Kind::MarkUnknown);
    }

    /// The client's operation had no effect, and the client releases the key.
    pub(super) fn decline(&mut self, protocol: &Protocol, id: usize) {
        self.witness(Witness::Decline);
        self.clients[id].phase = self.writing(protocol, id, Kind::Release);
    }

    pub(super) fn checkpoint(&mut self, protocol: &Protocol, id: usize) {
        self.notes_begun += 1;
        let note = self.notes_begun;
        if let Some(held) = &mut self.clients[id].held {
            held.notes_left -= 1;
        }
        self.clients[id].phase = self.writing(protocol, id, Kind::Checkpoint(note));
    }

    pub(super) fn renew(&mut self, protocol: &Protocol, id: usize) {
        if let Some(held) = &mut self.clients[id].held {
            held.renewals_left -= 1;
        }
        self.clients[id].asked = self.now;
        self.clients[id].phase = self.writing(protocol, id, Kind::Renew);
    }

    /// Starts a write. Until the write is acknowledged, the holder has no revision.
    fn writing(&mut self, protocol: &Protocol, id: usize, kind: Kind) -> Phase {
        let rev = match (&mut self.clients[id].held, kind) {
            (Some(held), Kind::Checkpoint(_) | Kind::Renew) => std::mem::take(&mut held.rev),
            _ => 0,
        };
        Phase::Write {
            kind,
            rev,
            step: kind.first_step(protocol, rev),
        }
    }

    /// The client sends its next request.
    pub(super) fn send(&mut self, protocol: &Protocol, id: usize, delivery: Delivery) {
        let message = self.request(protocol, id);
        match delivery {
            Delivery::Answered | Delivery::Slow => {
                let reply = self.apply(protocol, &message);
                let is_write = message.is_write() && reply != Reply::Lost;
                let is_acknowledged =
                    !is_write || self.tail.is_none() || protocol.bug == Some(Bug::WriteConcernOne);
                self.clients[id].pending = Some(Pending {
                    reply,
                    is_acknowledged,
                });
                if is_acknowledged && delivery == Delivery::Answered {
                    self.receive(protocol, id);
                }
            }
            Delivery::ReplyLost => {
                self.apply(protocol, &message);
                self.receive_nothing(protocol, id);
            }
            Delivery::Lost => self.receive_nothing(protocol, id),
            Delivery::Late => {
                self.in_flight.push(message);
                self.receive_nothing(protocol, id);
            }
        }
    }

    /// A store applies a request, and replies.
    pub(super) fn apply(&mut self, protocol: &Protocol, message: &Message) -> Reply {
        match message {
            Message::Hint { .. } | Message::TakeBack { .. } | Message::Keep(_) => {
                self.apply_hint(protocol, message)
            }
            _ => self.decide_on(protocol, message),
        }
    }

    fn request(&self, protocol: &Protocol, number: usize) -> Message {
        let id = number_of(number);
        match self.clients[number].phase.clone() {
            Phase::Hint => Message::Hint { id },
            Phase::Insert => Message::Insert { id },
            Phase::Read
            | Phase::Write {
                step: Step::Read, ..
            } => Message::Read,
            Phase::Decide => Message::Decide { id },
            Phase::Swap { how, judged } => {
                let claim = claim(protocol, id);
                let next = decision::start(how, Some(&judged), &claim, self.time());
                Message::Swap {
                    judged: Judged {
                        version: judged.version(),
                        attempt: judged.attempt,
                    },
                    write: Box::new(Swap::Claim { how, next }),
                }
            }
            Phase::Write {
                kind,
                rev,
                step: Step::Swap(version),
            } => Message::Swap {
                judged: Judged {
                    version,
                    attempt: 0,
                },
                write: Box::new(Swap::Change(self.held_write(protocol, number, kind, rev))),
            },
            Phase::Write { kind, rev, .. } => {
                let write = Box::new(self.held_write(protocol, number, kind, rev));
                match protocol.layout {
                    Layout::RedisAlone => Message::Change(write),
                    Layout::Tiered | Layout::MongoDb => Message::Update(write),
                }
            }
            Phase::KeepFirst => {
                let state = State::Completed {
                    finished_at: self.time(),
                    response: self.answer_of(protocol, number).response(),
                };
                let started = decision::start(Start::New, None, &claim(protocol, id), self.time());
                Message::Keep(Box::new(Record { state, ..started }))
            }
            Phase::Keep(record) => Message::Keep(record),
            Phase::TakeBack | Phase::Running | Phase::Over => Message::TakeBack { id },
        }
    }

    pub(super) fn held_write(
        &self,
        protocol: &Protocol,
        id: usize,
        kind: Kind,
        rev: u64,
    ) -> HeldWrite {
        let held = self.clients[id].held.as_ref();
        HeldWrite {
            id: number_of(id),
            attempt: held.map_or(0, |held| held.attempt),
            rev,
            change: match kind {
                Kind::Checkpoint(note) => Change::Checkpoint(Bytes::from(vec![note])),
                Kind::Renew => Change::Renew(Duration::from_millis(LEASE)),
                Kind::Complete => Change::Complete(self.answer_of(protocol, id).response()),
                Kind::Release => Change::Release,
                Kind::MarkUnknown => Change::MarkUnknown,
            },
        }
    }

    /// The result of the client's own execution.
    pub(super) fn answer_of(&self, protocol: &Protocol, id: usize) -> Answer {
        let held = self.clients[id].held.as_ref();
        Answer {
            generation: held.map_or(0, |held| held.generation),
            by: number_of(id),
            request: protocol.request_of(id),
        }
    }
}

fn number_of(id: usize) -> u8 {
    u8::try_from(id).unwrap_or(u8::MAX)
}
