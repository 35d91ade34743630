//! A contestant that runs, and one block of calls to it.

use std::net::SocketAddr;
use std::time::Duration;

use crate::contestant::{Contestant, Store};
use crate::function::{self, Answer, Function};
use crate::order::{Order, USUAL_PAD_BYTES};
use crate::stage::{Around, Stage};

/// What a call meets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Situation {
    /// A key that nobody has used.
    Fresh,
    /// A request that has its result.
    Replay,
    /// A request that somebody is at.
    Conflict,
    /// A key that stands for another request.
    Mismatch,
}

impl Situation {
    pub(crate) const ALL: [Self; 4] = [Self::Fresh, Self::Replay, Self::Conflict, Self::Mismatch];

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

    /// Whether a contestant can get into it. Two processes meet only where their store is shared.
    pub(crate) fn is_possible(self, contestant: &Contestant) -> bool {
        match self {
            Self::Fresh => true,
            Self::Replay | Self::Mismatch => contestant.store != Store::Nothing,
            Self::Conflict => contestant.store.is_shared(),
        }
    }
}

/// All, each round beginning with another one: to come first, or behind a certain other one, is nobody's advantage.
pub(crate) fn in_turn<T>(all: &mut [T], round: usize) -> impl Iterator<Item = &mut T> {
    let (later, sooner) = all.split_at_mut(round % all.len());
    sooner.iter_mut().chain(later)
}

/// A contestant that runs.
pub(crate) struct Member {
    pub(crate) contestant: &'static Contestant,
    pub(crate) function: Function,
    /// Another process of it, which holds keys whose conflicts are measured.
    holder: Option<Function>,
    pad_bytes: usize,
}

/// The calls for which a key is held at a time: less than the work of the holder may take.
pub(crate) const CALLS_OF_A_HOLD: usize = 200;
/// Calls before the first one that counts: connecting, and what a runtime does only once.
const CALLS_TO_WARM_UP: usize = 5;
const HOLDER_LIMIT: Duration = Duration::from_secs(30);

impl Member {
    /// Starts a contestant and sends it its first calls.
    ///
    /// # Panics
    ///
    /// When it does not run.
    pub(crate) async fn start(
        stage: &Stage,
        contestant: &'static Contestant,
        around: Around<'_>,
    ) -> Self {
        let start = async |around| {
            let started = stage.start(contestant, around).await;
            started.unwrap_or_else(|why| panic!("{why}"))
        };
        let holder = match Situation::Conflict.is_possible(contestant) {
            true => Some(
                start(Around {
                    till: Some(&stage.till),
                    ..Around::default()
                })
                .await,
            ),
            false => None,
        };
        let member = Self {
            contestant,
            function: start(around).await,
            holder,
            pad_bytes: USUAL_PAD_BYTES,
        };
        member
            .calls(stage, Situation::Fresh, CALLS_TO_WARM_UP)
            .await;
        member
    }

    /// Everybody who takes part, each with one process.
    pub(crate) async fn start_all(stage: &Stage, redis: Option<SocketAddr>) -> Vec<Self> {
        let mut members = Vec::new();
        for contestant in &stage.present {
            let around = Around {
                redis,
                ..Around::default()
            };
            members.push(Self::start(stage, contestant, around).await);
        }
        members
    }

    /// The same process, asked with a pad of another length.
    pub(crate) fn set_pad(&mut self, bytes: usize) {
        self.pad_bytes = bytes;
    }

    /// Calls it so often in one situation, one call at a time. One call more comes before them and does not count: a client looks
    /// after a connection that has rested.
    ///
    /// # Panics
    ///
    /// When an answer is not what it has to be.
    pub(crate) async fn calls(
        &self,
        stage: &Stage,
        situation: Situation,
        calls: usize,
    ) -> Vec<Duration> {
        let took = self.try_calls(stage, situation, calls).await;
        took.unwrap_or_else(|why| panic!("{why}"))
    }

    /// The same, for what a contestant may refuse to do.
    ///
    /// # Errors
    ///
    /// An answer that is not what it has to be.
    pub(crate) async fn try_calls(
        &self,
        stage: &Stage,
        situation: Situation,
        calls: usize,
    ) -> Result<Vec<Duration>, String> {
        let mut took = Vec::with_capacity(calls);
        let order = Order::fresh(self.pad_bytes);
        match situation {
            Situation::Fresh => {
                self.call(situation, &order).await?;
                for _ in 0..calls {
                    let order = Order::fresh(self.pad_bytes);
                    took.push(self.call(situation, &order).await?.took);
                }
            }
            Situation::Replay => {
                let first = self.call(Situation::Fresh, &order).await?;
                for again in self.repeat(situation, &order, calls).await? {
                    if again.body != first.body {
                        return Err(format!("{} replays another body", self.contestant.name));
                    }
                    took.push(again.took);
                }
            }
            Situation::Mismatch => {
                self.call(Situation::Fresh, &order).await?;
                let other = order.with_other_body();
                let answers = self.repeat(situation, &other, calls).await?;
                took.extend(answers.iter().map(|answer| answer.took));
            }
            Situation::Conflict => {
                while took.len() < calls {
                    let calls = (calls - took.len()).min(CALLS_OF_A_HOLD);
                    let answers = self.while_held(stage, async |order: &Order| {
                        self.call(situation, order).await?;
                        self.repeat(situation, order, calls).await
                    });
                    took.extend(answers.await?.iter().map(|answer| answer.took));
                }
            }
        }
        Ok(took)
    }

    /// Does something while another process is at an order.
    async fn while_held<T>(
        &self,
        stage: &Stage,
        work: impl AsyncFnOnce(&Order) -> Result<T, String>,
    ) -> Result<T, String> {
        let name = self.contestant.name;
        let Some(holder) = &self.holder else {
            return Err(format!("two processes of {name} do not meet"));
        };
        let order = Order::fresh(self.pad_bytes);
        stage.till.close();
        let call = holder.begin(&order).await;
        let is_heard = stage.till.has_heard_of(&order.key).await;
        let done = match is_heard {
            true => work(&order).await,
            false => Err(format!("the holder of {name} does not come to its work")),
        };
        stage.till.open();
        let held = function::answer(call, HOLDER_LIMIT).await;
        match held.map(|answer| answer.status) {
            Some(201) => done,
            other => done.and(Err(format!("the holder of {name} ends with {other:?}"))),
        }
    }

    /// Sends one request again and again, as it was made once.
    async fn repeat(
        &self,
        situation: Situation,
        order: &Order,
        calls: usize,
    ) -> Result<Vec<Answer>, String> {
        let event = order.event();
        let mut answers = Vec::with_capacity(calls);
        for _ in 0..calls {
            let answer = self.function.send_event(event.clone()).await?;
            answers.push(self.held_to(situation, answer)?);
        }
        Ok(answers)
    }

    async fn call(&self, situation: Situation, order: &Order) -> Result<Answer, String> {
        let answer = self.function.send_event(order.event()).await?;
        self.held_to(situation, answer)
    }

    fn held_to(&self, situation: Situation, answer: Answer) -> Result<Answer, String> {
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
    fn everybody_is_first_in_turn() {
        let orders = [0, 1, 2, 3].map(|round| {
            let mut all = ['a', 'b', 'c'];
            in_turn(&mut all, round).map(|who| *who).collect::<String>()
        });
        assert_eq!(orders, ["abc", "bca", "cab", "abc"]);
    }
}
