//! A running contestant, and blocks of calls to it.

use std::time::Duration;

use bytes::Bytes;
use harness::Lambda;

use crate::contestant::Contestant;
use crate::order::{self, Answer, Order, USUAL_PAD_BYTES};
use crate::stage::{Around, Stage};

/// The state of the key that a call meets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Situation {
    /// The key is unused.
    Fresh,
    /// The request with the key is completed.
    Replay,
    /// Another process is working on the request with the key.
    Conflict,
    /// The key was used for a different request.
    Mismatch,
}

/// A running contestant.
pub(crate) struct Member<'a> {
    stage: &'a Stage,
    pub(crate) contestant: &'static Contestant,
    /// The process that gets the measured calls.
    pub(crate) process: Lambda,
    /// Another process of the contestant, which holds keys for the measure of conflicts.
    holder: Option<Lambda>,
}

/// The maximum number of calls in a block of conflicts. During such a block another process (the holder) keeps the key in
/// progress, so the work of the holder must take longer than these calls.
pub(crate) const CALLS_OF_A_HOLD: usize = 200;
/// The number of calls before the first measured call. In these calls, a contestant connects and its runtime initializes
/// itself.
const CALLS_TO_WARM_UP: usize = 5;

impl Situation {
    pub(crate) const ALL: [Self; 4] = [Self::Fresh, Self::Replay, Self::Conflict, Self::Mismatch];
    /// The situations in which the answer is a result and not a refusal.
    pub(crate) const ANSWERED: [Self; 2] = [Self::Fresh, Self::Replay];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Fresh => "fresh",
            Self::Replay => "replay",
            Self::Conflict => "conflict",
            Self::Mismatch => "mismatch",
        }
    }

    fn status(self) -> u16 {
        match self {
            Self::Fresh | Self::Replay => 201,
            Self::Conflict => 409,
            Self::Mismatch => 422,
        }
    }

    /// Two titles of a contestant in this situation: the title for tables, and the name for JSON.
    pub(crate) fn titles(self, contestant: &Contestant) -> [String; 2] {
        [contestant.title, contestant.name].map(|title| format!("{title}, {}", self.name()))
    }

    /// Whether a contestant can get into this situation. A conflict needs two processes with a shared store.
    pub(crate) fn is_possible(self, contestant: &Contestant) -> bool {
        match self {
            Self::Fresh => true,
            Self::Replay | Self::Mismatch => contestant.store.has_records(),
            Self::Conflict => contestant.store.is_shared(),
        }
    }
}

/// Returns all elements. Each round starts with a different element, so that no contestant has an advantage by its position.
pub(crate) fn in_turn<T>(all: &[T], round: usize) -> impl Iterator<Item = &T> {
    let (later, sooner) = all.split_at(round % all.len());
    sooner.iter().chain(later)
}

/// The calls of a round: each contestant with each situation that it can get into.
pub(crate) fn turns<'a, 's>(
    members: &'a [Member<'s>],
    situations: &'a [Situation],
    round: usize,
) -> impl Iterator<Item = (&'a Member<'s>, Situation)> {
    in_turn(members, round).flat_map(move |member| {
        let possible = situations.iter().copied();
        let possible = possible.filter(|situation| situation.is_possible(member.contestant));
        possible.map(move |situation| (member, situation))
    })
}

impl<'a> Member<'a> {
    /// Starts a contestant and sends it its first calls.
    ///
    /// # Panics
    ///
    /// Panics if the contestant does not run.
    pub(crate) async fn start(
        stage: &'a Stage,
        contestant: &'static Contestant,
        around: Around<'_>,
    ) -> Self {
        let at_work = Around {
            counter: Some(&stage.counter),
            ..Around::default()
        };
        let holder = match Situation::Conflict.is_possible(contestant) {
            true => Some(stage.start(contestant, at_work).await),
            false => None,
        };
        let member = Self {
            stage,
            contestant,
            process: stage.start(contestant, around).await,
            holder,
        };
        member.calls(Situation::Fresh, CALLS_TO_WARM_UP).await;
        member
    }

    /// Starts the present contestants for which `takes_part` is true, each with one process.
    pub(crate) async fn start_all(
        stage: &'a Stage,
        around: Around<'_>,
        takes_part: impl Fn(&Contestant) -> bool,
    ) -> Vec<Self> {
        let mut members = Vec::new();
        for contestant in stage.present.iter().filter(|present| takes_part(present)) {
            members.push(Self::start(stage, contestant, around).await);
        }
        members
    }

    /// Sends calls in one situation, one at a time. One unmeasured call comes before them, because the Redis client of a
    /// contestant checks an idle connection before its next use.
    ///
    /// # Panics
    ///
    /// Panics if an answer is wrong.
    pub(crate) async fn calls(&self, situation: Situation, calls: usize) -> Vec<Duration> {
        let took = self.try_calls(situation, calls, USUAL_PAD_BYTES).await;
        took.unwrap_or_else(|why| panic!("{why}"))
    }

    /// Sends calls with a filler text of `pad_bytes` bytes in the body. A contestant can refuse a long body.
    ///
    /// # Errors
    ///
    /// Fails if an answer is wrong.
    pub(crate) async fn try_calls(
        &self,
        situation: Situation,
        calls: usize,
        pad_bytes: usize,
    ) -> Result<Vec<Duration>, String> {
        let mut took = Vec::with_capacity(calls);
        if situation != Situation::Conflict {
            let order = Order::fresh(pad_bytes);
            return self.block(situation, calls, &order).await;
        }
        while took.len() < calls {
            let calls = (calls - took.len()).min(CALLS_OF_A_HOLD);
            let order = Order::fresh(pad_bytes);
            let block = async || self.block(situation, calls, &order).await;
            took.extend(self.while_held(&order, block).await?);
        }
        Ok(took)
    }

    /// Sends one unmeasured call, then the measured ones.
    async fn block(
        &self,
        situation: Situation,
        calls: usize,
        order: &Order,
    ) -> Result<Vec<Duration>, String> {
        let first = match situation {
            Situation::Conflict => Situation::Conflict,
            _ => Situation::Fresh,
        };
        let first = self.call(first, order.event()).await?;
        let again = match situation {
            Situation::Mismatch => order.with_other_body().event(),
            _ => order.event(),
        };
        let mut took = Vec::with_capacity(calls);
        for _ in 0..calls {
            let event = match situation {
                Situation::Fresh => order.with_fresh_key().event(),
                _ => again.clone(),
            };
            let answer = self.call(situation, event).await?;
            if situation == Situation::Replay && answer.body != first.body {
                return Err(format!("{} replays another body", self.contestant.name));
            }
            took.push(answer.took);
        }
        Ok(took)
    }

    /// Runs the future `work` while another process (the holder) works on an order.
    async fn while_held<T>(
        &self,
        order: &Order,
        work: impl AsyncFnOnce() -> Result<T, String>,
    ) -> Result<T, String> {
        let (name, counter) = (self.contestant.name, &self.stage.counter);
        let Some(holder) = &self.holder else {
            return Err(format!("two processes of {name} share no store"));
        };
        counter.close();
        let held = holder.hand_over(order.event()).await;
        let done = match counter.has_started(&order.key).await {
            true => work().await,
            false => Err(format!("the holder of {name} does not start its work")),
        };
        counter.open();
        match Answer::of(held.await).map(|answer| answer.status) {
            Ok(201) => done,
            other => done.and(Err(format!("the holder of {name} ends with {other:?}"))),
        }
    }

    async fn call(&self, situation: Situation, event: Bytes) -> Result<Answer, String> {
        let answer = order::answer(&self.process, event).await?;
        if answer.status == situation.status() {
            return Ok(answer);
        }
        Err(format!(
            "{} answers a {} with {}: {}",
            self.contestant.name,
            situation.name(),
            answer.status,
            answer.body.chars().take(300).collect::<String>()
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_contestant_is_first_in_turn() {
        let orders = [0, 1, 2, 3].map(|round| in_turn(&['a', 'b', 'c'], round).collect::<String>());
        assert_eq!(orders, ["abc", "bca", "cab", "abc"]);
    }
}
