//! Does the protocol hold, whatever fails, whenever?
//!
//! Every order of the steps of two or three clients, a reconciler, time, and a few faults is tried out, state by state: a
//! process dies between any two steps, a request is lost or arrives after its sender has given up, a reply is lost, Redis
//! loses its data or falls back to an older state. The stores decide by the functions they really decide by
//! (`decision`); what is modelled here is the network, the clients' steps, and Redis's hints.
//!
//! A checker that finds nothing proves little until it has found something: the same search, over the protocol with one
//! bug planted, finds each of them.

mod client;
mod world;

use std::time::Instant;

use stateright::{Checker, Model, Property};

use client::Phase;
use world::{Delivery, Message, World};

/// A protocol to check, and how far.
#[derive(Clone, Copy, Debug)]
struct Protocol {
    layout: Layout,
    policy: super::Policy,
    clients: u8,
    /// How many faults may happen.
    faults: u8,
    /// How often the clock may tick; a lease lasts one tick.
    ticks: u64,
    /// How many notes each client may leave while it is at work.
    notes: u8,
    /// Whether Redis may lose its data.
    redis_loses_data: bool,
    bug: Option<Bug>,
}

/// Which stores take part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Layout {
    Tiered,
    /// The store that decides is Redis, and nothing is in front of it.
    RedisAlone,
}

/// What the protocol forbids, done all the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Bug {
    WorkOnAnAbsentRecord,
    UnfencedComplete,
    BlindTakeover,
    CompleteToBothAtOnce,
    FinalWithoutAcknowledgement,
    SettleKeepsTheOwner,
    ReleasedForALiveOwner,
    ReleaseDeletes,
    UnfinishedReplacesAResult,
    LoserRewritesRedis,
    RecordExpiresWithItsLease,
    NoteOverALaterOne,
}

/// What happens next.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Action {
    /// A client sends its next request, which fares so.
    Send(usize, Delivery),
    /// A client whose claim was acknowledged does its work.
    Work(usize),
    /// It notes something for whoever comes after it.
    Note(usize),
    /// It says that nothing happened, and does nothing.
    Decline(usize),
    /// Its process ends.
    Die(usize),
    /// A request arrives whose sender has given up.
    Arrive(usize),
    Tick,
    RedisLosesData,
    RedisFallsBack,
    SettleCompleted,
    SettleReleased,
}

impl Model for Protocol {
    type State = World;
    type Action = Action;

    fn init_states(&self) -> Vec<World> {
        vec![World::new(self)]
    }

    fn actions(&self, world: &World, actions: &mut Vec<Action>) {
        for (who, client) in world.clients.iter().enumerate() {
            match client.phase {
                Phase::Over => continue,
                Phase::AtWork { attempt } => {
                    if attempt > world.fence {
                        actions.push(Action::Work(who));
                    }
                    actions.push(Action::Decline(who));
                    if client.may_note() {
                        actions.push(Action::Note(who));
                    }
                }
                _ => {
                    actions.push(Action::Send(who, Delivery::Answered));
                    if world.faults > 0 {
                        for delivery in [Delivery::ReplyLost, Delivery::Refused, Delivery::Late] {
                            actions.push(Action::Send(who, delivery));
                        }
                    }
                }
            }
            if world.faults > 0 {
                actions.push(Action::Die(who));
            }
        }
        actions.extend((0..world.in_flight.len()).map(Action::Arrive));
        if world.now < self.ticks {
            actions.push(Action::Tick);
        }
        if world.faults > 0 && self.redis_loses_data {
            actions.extend([Action::RedisLosesData, Action::RedisFallsBack]);
        }
        if world.is_open() {
            actions.extend([Action::SettleCompleted, Action::SettleReleased]);
        }
    }

    fn next_state(&self, before: &World, action: Action) -> Option<World> {
        let mut world = before.clone();
        match action {
            Action::Send(who, delivery) => {
                if delivery != Delivery::Answered {
                    world.faults -= 1;
                }
                world.send(self, who, delivery);
            }
            Action::Work(who) => world.work(self, who),
            Action::Decline(who) => world.decline(who),
            Action::Note(who) => world.note(who),
            Action::Die(who) => {
                world.faults -= 1;
                world.clients[who].phase = Phase::Over;
                world.deaths += 1;
            }
            Action::Arrive(which) => {
                let message: Message = world.in_flight.remove(which);
                world.apply(self, &message);
            }
            Action::Tick => world.tick(self),
            Action::RedisLosesData => {
                world.faults -= 1;
                world.lose_redis(self, None);
            }
            Action::RedisFallsBack => {
                world.faults -= 1;
                world.fall_back(self);
            }
            Action::SettleCompleted => world.settle_completed(self),
            Action::SettleReleased => world.settle_released(self),
        }
        (world != *before).then_some(world)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("work runs at most once", |model: &Self, world: &World| {
                world.executions <= 1
                    || model.policy != super::Policy::AtMostOnce
                    || (model.layout == Layout::RedisAlone && world.has_lost_data)
            }),
            Property::always(
                "nobody is told two things",
                |model: &Self, world: &World| {
                    world.told.len() <= 1
                        || (model.layout == Layout::RedisAlone && world.has_lost_data)
                },
            ),
            Property::always(
                "a result is never replaced",
                |model: &Self, world: &World| {
                    world.results.len() <= 1
                        || (model.layout == Layout::RedisAlone && world.has_lost_data)
                },
            ),
            Property::always(
                "what is told is what is stored",
                |model: &Self, world: &World| {
                    world
                        .told
                        .iter()
                        .all(|answer| world.results.contains(answer))
                        || (model.layout == Layout::RedisAlone && world.has_lost_data)
                },
            ),
            Property::always(
                "redis holds no result that is not acknowledged",
                |_: &Self, world: &World| {
                    world
                        .hinted_result()
                        .is_none_or(|answer| world.results.contains(&answer))
                },
            ),
            Property::always(
                "what was noted stays noted",
                |model: &Self, world: &World| {
                    !world.has_forgotten_a_note()
                        || (model.layout == Layout::RedisAlone && world.has_lost_data)
                },
            ),
            Property::always("who was settled is told so", |_: &Self, world: &World| {
                !world.missed_a_settlement
            }),
            Property::always(
                "nothing takes a result out of redis",
                |_: &Self, world: &World| !world.lost_a_result,
            ),
            Property::always(
                "attempts and writings are never counted back",
                |_: &Self, world: &World| !world.counted_back,
            ),
            Property::always(
                "what nothing disturbs comes to an end",
                |model: &Self, world: &World| {
                    let is_undisturbed = world.faults == model.faults && world.now == 0;
                    let is_over = world
                        .clients
                        .iter()
                        .all(|client| client.phase == Phase::Over);
                    !is_undisturbed || !is_over || world.is_finished()
                },
            ),
            Property::sometimes(
                "a repetition is told the result",
                |_: &Self, world: &World| world.replays > 0,
            ),
            Property::sometimes(
                "a release lets another one work",
                |_: &Self, world: &World| world.declined > 0 && world.executions == 1,
            ),
            Property::sometimes(
                "an attempt ends without a word",
                |_: &Self, world: &World| world.unknowns > 0 || world.executions > 1,
            ),
        ]
    }
}

impl Protocol {
    /// MongoDB behind Redis, which may lose its data.
    const TIERED: Self = Self {
        layout: Layout::Tiered,
        policy: super::Policy::AtMostOnce,
        clients: 2,
        faults: 2,
        ticks: 2,
        notes: 0,
        redis_loses_data: true,
        bug: None,
    };

    /// Redis alone, which keeps its data.
    const REDIS_ALONE: Self = Self {
        layout: Layout::RedisAlone,
        redis_loses_data: false,
        ..Self::TIERED
    };

    fn with(self, bug: Bug) -> Self {
        Self {
            bug: Some(bug),
            ..self
        }
    }

    fn rerun(self) -> Self {
        Self {
            policy: super::Policy::RerunAlways,
            ..self
        }
    }

    /// One client after the other, each of which leaves two notes.
    fn with_notes(self) -> Self {
        Self {
            notes: 2,
            ticks: 1,
            faults: if cfg!(debug_assertions) { 1 } else { 2 },
            ..self.rerun()
        }
    }

    /// With three clients and one fault; in an optimised build (`make model`), with more time and more faults too.
    fn at_length(self) -> Vec<Self> {
        let three_clients = Self {
            clients: 3,
            faults: 1,
            ticks: 1,
            ..self
        };
        if cfg!(debug_assertions) {
            return vec![three_clients];
        }
        let more_time = Self {
            ticks: 2,
            ..three_clients
        };
        let more_faults = Self { faults: 3, ..self };
        vec![more_time, more_faults]
    }

    /// Explores everything, and fails with the shortest trace there is where a property does not hold.
    fn holds(self, least_states: usize) {
        let began = Instant::now();
        let checker = self.checker().threads(2).spawn_bfs().join();
        say(&format!(
            "{:?}, {:?}, {} clients, {} faults: {} states in {:.1?}",
            self.layout,
            self.policy,
            self.clients,
            self.faults,
            checker.unique_state_count(),
            began.elapsed()
        ));
        checker.assert_properties();
        assert!(checker.unique_state_count() >= least_states);
    }

    /// Looks for a counterexample, and returns the names of the properties that have one.
    fn broken(self) -> Vec<&'static str> {
        let checker = self
            .checker()
            .threads(2)
            .finish_when(stateright::HasDiscoveries::AnyFailures)
            .spawn_bfs()
            .join();
        let is_broken = |name: &&'static str| checker.discovery(name).is_some();
        let always = self
            .properties()
            .into_iter()
            .filter(|property| matches!(property.expectation, stateright::Expectation::Always));
        always
            .map(|property| property.name)
            .filter(is_broken)
            .collect()
    }
}

#[expect(
    clippy::print_stdout,
    reason = "how far the search went is its result as much as that it found nothing"
)]
fn say(line: &str) {
    println!("{line}");
}

#[test]
fn tiered_work_runs_at_most_once_under_every_fault() {
    Protocol::TIERED.holds(1_000);
    for protocol in Protocol::TIERED.at_length() {
        protocol.holds(10_000);
    }
}

#[test]
fn tiered_work_that_resumes_gives_one_answer_under_every_fault() {
    let one_fault = Protocol {
        faults: 1,
        ..Protocol::TIERED
    };
    one_fault.rerun().holds(1_000);
    for protocol in Protocol::TIERED.rerun().at_length() {
        protocol.holds(10_000);
    }
}

#[test]
fn redis_alone_runs_work_at_most_once_while_it_keeps_its_data() {
    Protocol::REDIS_ALONE.holds(1_000);
    for protocol in Protocol::REDIS_ALONE.at_length() {
        protocol.holds(5_000);
    }
    Protocol::REDIS_ALONE.rerun().holds(1_000);
}

#[test]
fn what_was_noted_stays_noted_under_every_fault() {
    for protocol in [Protocol::TIERED, Protocol::REDIS_ALONE] {
        protocol.with_notes().holds(10_000);
    }
}

#[test]
fn each_planted_bug_is_found() {
    let (tiered, alone) = (Protocol::TIERED, Protocol::REDIS_ALONE);
    let planted = [
        (tiered, Bug::WorkOnAnAbsentRecord),
        (tiered.rerun(), Bug::UnfencedComplete),
        (tiered.rerun(), Bug::BlindTakeover),
        (tiered.rerun(), Bug::CompleteToBothAtOnce),
        (tiered.rerun(), Bug::FinalWithoutAcknowledgement),
        (tiered, Bug::SettleKeepsTheOwner),
        (tiered, Bug::ReleasedForALiveOwner),
        (tiered, Bug::ReleaseDeletes),
        (tiered, Bug::UnfinishedReplacesAResult),
        (tiered, Bug::LoserRewritesRedis),
        (alone, Bug::RecordExpiresWithItsLease),
        (tiered.with_notes(), Bug::NoteOverALaterOne),
        (alone.with_notes(), Bug::NoteOverALaterOne),
    ];
    for (protocol, bug) in planted {
        let broken = protocol.with(bug).broken();
        say(&format!("{bug:?}: {broken:?}"));
        assert!(!broken.is_empty(), "{bug:?} was not found");
    }
}
