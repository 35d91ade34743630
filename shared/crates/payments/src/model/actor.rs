//! The client's two attempts, the reconciler and a webhook event, step by step.
//!
//! From the reading of the payment's row to the outcome, the real code runs ([`behaviour`]). This module models the steps before and after
//! that part. The real code of those steps is in `create.rs`, `reconcile.rs` and `webhook.rs`.

use super::behaviour::{self, Next, Reply, Request, Role, SeenIntent, Start};
use super::message::{Delivery, Key, KeyWrite, Message, Received, Written};
use super::phase::{ATTEMPTS, Phase, RECONCILER};
use super::row::{Answer, Row, Write};
use super::world::World;
use super::{Bug, Protocol};
use crate::State;
use crate::provider::IntentStatus;
use crate::steps::{ConcurrentAttempt, Purpose};

impl World {
    /// The purposes with which the actor can begin now. Each process compares the payment's age with its own clock, and clocks differ. So
    /// one process may find that a payment is due for closing, while another process does not.
    pub(super) fn purposes(&self, who: usize) -> Vec<Purpose> {
        let actor = &self.actors[who];
        if actor.runs == 0 || actor.phase != Phase::Idle {
            return Vec::new();
        }
        let open = self.row.filter(|row| row.state.is_open());
        let is_named = open.is_some_and(|row| row.intent.is_some());
        match who {
            0 => vec![Purpose::Pay, Purpose::Close],
            1 if self.actors[0].has_begun() => vec![Purpose::Pay, Purpose::Close],
            RECONCILER.. if is_named => vec![Purpose::Reconcile, Purpose::Close],
            // A young payment without an intent is left as it is.
            RECONCILER if open.is_some() => vec![Purpose::Close],
            _ => Vec::new(),
        }
    }

    pub(super) fn begin(&mut self, protocol: &Protocol, who: usize, purpose: Purpose) {
        self.actors[who].runs -= 1;
        self.actors[who].phase = if ATTEMPTS.contains(&who) {
            self.claim(protocol, who, purpose)
        } else {
            self.begin_to_reconcile(protocol, who, purpose)
        };
        self.finish_run(protocol, who);
    }

    /// A client's attempt claims the key.
    fn claim(&mut self, protocol: &Protocol, who: usize, purpose: Purpose) -> Phase {
        let took_over = match self.key {
            Key::Absent | Key::Released => false,
            Key::Reopened => protocol.bug != Some(Bug::ReopenedWithoutTakeover),
            Key::Held { .. } => true,
            Key::Completed(answer) => {
                self.answer_client(answer);
                return Phase::Idle;
            }
            Key::Referred => {
                let row = self.row.expect("a pending payment has a row");
                return advance(protocol, row, ConcurrentAttempt::Possible, purpose, false);
            }
        };
        let is_first = self.key == Key::Absent;
        self.key = Key::Held {
            by: who,
            took_over,
            is_unknown: false,
        };
        Phase::Opening {
            others: if took_over {
                ConcurrentAttempt::Possible
            } else {
                ConcurrentAttempt::None
            },
            is_first,
            purpose,
        }
    }

    fn begin_to_reconcile(&mut self, protocol: &Protocol, who: usize, purpose: Purpose) -> Phase {
        let row = self.row.expect("a payment to settle");
        let (_, row) = row.written(Write::Look, who);
        self.closes_undisturbed = who == RECONCILER && purpose == Purpose::Close;
        let purpose = match protocol.bug {
            Some(Bug::ReconcilerConfirms) => Purpose::Pay,
            Some(Bug::OldPaymentLeftOpen) => Purpose::Reconcile,
            _ => purpose,
        };
        Phase::Running {
            node: behaviour::begin(Start {
                role: Role::Reconciler,
                purpose,
                row,
            }),
            has_lease: false,
        }
    }

    /// Ends the attempts that began before the key's expiry. A key's retention is longer than an invocation, so these attempts are
    /// over.
    pub(super) fn end_attempts(&mut self) {
        for who in ATTEMPTS {
            self.actors[who].phase = Phase::Idle;
        }
    }

    /// The request that the actor makes next.
    pub(super) fn message(&self, protocol: &Protocol, who: usize) -> Option<Message> {
        let actor = &self.actors[who];
        match actor.phase {
            Phase::Idle => None,
            Phase::Opening { .. } => Some(Message::Open),
            Phase::WritingKey { write, .. } => Some(Message::Key { from: who, write }),
            Phase::Running { node, .. } => match behaviour::next(node) {
                Next::Request(Request::Confirm(named)) => {
                    let own = actor.created.unwrap_or(named);
                    let request = Request::Confirm(match protocol.bug {
                        Some(Bug::OwnIntentConfirmed) => own,
                        _ => named,
                    });
                    Some(Message::Request { from: who, request })
                }
                Next::Request(request) => Some(Message::Request { from: who, request }),
                Next::Ended(_) | Next::Pending(_) | Next::Nothing => None,
            },
        }
    }

    /// The reply that an attempt with a planted bug assumes without asking the provider.
    pub(super) fn assumed_reply(&self, who: usize, message: Message) -> Option<Reply> {
        let Message::Request {
            request: Request::Inspect(number),
            ..
        } = message
        else {
            return None;
        };
        self.actors[who].assumes_canceled.then_some({
            Reply::Intent(SeenIntent {
                number,
                status: IntentStatus::Canceled,
                fits_order: true,
                is_declined: false,
            })
        })
    }

    /// The actor receives the reply to its request, or a timeout.
    pub(super) fn receive(
        &mut self,
        protocol: &Protocol,
        who: usize,
        message: Message,
        delivery: Delivery,
        received: Received,
    ) {
        let phase = self.actors[who].phase.clone();
        self.actors[who].phase = match (phase, received) {
            (
                Phase::Opening {
                    others,
                    is_first,
                    purpose,
                },
                Received::Opened(Some((row, was_there))),
            ) => {
                let is_forgotten = is_first && was_there;
                let others = if is_forgotten {
                    ConcurrentAttempt::Possible
                } else {
                    others
                };
                advance(protocol, row, others, purpose, true)
            }
            // The answer is 503: this request did nothing. An earlier attempt may have charged, so the model does not count the
            // answer as "nothing done".
            (Phase::Opening { .. }, Received::Opened(None)) => Phase::WritingKey {
                write: KeyWrite::Release,
                answers_nothing_done: false,
            },
            (Phase::Running { node, has_lease }, Received::Reply(reply)) => {
                self.misunderstand(protocol, who, message, delivery, reply);
                Phase::Running {
                    node: behaviour::receive(node, misread(protocol, reply)),
                    has_lease,
                }
            }
            (
                Phase::WritingKey {
                    answers_nothing_done,
                    ..
                },
                Received::Key(written),
            ) => {
                let is_acknowledged =
                    written == Written::Done || protocol.bug == Some(Bug::ReleaseUnacknowledged);
                if answers_nothing_done && is_acknowledged {
                    self.answer_nothing_done(who);
                }
                Phase::Idle
            }
            (phase, received) => unreachable!("{received:?} in {phase:?}"),
        };
        self.finish_run(protocol, who);
    }

    /// Records data that the planted bug uses in a later step.
    fn misunderstand(
        &mut self,
        protocol: &Protocol,
        who: usize,
        message: Message,
        delivery: Delivery,
        reply: Reply,
    ) {
        let Message::Request { request, .. } = message else {
            return;
        };
        let actor = &mut self.actors[who];
        match (protocol.bug, request, reply) {
            (Some(Bug::OwnIntentConfirmed), Request::Create, Reply::Intent(seen)) => {
                actor.created = Some(seen.number);
            }
            (Some(Bug::LostCancellationAssumed), Request::Cancel(_), _) => {
                actor.assumes_canceled = delivery != Delivery::Answered;
            }
            (Some(Bug::CancellationAssumed), Request::Cancel(_), _) => {
                actor.assumes_canceled = true
            }
            _ => {}
        }
    }

    /// When a run is over, gives its outcome as the answer, and writes the outcome to the key.
    fn finish_run(&mut self, protocol: &Protocol, who: usize) {
        let Phase::Running { node, has_lease } = self.actors[who].phase else {
            return;
        };
        let next = behaviour::next(node);
        if matches!(next, Next::Request(_)) {
            return;
        }
        let is_attempt = ATTEMPTS.contains(&who);
        if !is_attempt {
            self.reconciled(who, next);
        }
        let write = match next {
            Next::Ended(row) if is_attempt => {
                let ledgers = row.answer.expect("the answer of a final payment");
                let answer = match protocol.bug {
                    Some(Bug::AnswerRenderedByEach) => Answer {
                        author: who,
                        ..ledgers
                    },
                    _ => ledgers,
                };
                self.answer_client(answer);
                KeyWrite::Complete(answer)
            }
            Next::Pending(Row {
                state: State::RequiresAction | State::Processing,
                ..
            }) => KeyWrite::Refer,
            Next::Nothing => KeyWrite::Release,
            _ => KeyWrite::MarkUnknown,
        };
        // Only the claim of the second attempt reads the record. Once the second attempt has begun, no actor reads the record that the
        // first attempt writes. So the model leaves out that write.
        let is_read = next == Next::Nothing || !self.actors[1].has_begun();
        self.actors[who].phase = if has_lease && is_read {
            Phase::WritingKey {
                write,
                answers_nothing_done: next == Next::Nothing,
            }
        } else {
            Phase::Idle
        };
    }

    /// A run of the reconciler, or the processing of an event, is over.
    fn reconciled(&mut self, who: usize, next: Next) {
        if who != RECONCILER {
            return;
        }
        let named = self.row.and_then(|row| row.intent);
        let intent = named.and_then(|number| self.provider.intent(number));
        let can_wait = intent
            .is_some_and(|intent| intent.status == IntentStatus::Processing || !intent.fits_order);
        let is_open = matches!(next, Next::Pending(_));
        self.is_stuck |= self.closes_undisturbed && is_open && !can_wait;
        self.closes_undisturbed = false;
    }
}

fn advance(
    protocol: &Protocol,
    row: Row,
    others: ConcurrentAttempt,
    purpose: Purpose,
    has_lease: bool,
) -> Phase {
    let others = match protocol.bug {
        Some(Bug::ConcurrencyIgnored) => ConcurrentAttempt::None,
        _ => others,
    };
    Phase::Running {
        node: behaviour::begin(Start {
            role: Role::Client(others),
            purpose,
            row,
        }),
        has_lease,
    }
}

/// Returns the reply that an attempt with the planted bug reads instead of the real reply.
fn misread(protocol: &Protocol, reply: Reply) -> Reply {
    match (protocol.bug, reply) {
        (Some(Bug::DeclineWithoutCancelling), Reply::Intent(seen))
            if seen.status == IntentStatus::RequiresPaymentMethod =>
        {
            Reply::Intent(SeenIntent {
                status: IntentStatus::Canceled,
                ..seen
            })
        }
        (Some(Bug::AmountUnchecked), Reply::Intent(seen)) => Reply::Intent(SeenIntent {
            fits_order: true,
            ..seen
        }),
        (Some(Bug::ConcurrencyIgnored), Reply::Row { row, .. }) if row.state.is_open() => {
            Reply::Row { fits: true, row }
        }
        (_, reply) => reply,
    }
}
