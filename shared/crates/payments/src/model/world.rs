//! The state of the model: the stores, the provider, the requests in flight, and the violations so far.

use http::StatusCode;

use super::behaviour::{ErrorKind, Reply, Request};
use super::message::{Delivery, Key, KeyWrite, Message, Received, Written};
use super::phase::{ATTEMPTS, Actor, Phase};
use super::provider::{Card, HttpStatus, Provider};
use super::row::{Answer, IntentNumber, Row, Write};
use super::{Bug, Protocol};
use crate::State;
use crate::provider::{IntentStatus, ProviderError, read_stripe};

/// The part of the reconciler that finishes abandoned keys, modelled after `keys.rs`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Schedule {
    /// How often the reconciler can still read the key.
    pub(super) looks_left: u8,
    /// The key that the reconciler has read, and the value that it is about to write.
    pub(super) found: Option<(Key, Key)>,
    /// Whether the reconciler has reopened the key.
    pub(super) has_reopened: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct World {
    pub(super) key: Key,
    pub(super) row: Option<Row>,
    pub(super) provider: Provider,
    pub(super) actors: Vec<Actor>,
    pub(super) schedule: Schedule,
    /// The late requests, which have not arrived yet.
    pub(super) in_flight: Vec<Message>,
    /// The number of faults that can still happen.
    pub(super) faults: u8,
    /// Whether the ledger has replaced a final response.
    pub(super) changed_an_answer: bool,
    /// Whether an attempt has sent a client a final response that differs from the one in the ledger.
    pub(super) contradicted_the_ledger: bool,
    /// Whether an attempt has answered that nothing was done.
    pub(super) answered_nothing_done: bool,
    /// Whether an attempt has answered that nothing was done while an attempt may have charged.
    pub(super) answered_nothing_done_wrongly: bool,
    /// Whether an actor has confirmed an intent that the ledger did not name.
    pub(super) confirmed_unnamed: bool,
    /// Whether the reconciler or an event has confirmed an intent.
    pub(super) reconciling_confirmed: bool,
    /// Whether the reconciler is closing the payment, and no other actor has acted since the reconciler began.
    pub(super) closes_undisturbed: bool,
    /// Whether a run of the reconciler left the payment open, although the run had to close the payment and no other
    /// actor had acted.
    pub(super) is_stuck: bool,
}

impl World {
    pub(super) fn new(protocol: &Protocol, card: Card) -> Self {
        Self {
            key: Key::Absent,
            row: None,
            provider: Provider::new(card),
            actors: Actor::all(protocol),
            schedule: Schedule {
                looks_left: protocol.key_looks,
                found: None,
                has_reopened: false,
            },
            in_flight: Vec::new(),
            faults: protocol.faults,
            changed_an_answer: false,
            contradicted_the_ledger: false,
            answered_nothing_done: false,
            answered_nothing_done_wrongly: false,
            confirmed_unnamed: false,
            reconciling_confirmed: false,
            closes_undisturbed: false,
            is_stuck: false,
        }
    }

    pub(super) fn is_final(&self, state: State) -> bool {
        self.row.is_some_and(|row| row.state == state)
    }

    /// Whether the customer was charged, or can still be charged without a new request of an attempt.
    fn may_have_charged(&self) -> bool {
        let is_under_way = self.provider.intents.iter().any(|i| i.is_under_way());
        self.provider.charges > 0 || is_under_way || self.has_confirmation_in_flight()
    }

    fn has_confirmation_in_flight(&self) -> bool {
        self.in_flight.iter().any(|message| match message {
            Message::Request {
                request: Request::Confirm(number),
                ..
            } => self.status(*number) != Some(IntentStatus::Canceled),
            _ => false,
        })
    }

    fn status(&self, number: IntentNumber) -> Option<IntentStatus> {
        self.provider.intent(number).map(|intent| intent.status)
    }

    /// Whether the payment ended as "not charged" in the ledger, although the customer was charged or can still be
    /// charged.
    pub(super) fn contradicts_a_charge(&self) -> bool {
        self.row.is_some_and(Row::says_not_charged) && self.may_have_charged()
    }

    /// Whether the payment ended as "charged" in the ledger, although its intent was not charged with the order's
    /// amount.
    pub(super) fn records_a_missing_charge(&self) -> bool {
        let named = self.row.and_then(|row| row.intent);
        let intent = named.and_then(|number| self.provider.intent(number));
        let is_charged = intent
            .is_some_and(|intent| intent.status == IntentStatus::Succeeded && intent.fits_order);
        self.is_final(State::Succeeded) && !is_charged
    }

    /// A client gets a final response.
    pub(super) fn answer_client(&mut self, answer: Answer) {
        let ledgers = self.row.and_then(|row| row.answer);
        self.contradicted_the_ledger |= ledgers != Some(answer);
    }

    /// A client's attempt ends with the answer that nothing was done.
    pub(super) fn answer_nothing_done(&mut self, who: usize) {
        let is_running = |other: usize| {
            other != who && matches!(self.actors[other].phase, Phase::Running { .. })
        };
        let is_wrong = self.may_have_charged() || ATTEMPTS.into_iter().any(is_running);
        self.answered_nothing_done = true;
        self.answered_nothing_done_wrongly |= is_wrong;
    }

    /// The actor sends its next request, with this delivery.
    pub(super) fn send(&mut self, protocol: &Protocol, who: usize, delivery: Delivery) {
        let Some(message) = self.message(protocol, who) else {
            return;
        };
        if delivery != Delivery::Answered {
            self.faults -= 1;
        }
        let received = match (delivery, self.assumed_reply(who, message)) {
            (_, Some(reply)) => Received::Reply(reply),
            (Delivery::Answered, _) => self.carry_out(protocol, message),
            (Delivery::ReplyLost, _) => {
                self.carry_out(protocol, message);
                message.reply_to_fault(protocol, delivery)
            }
            (Delivery::Late, _) => {
                self.in_flight.push(message);
                message.reply_to_fault(protocol, delivery)
            }
            (Delivery::Lost | Delivery::TooMany, _) => message.reply_to_fault(protocol, delivery),
        };
        self.receive(protocol, who, message, delivery, received);
    }

    /// A request arrives, in time or late.
    pub(super) fn carry_out(&mut self, protocol: &Protocol, message: Message) -> Received {
        match message {
            Message::Open => {
                let was_there = self.row.is_some();
                let row = *self.row.get_or_insert(Row::OPENED);
                Received::Opened(Some((row, was_there)))
            }
            Message::Key { from, write } => Received::Key(self.write_key(from, write)),
            Message::Request {
                from,
                request: Request::Write(write),
            } => Received::Reply(self.write_row(protocol, from, write)),
            Message::Request { from, request } => {
                let answer = match request {
                    Request::Create if protocol.bug == Some(Bug::CreateConfirms) => self
                        .provider
                        .create()
                        .and_then(|seen| self.provider.confirm(seen.number)),
                    Request::Create => self.provider.create(),
                    Request::Confirm(number) => {
                        let named = self.row.and_then(|row| row.intent);
                        self.confirmed_unnamed |= named != Some(number);
                        self.reconciling_confirmed |= !ATTEMPTS.contains(&from);
                        self.provider.confirm(number)
                    }
                    Request::Cancel(number) => self.provider.cancel(number),
                    Request::Inspect(number) => self.provider.inspect(number),
                    Request::Write(_) => unreachable!("the ledger's"),
                };
                Received::Reply(match answer {
                    Ok(seen) => Reply::Intent(seen),
                    Err(status) => Reply::Failed(error(protocol, status)),
                })
            }
        }
    }

    fn write_row(&mut self, protocol: &Protocol, author: usize, write: Write) -> Reply {
        let Some(row) = self.row else {
            return Reply::Unavailable;
        };
        // A planted bug changes the row that the compare-and-set compares.
        let compared = match (protocol.bug, write) {
            (Some(Bug::AttachOverwrites), Write::Attach(_)) => Row {
                intent: None,
                ..row
            },
            (Some(Bug::EndWithoutCompareAndSet), Write::EndWithoutIntent(_)) => Row::OPENED,
            _ => row,
        };
        let (fits, written) = compared.written(write, author);
        let written = match write {
            _ if !fits => row,
            Write::EndWithoutIntent(_) => Row {
                intent: row.intent,
                ..written
            },
            _ => written,
        };
        self.row = Some(written);
        self.changed_an_answer |= row.answer.is_some() && row.answer != written.answer;
        Reply::Row { fits, row: written }
    }

    /// The key of an abandoned attempt, and the value that the reconciler gives it. The payment in the ledger determines that value. The
    /// attempt may still be running, because its lease can end at any time.
    pub(super) fn unfinished_key(&self) -> Option<(Key, Key)> {
        let Key::Held { .. } = self.key else {
            return None;
        };
        let finished = match self.row {
            Some(row) => Key::Completed(row.answer?),
            None => Key::Reopened,
        };
        Some((self.key, finished))
    }

    /// The reconciler writes the key by a compare-and-set.
    pub(super) fn finish_key(&mut self) {
        if let Some((read, finished)) = self.schedule.found.take()
            && self.key == read
        {
            self.key = finished;
            self.schedule.has_reopened |= finished == Key::Reopened;
        }
    }

    fn write_key(&mut self, from: usize, write: KeyWrite) -> Written {
        let Key::Held {
            by,
            took_over,
            is_unknown,
        } = self.key
        else {
            return Written::Superseded;
        };
        let unknown = Key::Held {
            by,
            took_over,
            is_unknown: true,
        };
        self.key = match write {
            _ if by != from => return Written::Superseded,
            KeyWrite::Complete(answer) => Key::Completed(answer),
            KeyWrite::Refer => Key::Referred,
            KeyWrite::MarkUnknown | KeyWrite::Release if is_unknown => return Written::Superseded,
            KeyWrite::MarkUnknown => unknown,
            // After a takeover the key becomes unknown, because the release does not concern the earlier attempt.
            KeyWrite::Release if took_over => unknown,
            KeyWrite::Release => Key::Released,
        };
        Written::Done
    }
}

impl Message {
    /// The faults that can happen to this message.
    pub(super) fn faulty_deliveries(self) -> &'static [Delivery] {
        use Delivery::{Late, Lost, ReplyLost, TooMany};
        match self {
            Self::Open => &[ReplyLost],
            Self::Request {
                request: Request::Inspect(_),
                ..
            } => &[Lost],
            Self::Request {
                request: Request::Write(_),
                ..
            } => &[ReplyLost, Lost, Late],
            Self::Request { .. } => &[ReplyLost, Lost, Late, TooMany],
            // No fault is needed here. A lost or late write has the same effect as an attempt that stops before the write, forever or for a
            // while.
            Self::Key { .. } => &[],
        }
    }

    /// What the sender receives instead of the real reply.
    fn reply_to_fault(self, protocol: &Protocol, delivery: Delivery) -> Received {
        match self {
            Self::Open => Received::Opened(None),
            Self::Key { .. } => unreachable!("each write on a key gets its reply"),
            Self::Request {
                request: Request::Write(_),
                ..
            } => Received::Reply(Reply::Unavailable),
            Self::Request { .. } => Received::Reply(Reply::Failed(match delivery {
                Delivery::ReplyLost => error(protocol, 500),
                Delivery::Late => error(protocol, 409),
                Delivery::TooMany => error(protocol, 429),
                Delivery::Lost | Delivery::Answered => {
                    ProviderError::OutcomeUnknown("timeout").into()
                }
            })),
        }
    }
}

/// The error that the adapter for Stripe reads from a response without an intent.
fn error(protocol: &Protocol, status: HttpStatus) -> ErrorKind {
    match (protocol.bug, status) {
        (Some(Bug::ConflictTreatedAsNotProcessed), 409)
        | (Some(Bug::ErrorTreatedAsNotProcessed), 500) => {
            return ErrorKind::NotProcessed;
        }
        _ => {}
    }
    let body = br#"{"error":{"type":"a type","code":"a code"}}"#;
    let status = StatusCode::from_u16(status).expect("a status");
    let error = read_stripe(status, body).err();
    error.expect("no intent").into()
}
