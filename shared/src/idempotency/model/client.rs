//! What a client does, step by step: the steps of the engine, with a request to a store in each.

use super::world::{Delivery, Message, Reply, World, claim, response, standing};
use super::{Bug, Layout, Protocol};
use crate::idempotency::decision::{self, Change, Decision};
use crate::idempotency::record::Record;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Client {
    pub(super) phase: Phase,
    /// How often the current request was sent without a reply.
    unanswered: u8,
    /// The last writing of the record that it knows of.
    rev: u64,
    /// How many notes it may leave yet.
    notes: u8,
}

/// Which request comes next.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Phase {
    Hint,
    Insert,
    Read,
    Swap {
        how: decision::Start,
        judged: Box<Record>,
    },
    Decide,
    AtWork {
        attempt: u64,
    },
    /// It leaves its note with this number.
    Note {
        attempt: u64,
        note: u8,
    },
    /// Only where a bug is planted: the result goes to Redis before it is acknowledged.
    KeepFirst {
        attempt: u64,
    },
    Complete {
        attempt: u64,
    },
    Release {
        attempt: u64,
    },
    /// Redis learns the result, then the caller does.
    Keep {
        answer: u8,
        finished_at: u64,
    },
    TakeBack,
    Over,
}

impl Client {
    pub(super) fn new(protocol: &Protocol) -> Self {
        Self {
            phase: Phase::first(protocol),
            unanswered: 0,
            rev: 0,
            notes: protocol.notes,
        }
    }

    pub(super) fn may_note(&self) -> bool {
        self.notes > 0
    }
}

impl Phase {
    fn first(protocol: &Protocol) -> Self {
        match protocol.layout {
            Layout::Tiered => Self::Hint,
            Layout::RedisAlone => Self::Decide,
        }
    }
}

impl World {
    /// The client's work takes effect.
    pub(super) fn work(&mut self, protocol: &Protocol, who: usize) {
        let Phase::AtWork { attempt } = self.clients[who].phase else {
            return;
        };
        self.executions += 1;
        self.clients[who].phase = match protocol.bug {
            Some(Bug::CompleteToBothAtOnce) => Phase::KeepFirst { attempt },
            _ => Phase::Complete { attempt },
        };
    }

    /// The client begins to say something to whoever comes after it.
    pub(super) fn note(&mut self, who: usize) {
        if let Phase::AtWork { attempt } = self.clients[who].phase {
            self.clients[who].notes -= 1;
            self.notes_begun += 1;
            let note = self.notes_begun;
            self.clients[who].phase = Phase::Note { attempt, note };
        }
    }

    /// The client says that it did nothing.
    pub(super) fn decline(&mut self, who: usize) {
        if let Phase::AtWork { attempt } = self.clients[who].phase {
            self.declined += 1;
            self.clients[who].phase = Phase::Release { attempt };
        }
    }

    /// The client sends its next request.
    pub(super) fn send(&mut self, protocol: &Protocol, who: usize, delivery: Delivery) {
        let message = self.request(protocol, who);
        let reply = match delivery {
            Delivery::Answered => Some(self.apply(protocol, &message)),
            Delivery::ReplyLost => {
                self.apply(protocol, &message);
                None
            }
            Delivery::Refused => None,
            Delivery::Late => {
                self.in_flight.push(message);
                None
            }
        };
        let phase = match reply {
            Some(reply) => {
                self.clients[who].unanswered = 0;
                self.after(protocol, who, reply)
            }
            None => self.unheard(protocol, who),
        };
        self.clients[who].phase = phase;
    }

    fn request(&self, protocol: &Protocol, who: usize) -> Message {
        let owner = number(who);
        match self.clients[who].phase.clone() {
            Phase::Hint => Message::Hint { owner },
            Phase::Insert => Message::Insert { owner },
            Phase::Read => Message::Read,
            Phase::Decide => Message::Decide { owner },
            Phase::Swap { how, judged } => {
                let claim = claim(protocol, owner);
                let next = decision::start(how, Some(&judged), &claim, self.time());
                Message::Swap {
                    rev: judged.rev,
                    how,
                    next: Box::new(next),
                }
            }
            Phase::KeepFirst { .. } => Message::Keep {
                answer: owner,
                finished_at: self.time().as_ms(),
            },
            Phase::Note { attempt, note } => Message::Change {
                owner,
                attempt,
                rev: self.clients[who].rev,
                change: Change::Checkpoint(vec![note].into()),
            },
            Phase::Complete { attempt } => Message::Change {
                owner,
                attempt,
                rev: 0,
                change: Change::Complete(response(owner)),
            },
            Phase::Release { attempt } => Message::Change {
                owner,
                attempt,
                rev: 0,
                change: Change::Release,
            },
            Phase::Keep {
                answer,
                finished_at,
            } => Message::Keep {
                answer,
                finished_at,
            },
            Phase::TakeBack | Phase::AtWork { .. } | Phase::Over => Message::TakeBack { owner },
        }
    }

    /// What the client does after a reply.
    fn after(&mut self, protocol: &Protocol, who: usize, reply: Reply) -> Phase {
        let phase = self.clients[who].phase.clone();
        match (phase, reply) {
            (Phase::Hint, Reply::Ask) => Phase::Insert,
            (Phase::Hint, Reply::Result { answer, .. }) => self.tell_again(answer),
            (Phase::Hint, _) => Phase::Over,
            (Phase::Insert | Phase::Swap { .. } | Phase::Decide, Reply::Won { attempt }) => {
                Phase::AtWork { attempt }
            }
            (Phase::Insert | Phase::Swap { .. }, _) => Phase::Read,
            (Phase::Read, Reply::Found(None))
                if protocol.bug == Some(Bug::WorkOnAnAbsentRecord) =>
            {
                Phase::AtWork { attempt: 1 }
            }
            (Phase::Read, Reply::Found(None)) => Phase::Insert,
            (Phase::Read, Reply::Found(Some(record))) => self.judge(protocol, who, record),
            (Phase::Decide, reply) => self.hear(reply, Layout::RedisAlone),
            (Phase::Note { attempt, note }, Reply::Done) => {
                self.clients[who].rev += 1;
                self.noted = self.noted.max(note);
                Phase::AtWork { attempt }
            }
            (phase @ Phase::Note { .. }, Reply::Moved { rev }) => {
                self.clients[who].rev = rev;
                phase
            }
            (Phase::KeepFirst { attempt }, _) => Phase::Complete { attempt },
            (
                Phase::Complete { .. },
                Reply::Result {
                    answer,
                    finished_at,
                },
            ) => {
                if protocol.layout == Layout::Tiered {
                    Phase::Keep {
                        answer,
                        finished_at,
                    }
                } else {
                    self.told.insert(answer);
                    Phase::Over
                }
            }
            (Phase::Complete { .. } | Phase::Release { .. }, _)
                if protocol.layout == Layout::Tiered =>
            {
                Phase::TakeBack
            }
            (Phase::Keep { answer, .. }, _) => {
                self.told.insert(answer);
                Phase::Over
            }
            _ => Phase::Over,
        }
    }

    /// What the client does with a record it has read.
    fn judge(&mut self, protocol: &Protocol, who: usize, record: Box<Record>) -> Phase {
        let claim = claim(protocol, number(who));
        match decision::decide(Some(&record), &claim, self.time()) {
            Decision::Start(how) => Phase::Swap {
                how,
                judged: record,
            },
            Decision::Repeated => Phase::AtWork {
                attempt: record.attempt,
            },
            decision => self.hear(standing(decision, Some(&record)), Layout::Tiered),
        }
    }

    /// A client that may not work hears why.
    fn hear(&mut self, reply: Reply, layout: Layout) -> Phase {
        match reply {
            Reply::Result {
                answer,
                finished_at,
            } if layout == Layout::Tiered => {
                self.replays += 1;
                Phase::Keep {
                    answer,
                    finished_at,
                }
            }
            Reply::Result { answer, .. } => self.tell_again(answer),
            reply => {
                self.unknowns += u8::from(reply == Reply::Unknown);
                match layout {
                    Layout::Tiered => Phase::TakeBack,
                    Layout::RedisAlone => Phase::Over,
                }
            }
        }
    }

    fn tell_again(&mut self, answer: u8) -> Phase {
        self.replays += 1;
        self.told.insert(answer);
        Phase::Over
    }

    /// What the client does without a reply: everything that decides is sent once more, with the same owner.
    fn unheard(&mut self, protocol: &Protocol, who: usize) -> Phase {
        let client = &mut self.clients[who];
        client.unanswered += 1;
        let phase = client.phase.clone();
        let again = client.unanswered < 2;
        match phase {
            // MongoDB is asked whatever Redis does.
            Phase::Hint => Phase::Insert,
            // Work begins on an absent record only where that bug is planted: there the claim is taken for lost.
            Phase::Insert if protocol.bug == Some(Bug::WorkOnAnAbsentRecord) => Phase::Read,
            Phase::Swap { .. } => Phase::Read,
            Phase::Complete { .. } if protocol.bug == Some(Bug::FinalWithoutAcknowledgement) => {
                self.told.insert(number(who));
                Phase::Over
            }
            Phase::KeepFirst { attempt } => Phase::Complete { attempt },
            Phase::Keep { answer, .. } => {
                self.told.insert(answer);
                Phase::Over
            }
            Phase::Insert
            | Phase::Read
            | Phase::Decide
            | Phase::Note { .. }
            | Phase::Complete { .. }
            | Phase::Release { .. }
                if again =>
            {
                phase
            }
            // It works on, without knowing whether it was heard.
            Phase::Note { attempt, .. } => {
                client.unanswered = 0;
                Phase::AtWork { attempt }
            }
            _ => Phase::Over,
        }
    }
}

fn number(who: usize) -> u8 {
    u8::try_from(who).unwrap_or(u8::MAX)
}
