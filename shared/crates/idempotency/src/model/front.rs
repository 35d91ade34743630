//! Redis as a cache in front of MongoDB: the calls of `store/hints.rs`, with Redis's own clock.

use super::answer::Answer;
use super::bug::Bug;
use super::identity::claim;
use super::message::{Message, Reply};
use super::protocol::Protocol;
use super::world::{Violation, World};
use crate::store::hints::simulated::{self, Held, Operation, Verdict, record_in};
use crate::store_time::StoreTime;

impl World {
    /// Applies a request to the Redis cache in front of MongoDB, and returns the reply.
    pub(super) fn apply_hint(&mut self, protocol: &Protocol, message: &Message) -> Reply {
        match message {
            Message::Hint { id } => self.hint(protocol, *id),
            Message::TakeBack { id } => {
                if protocol.bug == Some(Bug::LoserRewritesRedis) {
                    self.put_hints(protocol, None);
                }
                let owner = claim(protocol, *id).owner;
                self.on_hints(protocol, Operation::Remove(owner));
                Reply::Done
            }
            Message::Keep(record) => {
                if protocol.bug == Some(Bug::OlderResultReplaces) {
                    let mut nothing = None;
                    let (retention, now) = (protocol.hint_retention(), self.redis_time(protocol));
                    simulated::apply(&mut nothing, Operation::Store(record), retention, now);
                    self.put_hints(protocol, nothing.or(self.hints.clone()));
                }
                self.on_hints(protocol, Operation::Store(record));
                Reply::Done
            }
            _ => Reply::Ask,
        }
    }

    fn hint(&mut self, protocol: &Protocol, id: u8) -> Reply {
        let claim = claim(protocol, id);
        if protocol.bug == Some(Bug::UnfinishedReplacesAResult) {
            self.put_hints(protocol, None);
        }
        if protocol.bug == Some(Bug::MismatchFromAClaim)
            && self
                .hints
                .as_ref()
                .and_then(record_in)
                .is_some_and(|record| record.fingerprint != claim.fingerprint)
        {
            self.check_mismatch(protocol, id);
            return Reply::Mismatch;
        }
        match self.on_hints(protocol, Operation::Claim(&claim)) {
            Verdict::Mismatch => {
                self.check_mismatch(protocol, id);
                Reply::Mismatch
            }
            Verdict::InProgress { .. } => Reply::InProgress,
            Verdict::Replay(record) => {
                let is_over =
                    Answer::of(&record).is_none_or(|answer| answer.generation <= self.ended);
                if is_over && !protocol.redis_is_far_behind() {
                    self.violate(Violation::StaleReplay);
                }
                Reply::Result(record)
            }
            _ => Reply::Ask,
        }
    }

    /// A mismatch is correct only if MongoDB has the result of another request.
    fn check_mismatch(&mut self, protocol: &Protocol, id: u8) {
        let claim = claim(protocol, id);
        let is_right =
            self.acknowledged.record.as_ref().is_some_and(|record| {
                record.fingerprint != claim.fingerprint && record.is_completed()
            });
        if !is_right && !protocol.redis_is_far_behind() {
            self.violate(Violation::FalseMismatch);
        }
    }

    fn on_hints(&mut self, protocol: &Protocol, operation: Operation<'_>) -> Verdict {
        let (retention, now) = (protocol.hint_retention(), self.redis_time(protocol));
        let mut hints = self.hints.clone();
        let verdict = simulated::apply(&mut hints, operation, retention, now);
        self.put_hints(protocol, hints);
        verdict
    }

    fn put_hints(&mut self, protocol: &Protocol, hints: Option<Held>) {
        if hints == self.hints {
            return;
        }
        let now = self.redis_time(protocol);
        let finished_at = |held: &Option<Held>| {
            let held = held.as_ref().filter(|held| held.expires > now);
            let record = held.and_then(record_in)?;
            record.is_completed().then(|| record.finished_at())?
        };
        match (finished_at(&self.hints), finished_at(&hints)) {
            (Some(_), None) => self.violate(Violation::LostResult),
            (Some(before), Some(after)) if after < before => {
                self.violate(Violation::OlderResult);
            }
            _ => {}
        }
        self.hints_before = std::mem::replace(&mut self.hints, hints);
    }

    fn redis_time(&self, protocol: &Protocol) -> StoreTime {
        StoreTime::from_ms(self.time().as_ms() - protocol.redis_behind)
    }

    pub(super) fn hinted_result(&self) -> Option<Answer> {
        Answer::of(record_in(self.hints.as_ref()?)?)
    }
}
