//! The stores, the network between them and the clients, and what is remembered to judge them by.

use std::collections::BTreeSet;
use std::time::Duration;

use http::StatusCode;

use super::client::Client;
use super::{Bug, Layout, Protocol};
use crate::idempotency::decision::{
    self, Change, Claim, Decision, Fence, Settlement, Start, Verdict,
};
use crate::idempotency::record::{Record, State, StoreTime};
use crate::idempotency::{Fingerprint, OwnerId, SavedResponse};

/// How a request fares.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Delivery {
    /// It is carried out, and its sender hears.
    Answered,
    /// It is carried out, and its sender does not hear.
    ReplyLost,
    /// It is not carried out, and its sender knows no more than that no reply came.
    Refused,
    /// It will be carried out some time, and its sender gives up.
    Late,
}

/// A request to a store.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Message {
    /// Redis in front: leave a claim, or answer.
    Hint {
        owner: u8,
    },
    /// Redis in front: take a claim back.
    TakeBack {
        owner: u8,
    },
    /// Redis in front: keep a result.
    Keep {
        answer: u8,
        finished_at: u64,
    },
    /// The store that decides: insert a claim where there is nothing.
    Insert {
        owner: u8,
    },
    Read,
    /// The store that decides: replace what has this `rev`.
    Swap {
        rev: u64,
        how: Start,
        next: Box<Record>,
    },
    /// The store that decides, in one step: decide and write, as a script does.
    Decide {
        owner: u8,
    },
    Change {
        owner: u8,
        attempt: u64,
        rev: u64,
        change: Change,
    },
}

/// What a store says.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Reply {
    /// Ask the store that decides.
    Ask,
    /// Somebody is at work.
    Wait,
    /// This is the result.
    Result {
        answer: u8,
        finished_at: u64,
    },
    /// The claim is acknowledged.
    Won {
        attempt: u64,
    },
    /// Somebody else was faster.
    Lost,
    Found(Option<Box<Record>>),
    /// It is not known what became of the work.
    Unknown,
    Done,
    /// The record is in this writing, not in the one that the request follows.
    Moved {
        rev: u64,
    },
}

/// What Redis holds in front of MongoDB.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Hinted {
    Claim { owner: u8, ends: u64 },
    Result { answer: u8, finished_at: u64 },
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct World {
    pub(super) now: u64,
    /// What the store that decides holds.
    pub(super) record: Option<Record>,
    /// What it held before the last writing, where it is Redis that falls back.
    record_before: Option<Record>,
    /// What Redis holds in front of it.
    pub(super) hinted: Option<Hinted>,
    hinted_before: Option<Hinted>,
    pub(super) clients: Vec<Client>,
    pub(super) in_flight: Vec<Message>,
    pub(super) faults: u8,
    pub(super) deaths: u8,
    /// Up to which attempt the provider refuses.
    pub(super) fence: u64,
    pub(super) executions: u8,
    pub(super) declined: u8,
    pub(super) replays: u8,
    pub(super) unknowns: u8,
    pub(super) notes_begun: u8,
    /// The last note that was acknowledged.
    pub(super) noted: u8,
    /// Every result that the store that decides ever held.
    pub(super) results: BTreeSet<u8>,
    /// Every answer that anybody was given as final.
    pub(super) told: BTreeSet<u8>,
    /// The attempts that a reconciler has settled.
    settled: BTreeSet<u64>,
    /// Whether one of them was told that it had finished.
    pub(super) missed_a_settlement: bool,
    highest_rev: u64,
    pub(super) counted_back: bool,
    pub(super) lost_a_result: bool,
    pub(super) has_lost_data: bool,
}

/// The answer that a reconciler gives.
pub(super) const SETTLED: u8 = 99;
const LEASE: Duration = Duration::from_millis(1);
const WINDOW: Duration = Duration::from_millis(1_000);

impl World {
    pub(super) fn new(protocol: &Protocol) -> Self {
        Self {
            now: 0,
            record: None,
            record_before: None,
            hinted: None,
            hinted_before: None,
            clients: (0..protocol.clients)
                .map(|_| Client::new(protocol))
                .collect(),
            in_flight: Vec::new(),
            faults: protocol.faults,
            deaths: 0,
            fence: 0,
            executions: 0,
            declined: 0,
            replays: 0,
            unknowns: 0,
            notes_begun: 0,
            noted: 0,
            results: BTreeSet::new(),
            told: BTreeSet::new(),
            settled: BTreeSet::new(),
            missed_a_settlement: false,
            highest_rev: 0,
            counted_back: false,
            lost_a_result: false,
            has_lost_data: false,
        }
    }

    /// Whether a reconciler would look at the key.
    pub(super) fn is_open(&self) -> bool {
        self.record
            .as_ref()
            .is_some_and(|record| match record.state {
                State::Unknown => true,
                State::InProgress => self.time() >= record.lease_end(),
                _ => false,
            })
    }

    pub(super) fn is_finished(&self) -> bool {
        self.record
            .as_ref()
            .is_some_and(|record| record.finished_at().is_some())
    }

    /// Whether what comes after the last attempt would not learn what that was told to be noted.
    pub(super) fn has_forgotten_a_note(&self) -> bool {
        self.record.as_ref().is_some_and(|record| {
            !matches!(record.state, State::Completed { .. })
                && record.checkpoint.first().copied().unwrap_or(0) < self.noted
        })
    }

    pub(super) fn hinted_result(&self) -> Option<u8> {
        match self.hinted {
            Some(Hinted::Result { answer, .. }) => Some(answer),
            _ => None,
        }
    }

    pub(super) fn tick(&mut self, protocol: &Protocol) {
        self.now += 1;
        if protocol.bug == Some(Bug::RecordExpiresWithItsLease) && self.is_open() {
            self.record = None;
        }
    }

    pub(super) fn lose_redis(&mut self, protocol: &Protocol, to: Option<Hinted>) {
        self.has_lost_data = true;
        self.hinted = to;
        if protocol.layout == Layout::RedisAlone {
            self.record = None;
            self.highest_rev = 0;
        }
    }

    pub(super) fn fall_back(&mut self, protocol: &Protocol) {
        let before = self.hinted_before.clone();
        let record = self.record_before.clone();
        self.lose_redis(protocol, before);
        if protocol.layout == Layout::RedisAlone {
            self.record = record;
        }
    }

    /// The provider has charged: the reconciler says so.
    pub(super) fn settle_completed(&mut self, protocol: &Protocol) {
        if self.executions > 0 {
            self.settle(protocol, &Settlement::Completed(response(SETTLED)));
        }
    }

    /// The provider has not charged, and is told to refuse what still comes from this attempt.
    pub(super) fn settle_released(&mut self, protocol: &Protocol) {
        if self.executions > 0 {
            return;
        }
        if let Some(record) = &self.record
            && protocol.bug != Some(Bug::ReleasedForALiveOwner)
        {
            self.fence = record.attempt;
        }
        self.settle(protocol, &Settlement::Released);
    }

    fn settle(&mut self, protocol: &Protocol, settlement: &Settlement) {
        let Some(record) = self.record.clone() else {
            return;
        };
        let fresh = owner(200 + u8::try_from(record.rev).unwrap_or(0));
        let verdict = decision::settle(&record, record.version(), fresh, settlement, self.time());
        if let Verdict::Write(mut next) = verdict {
            if protocol.bug == Some(Bug::SettleKeepsTheOwner) {
                next.owner = record.owner;
            }
            self.settled.insert(record.attempt);
            self.write(*next);
        }
    }

    /// Carries a request out.
    pub(super) fn apply(&mut self, protocol: &Protocol, message: &Message) -> Reply {
        match message {
            Message::Hint { owner } => self.hint(protocol, *owner),
            Message::TakeBack { owner } => {
                self.take_back(protocol, *owner);
                Reply::Done
            }
            Message::Keep {
                answer,
                finished_at,
            } => {
                let is_older = matches!(&self.hinted, Some(Hinted::Result { finished_at: held, .. }) if held >= finished_at);
                if !is_older {
                    self.put_hint(Some(Hinted::Result {
                        answer: *answer,
                        finished_at: *finished_at,
                    }));
                }
                Reply::Done
            }
            Message::Insert { owner } => match &self.record {
                Some(_) => Reply::Lost,
                None => {
                    let claim = claim(protocol, *owner);
                    self.write(decision::start(Start::New, None, &claim, self.time()));
                    Reply::Won { attempt: 1 }
                }
            },
            Message::Read => Reply::Found(self.record.clone().map(Box::new)),
            Message::Swap { rev, how, next } => self.swap(protocol, *rev, *how, next),
            Message::Decide { owner } => self.decide(protocol, *owner),
            Message::Change {
                owner,
                attempt,
                rev,
                change,
            } => {
                let fence = Fence {
                    claim: claim(protocol, *owner),
                    attempt: *attempt,
                    rev: *rev,
                };
                self.change(protocol, fence, change)
            }
        }
    }

    fn hint(&mut self, protocol: &Protocol, owner: u8) -> Reply {
        let fresh = Hinted::Claim {
            owner,
            ends: self.now + 1,
        };
        match &self.hinted {
            None => {
                self.put_hint(Some(fresh));
                Reply::Ask
            }
            Some(Hinted::Result { .. }) if protocol.bug == Some(Bug::UnfinishedReplacesAResult) => {
                self.lost_a_result = true;
                self.put_hint(Some(fresh));
                Reply::Ask
            }
            Some(Hinted::Result {
                answer,
                finished_at,
            }) => Reply::Result {
                answer: *answer,
                finished_at: *finished_at,
            },
            Some(Hinted::Claim { owner: held, ends }) if *held != owner && self.now < *ends => {
                Reply::Wait
            }
            Some(Hinted::Claim { .. }) => Reply::Ask,
        }
    }

    fn take_back(&mut self, protocol: &Protocol, owner: u8) {
        match &self.hinted {
            Some(Hinted::Claim { owner: held, .. }) if *held == owner => self.put_hint(None),
            Some(Hinted::Result { .. }) if protocol.bug == Some(Bug::LoserRewritesRedis) => {
                self.lost_a_result = true;
                self.put_hint(Some(Hinted::Claim {
                    owner,
                    ends: self.now + 1,
                }));
            }
            _ => {}
        }
    }

    fn put_hint(&mut self, hinted: Option<Hinted>) {
        self.hinted_before = std::mem::replace(&mut self.hinted, hinted);
    }

    fn swap(&mut self, protocol: &Protocol, rev: u64, how: Start, next: &Record) -> Reply {
        let Some(record) = &self.record else {
            return Reply::Lost;
        };
        if record.rev != rev && protocol.bug != Some(Bug::BlindTakeover) {
            return Reply::Lost;
        }
        // The server's clock and counters, not those of the reading.
        let next = Record {
            leased_at: self.time(),
            attempt: record.attempt + 1,
            rev: record.rev + 1,
            ..next.clone()
        };
        debug_assert_ne!(how, Start::New);
        let attempt = next.attempt;
        self.write(next);
        Reply::Won { attempt }
    }

    fn decide(&mut self, protocol: &Protocol, owner: u8) -> Reply {
        let claim = claim(protocol, owner);
        match decision::decide(self.record.as_ref(), &claim, self.time()) {
            Decision::Start(how) => {
                let next = decision::start(how, self.record.as_ref(), &claim, self.time());
                let attempt = next.attempt;
                self.write(next);
                Reply::Won { attempt }
            }
            decision => standing(decision, self.record.as_ref()),
        }
    }

    fn change(&mut self, protocol: &Protocol, mut fence: Fence, change: &Change) -> Reply {
        if let Some(record) = &self.record
            && protocol.bug == Some(Bug::NoteOverALaterOne)
        {
            fence.rev = record.rev;
        }
        let is_complete = matches!(change, Change::Complete(_));
        if let Some(record) = self.record.clone()
            && is_complete
            && protocol.bug == Some(Bug::UnfencedComplete)
            && let Change::Complete(response) = change
        {
            let state = State::Completed {
                finished_at: self.time(),
                response: response.clone(),
            };
            self.write(Record {
                state,
                rev: record.rev + 1,
                ..record
            });
            return self.result();
        }
        // MongoDB loses no record, so nothing is restored there.
        if self.record.is_none() && protocol.layout == Layout::Tiered {
            return Reply::Lost;
        }
        let verdict = decision::change(self.record.as_ref(), &fence, change, self.time());
        self.missed_a_settlement |=
            self.settled.contains(&fence.attempt) && verdict != Verdict::Superseded;
        match verdict {
            Verdict::Write(_)
                if *change == Change::Release && protocol.bug == Some(Bug::ReleaseDeletes) =>
            {
                self.record_before = self.record.take();
                Reply::Done
            }
            Verdict::Write(next) => {
                self.write(*next);
                if is_complete {
                    self.result()
                } else {
                    Reply::Done
                }
            }
            Verdict::Already if is_complete => self.result(),
            Verdict::Already | Verdict::TooLate => Reply::Done,
            Verdict::Moved => Reply::Moved {
                rev: self.record.as_ref().map_or(0, |record| record.rev),
            },
            Verdict::Superseded => {
                let decision = decision::decide(self.record.as_ref(), &fence.claim, self.time());
                standing(decision, self.record.as_ref())
            }
        }
    }

    fn result(&self) -> Reply {
        result_of(self.record.as_ref()).unwrap_or(Reply::Unknown)
    }

    fn write(&mut self, next: Record) {
        if let Some(Reply::Result { answer, .. }) = result_of(Some(&next)) {
            self.results.insert(answer);
        }
        self.counted_back |= next.rev <= self.highest_rev;
        self.highest_rev = next.rev.max(self.highest_rev);
        self.record_before = self.record.replace(next);
    }

    pub(super) fn time(&self) -> StoreTime {
        StoreTime::from_ms(1_000 + self.now)
    }
}

/// What a decision that starts nothing tells its caller.
pub(super) fn standing(decision: Decision, record: Option<&Record>) -> Reply {
    match decision {
        Decision::Replay => result_of(record).unwrap_or(Reply::Unknown),
        Decision::Unknown | Decision::Mismatch => Reply::Unknown,
        Decision::Repeated => Reply::Won {
            attempt: record.map_or(0, |record| record.attempt),
        },
        Decision::InProgress { .. } | Decision::Start(_) => Reply::Wait,
    }
}

pub(super) fn claim(protocol: &Protocol, who: u8) -> Claim {
    Claim {
        owner: owner(who),
        fingerprint: Fingerprint::from_hex(&"a".repeat(64)).expect("a fingerprint"),
        policy: protocol.policy,
        lease: LEASE,
        window: WINDOW,
    }
}

fn owner(number: u8) -> OwnerId {
    OwnerId::from_hex(&format!("{:032x}", u32::from(number) + 1)).expect("an owner")
}

pub(super) fn response(answer: u8) -> SavedResponse {
    SavedResponse::new(StatusCode::OK, vec![answer])
}

fn result_of(record: Option<&Record>) -> Option<Reply> {
    let State::Completed {
        finished_at,
        response,
    } = &record?.state
    else {
        return None;
    };
    let answer = *response.whole_body()?.first()?;
    Some(Reply::Result {
        answer,
        finished_at: finished_at.as_ms(),
    })
}
