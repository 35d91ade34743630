//! The properties that must hold in every state, and the steps that a search must reach at least once.

use stateright::Property;

use super::answer::Answer;
use super::protocol::{Beginning, Layout, Protocol};
use super::world::{Violation, Witness, World};
use crate::Policy;

pub(super) fn properties(protocol: &Protocol) -> Vec<Property<Protocol>> {
    let mut properties = rules();
    properties.extend(forbidden_steps());
    properties.extend(coverage(protocol));
    properties
}

fn rules() -> Vec<Property<Protocol>> {
    vec![
        Property::always(
            "an operation runs at most once in a generation",
            |protocol: &Protocol, world: &World| {
                protocol.policy != Policy::AtMostOnce
                    || world.executions.iter().all(|executions| *executions <= 1)
            },
        ),
        Property::always(
            "one request is executed in a generation",
            |_: &Protocol, world: &World| {
                is_one_each(world.executed.iter().map(|(generation, _)| *generation))
            },
        ),
        Property::always(
            "one response per generation",
            |_: &Protocol, world: &World| {
                is_one_each(world.responses.iter().map(|answer| answer.generation))
            },
        ),
        Property::always(
            "a result is not replaced within its retention",
            |_: &Protocol, world: &World| {
                is_one_each(world.results.iter().map(|answer| answer.generation))
            },
        ),
        Property::always(
            "every response is a stored result",
            |_: &Protocol, world: &World| world.responses.is_subset(&world.results),
        ),
        Property::always(
            "redis holds only acknowledged results",
            |_: &Protocol, world: &World| {
                world.hinted_result().is_none_or(|answer: Answer| {
                    answer.generation <= world.ended || world.results.contains(&answer)
                })
            },
        ),
        Property::always(
            "an acknowledged checkpoint is never lost",
            |_: &Protocol, world: &World| {
                world.acknowledged.record.as_ref().is_none_or(|record| {
                    record.is_completed()
                        || record.checkpoint.first().copied().unwrap_or(0) >= world.last_checkpoint
                })
            },
        ),
        Property::always(
            "no holder assumes a longer lease than stored",
            |protocol: &Protocol, world: &World| {
                protocol.renewals == 0
                    || (0..world.clients.len()).all(|id| {
                        let held = world.clients[id].held.as_ref();
                        held.zip(world.stored_lease_end(protocol, id))
                            .is_none_or(|(held, stored)| held.ends <= stored)
                    })
            },
        ),
        Property::always(
            "undisturbed clients finish the record",
            |protocol: &Protocol, world: &World| {
                let is_undisturbed = world.faults == protocol.faults && world.now == 0;
                let is_over = world.clients.iter().all(super::client::Client::is_over);
                protocol.doubts || !is_undisturbed || !is_over || world.is_finished()
            },
        ),
    ]
}

fn forbidden_steps() -> Vec<Property<Protocol>> {
    macro_rules! never {
        ($($name:literal: $violation:ident,)*) => {
            vec![$(Property::always($name, |_: &Protocol, world: &World| {
                !world.violations.contains(&Violation::$violation)
            }),)*]
        };
    }
    never! {
        "a resolved attempt is superseded": MissedResolution,
        "only a released key changes its request": ChangedRequest,
        "a result is stored in the generation of its execution": MisplacedResult,
        "no resolution releases a running lease": ReleasedRunningLease,
        "attempts and revisions never decrease": Decreased,
        "no client receives the result of another request": WrongResponse,
        "redis reports a mismatch only from the result of another request": FalseMismatch,
        "redis replays no result past its retention": StaleReplay,
        "an acknowledged renewal was written during its call": EmptyRenewal,
        "no message removes a result from redis": LostResult,
        "no older result replaces a newer one in redis": OlderResult,
    }
}

/// The steps that a search must reach at least once. Without them, the search would miss cases in which a
/// property could fail.
fn coverage(protocol: &Protocol) -> Vec<Property<Protocol>> {
    macro_rules! once {
        ($witness:ident) => {
            Property::sometimes(stringify!($witness), |_: &Protocol, world: &World| {
                world.witnessed.contains(&Witness::$witness)
            })
        };
    }
    let mut seen = Vec::new();
    if protocol.clients > protocol.requests {
        seen.push(once!(Replay));
    }
    let ends = protocol.retention <= protocol.ticks;
    if protocol.requests > 1 {
        seen.push(once!(Mismatch));
    }
    if protocol.policy == Policy::AtMostOnce
        && protocol.beginning == Beginning::Nothing
        && protocol.clients > 1
    {
        seen.push(once!(Unknown));
    }
    if protocol.resolutions > 0 {
        seen.push(once!(Resolution));
        if protocol.policy == Policy::RerunAlways {
            seen.push(once!(Reopening));
        }
    }
    if protocol.lags {
        seen.push(once!(Rollback));
    }
    if ends && protocol.layout != Layout::RedisAlone {
        seen.push(once!(Deletion));
    }
    if ends {
        seen.push(Property::sometimes(
            "a key is free after its retention",
            |_: &Protocol, world: &World| world.was_executed(1) && world.was_executed(2),
        ));
    }
    if protocol.clients > 1 && protocol.beginning == Beginning::Nothing {
        seen.push(Property::sometimes(
            "a release lets another client run",
            |_: &Protocol, world: &World| {
                world.witnessed.contains(&Witness::Decline) && world.was_executed(1)
            },
        ));
    }
    seen
}

/// Whether each generation occurs at most once. The generations come in ascending order.
fn is_one_each(generations: impl Iterator<Item = u8>) -> bool {
    generations.is_sorted_by(|one, next| one < next)
}
