//! A client: the steps of the engine, with one request to a store in each.

use std::sync::LazyLock;
use std::time::Duration;

use bytes::Bytes;

use super::Bug;
use super::answer::Answer;
use super::message::{Delivery, HeldWrite, Judged, Message, Reply, Swap, Won};
use super::protocol::{Layout, Protocol};
use super::store::Stored;
use super::world::{Witness, World};
use crate::idempotency::decision::{self, Change, Claim, Decision, Start};
use crate::idempotency::record::{Record, State, StoreTime, Version};
use crate::idempotency::{Fingerprint, OwnerId};

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Client {
    pub(super) phase: Phase,
    /// The reply that has not arrived yet.
    pub(super) pending: Option<Pending>,
    /// What it knows as the holder of the key.
    pub(super) held: Option<Held>,
    /// How often the current request was sent without a reply.
    pub(super) unanswered: u8,
    /// When it began the current call, where renewals are modelled.
    pub(super) asked: u64,
}

/// A reply on its way.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Pending {
    pub(super) reply: Reply,
    /// Whether a majority has acknowledged the write that it is of.
    pub(super) is_acknowledged: bool,
}

/// A holder's knowledge.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Held {
    pub(super) attempt: u64,
    pub(super) generation: u8,
    /// The revision of its last acknowledged write; zero: not known.
    pub(super) rev: u64,
    /// When it believes that its lease ends, where renewals are modelled.
    pub(super) ends: u64,
    pub(super) notes_left: u8,
    pub(super) renewals_left: u8,
}

/// Which request comes next.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Phase {
    Hint,
    Insert,
    Read,
    Swap {
        how: Start,
        judged: Box<Record>,
    },
    Decide,
    AtWork,
    Write {
        kind: Kind,
        /// The revision that the write follows; zero: not known.
        rev: u64,
        step: Step,
    },
    /// Only where that bug is planted: the result goes to Redis before it is acknowledged.
    KeepFirst,
    /// Redis gets the result.
    Keep(Box<Record>),
    TakeBack,
    Over,
}

/// A holder's write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Kind {
    Note(u8),
    Renew,
    Complete,
    Release,
    MarkUnknown,
}

/// A holder's write takes one request, or three in MongoDB where the first finds nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Step {
    Write,
    Read,
    Swap(Version),
}

pub(super) const LEASE: u64 = 1;

// Made once: a search asks for them in every step.
static OWNERS: LazyLock<[OwnerId; 256]> = LazyLock::new(|| {
    std::array::from_fn(|number| {
        OwnerId::from_hex(&format!("{:032x}", number + 1)).expect("an owner")
    })
});
static FINGERPRINTS: LazyLock<[Fingerprint; 2]> = LazyLock::new(|| {
    ["a", "b"].map(|digit| Fingerprint::from_hex(&digit.repeat(64)).expect("a fingerprint"))
});

impl Client {
    pub(super) fn new(protocol: &Protocol) -> Self {
        Self {
            phase: match protocol.layout {
                Layout::Tiered => Phase::Hint,
                Layout::MongoDb => Phase::Insert,
                Layout::RedisAlone => Phase::Decide,
            },
            pending: None,
            held: None,
            unanswered: 0,
            asked: 0,
        }
    }

    pub(super) fn end(&mut self) {
        *self = Self {
            phase: Phase::Over,
            pending: None,
            held: None,
            unanswered: 0,
            asked: 0,
        };
    }

    pub(super) fn is_over(&self) -> bool {
        self.phase == Phase::Over
    }

    pub(super) fn is_at_work(&self) -> bool {
        self.phase == Phase::AtWork
    }

    pub(super) fn acknowledge(&mut self) {
        if let Some(pending) = &mut self.pending {
            pending.is_acknowledged = true;
        }
    }

    /// Whether it waited for the acknowledgement of a write, and waits no more.
    pub(super) fn forget_unacknowledged(&mut self) -> bool {
        self.pending
            .take_if(|pending| !pending.is_acknowledged)
            .is_some()
    }
}

impl World {
    /// The client's work takes effect.
    pub(super) fn work(&mut self, protocol: &Protocol, who: usize) {
        let Some(held) = self.clients[who].held.clone() else {
            return;
        };
        self.execute(held.generation, protocol.request_of(who));
        self.clients[who].phase = match protocol.bug {
            Some(Bug::CompleteToBothAtOnce) => Phase::KeepFirst,
            _ => self.writing(protocol, who, Kind::Complete),
        };
    }

    /// The client's work may have taken effect, which it does not know.
    pub(super) fn doubt(&mut self, protocol: &Protocol, who: usize) {
        self.work(protocol, who);
        self.clients[who].phase = self.writing(protocol, who, Kind::MarkUnknown);
    }

    /// The client did nothing, and says so.
    pub(super) fn decline(&mut self, protocol: &Protocol, who: usize) {
        self.witness(Witness::Decline);
        self.clients[who].phase = self.writing(protocol, who, Kind::Release);
    }

    pub(super) fn note(&mut self, protocol: &Protocol, who: usize) {
        self.notes_begun += 1;
        let note = self.notes_begun;
        if let Some(held) = &mut self.clients[who].held {
            held.notes_left -= 1;
        }
        self.clients[who].phase = self.writing(protocol, who, Kind::Note(note));
    }

    pub(super) fn renew(&mut self, protocol: &Protocol, who: usize) {
        if let Some(held) = &mut self.clients[who].held {
            held.renewals_left -= 1;
        }
        self.clients[who].asked = self.now;
        self.clients[who].phase = self.writing(protocol, who, Kind::Renew);
    }

    /// A write begins. Until it is acknowledged, the holder knows no revision.
    fn writing(&mut self, protocol: &Protocol, who: usize, kind: Kind) -> Phase {
        let rev = match (&mut self.clients[who].held, kind) {
            (Some(held), Kind::Note(_) | Kind::Renew) => std::mem::take(&mut held.rev),
            _ => 0,
        };
        Phase::Write {
            kind,
            rev,
            step: kind.first_step(protocol, rev),
        }
    }

    /// The client sends its next request.
    pub(super) fn send(&mut self, protocol: &Protocol, who: usize, delivery: Delivery) {
        let message = self.request(protocol, who);
        match delivery {
            Delivery::Answered | Delivery::Slow => {
                let reply = self.apply(protocol, &message);
                let is_write = message.is_write() && reply != Reply::Lost;
                let is_acknowledged =
                    !is_write || self.tail.is_none() || protocol.bug == Some(Bug::WriteConcernOne);
                self.clients[who].pending = Some(Pending {
                    reply,
                    is_acknowledged,
                });
                if is_acknowledged && delivery == Delivery::Answered {
                    self.hear(protocol, who);
                }
            }
            Delivery::ReplyLost => {
                self.apply(protocol, &message);
                self.unheard(protocol, who);
            }
            Delivery::Refused => self.unheard(protocol, who),
            Delivery::Late => {
                self.in_flight.push(message);
                self.unheard(protocol, who);
            }
        }
    }

    /// A store carries a request out.
    pub(super) fn apply(&mut self, protocol: &Protocol, message: &Message) -> Reply {
        match message {
            Message::Hint { .. } | Message::TakeBack { .. } | Message::Keep(_) => {
                self.apply_hint(protocol, message)
            }
            _ => self.decide_on(protocol, message),
        }
    }

    fn request(&self, protocol: &Protocol, number: usize) -> Message {
        let who = number_of(number);
        match self.clients[number].phase.clone() {
            Phase::Hint => Message::Hint { who },
            Phase::Insert => Message::Insert { who },
            Phase::Read
            | Phase::Write {
                step: Step::Read, ..
            } => Message::Read,
            Phase::Decide => Message::Decide { who },
            Phase::Swap { how, judged } => {
                let claim = claim(protocol, who);
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
                let started = decision::start(Start::New, None, &claim(protocol, who), self.time());
                Message::Keep(Box::new(Record { state, ..started }))
            }
            Phase::Keep(record) => Message::Keep(record),
            Phase::TakeBack | Phase::AtWork | Phase::Over => Message::TakeBack { who },
        }
    }

    pub(super) fn held_write(
        &self,
        protocol: &Protocol,
        who: usize,
        kind: Kind,
        rev: u64,
    ) -> HeldWrite {
        let held = self.clients[who].held.as_ref();
        HeldWrite {
            who: number_of(who),
            attempt: held.map_or(0, |held| held.attempt),
            rev,
            change: match kind {
                Kind::Note(note) => Change::Checkpoint(Bytes::from(vec![note])),
                Kind::Renew => Change::Renew(Duration::from_millis(LEASE)),
                Kind::Complete => Change::Complete(self.answer_of(protocol, who).response()),
                Kind::Release => Change::Release,
                Kind::MarkUnknown => Change::MarkUnknown,
            },
        }
    }

    /// The result of the client's own execution.
    pub(super) fn answer_of(&self, protocol: &Protocol, who: usize) -> Answer {
        let held = self.clients[who].held.as_ref();
        Answer {
            generation: held.map_or(0, |held| held.generation),
            by: number_of(who),
            request: protocol.request_of(who),
        }
    }
}

impl Kind {
    /// A write that follows a revision needs to know it.
    pub(super) fn first_step(self, protocol: &Protocol, rev: u64) -> Step {
        let follows = matches!(self, Self::Note(_) | Self::Renew);
        if follows && rev == 0 && protocol.layout != Layout::RedisAlone {
            Step::Read
        } else {
            Step::Write
        }
    }
}

impl Held {
    pub(super) fn new(protocol: &Protocol, won: Won, asked: u64) -> Self {
        Self {
            attempt: won.attempt,
            generation: won.generation,
            rev: won.rev,
            ends: if protocol.renewals > 0 {
                asked + won.lease_left
            } else {
                0
            },
            notes_left: protocol.notes,
            renewals_left: protocol.renewals,
        }
    }
}

/// The claim of a client.
pub(super) fn claim(protocol: &Protocol, who: u8) -> Claim {
    Claim {
        owner: owner(who),
        fingerprint: FINGERPRINTS[usize::from(protocol.request_of(usize::from(who)))],
        policy: protocol.policy,
        lease: Duration::from_millis(LEASE),
        window: protocol.retention(),
    }
}

pub(super) fn owner(number: u8) -> OwnerId {
    OWNERS[usize::from(number)]
}

/// The reply to a claim that does not start.
pub(super) fn standing(decision: Decision, stored: &Stored, now: StoreTime) -> Reply {
    let Some(record) = &stored.record else {
        return Reply::Unknown;
    };
    match decision {
        Decision::Replay => Reply::Result(Box::new(record.clone())),
        Decision::Unknown => Reply::Unknown,
        Decision::Mismatch => Reply::Mismatch,
        Decision::Repeated => Reply::Won(Won {
            attempt: record.attempt,
            rev: record.rev,
            lease_left: lease_left(record, now),
            generation: stored.generation,
        }),
        Decision::InProgress { .. } | Decision::Start(_) => Reply::InProgress,
    }
}

pub(super) fn lease_left(record: &Record, now: StoreTime) -> u64 {
    record.lease_end().as_ms().saturating_sub(now.as_ms())
}

fn number_of(who: usize) -> u8 {
    u8::try_from(who).unwrap_or(u8::MAX)
}
