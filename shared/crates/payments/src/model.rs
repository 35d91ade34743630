//! A model check of payments: the customer is charged at most once, and each answer is true.
//!
//! The search tries every order of the steps of two client attempts, the reconciler, a webhook event and the customer. A limited
//! number of faults may happen:
//!
//! - a request is lost, or arrives after its sender has timed out; a reply is lost,
//! - the provider answers 409, 429 or 500, or prunes an idempotency key,
//! - an operator changes an intent's amount,
//! - a key's record expires.
//!
//! In addition, an attempt can stop between any two steps: forever (a crash) or for a while (a freeze). A stop does not count as a fault.
//! The other attempts do not wait for the stopped attempt.
//!
//! The model runs the real code. Each attempt executes [`Attempt`](super::steps::Attempt) (see [`behaviour`]). The ledger executes
//! [`Change::apply`](super::ledger::Change::apply). The adapter for Stripe reads the provider's errors. Only the provider's state machine,
//! the network, and the engine around an attempt are written for the model. The engine has its own model, `idempotency/model.rs`.
//!
//! A search with a mistake could miss every violation. So the search also runs on code with one planted bug at a time, and has to
//! find each bug.

mod actor;
mod behaviour;
mod message;
mod phase;
mod provider;
mod row;
mod world;

use std::fmt::Write;
use std::time::Instant;

use stateright::{Checker, Expectation, HasDiscoveries, Model, Path, Property};

use self::message::{Delivery, Key};
use self::phase::{Phase, RECONCILER};
use self::provider::Card;
use self::row::IntentNumber;
use self::world::World;
use super::State;
use super::provider::IntentStatus;
use super::steps::Purpose;

/// A protocol to check, and the limits of the search.
#[derive(Clone, Copy, Debug)]
struct Protocol {
    /// The cards. The search has one initial state for each card.
    cards: &'static [Card],
    /// The largest number of faults.
    faults: u8,
    /// How often the reconciler runs.
    reconciler_runs: u8,
    /// How many webhook events the provider sends.
    events: u8,
    /// How often the reconciler reads the key.
    key_looks: u8,
    bug: Option<Bug>,
}

/// A bug to plant in the protocol: a step that the protocol forbids.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Bug {
    /// An attempt confirms the intent that this attempt has created, even if the ledger has another intent.
    OwnIntentConfirmed,
    AttachOverwrites,
    /// The ledger ends a payment as if the payment had no intent, although the row has an intent.
    EndWithoutCompareAndSet,
    CreateConfirms,
    DeclineWithoutCancelling,
    /// An attempt assumes that a cancellation was carried out, although it got no reply.
    LostCancellationAssumed,
    /// An attempt assumes that each cancellation was carried out, even if it was refused.
    CancellationAssumed,
    /// An attempt reads the status 409 as "nothing was done".
    ConflictTreatedAsNotProcessed,
    /// An attempt reads the status 500 as "nothing was done".
    ErrorTreatedAsNotProcessed,
    AmountUnchecked,
    /// An attempt answers that nothing was done, although another attempt may have confirmed.
    ConcurrencyIgnored,
    /// An attempt answers that nothing was done, although its release was not acknowledged.
    ReleaseUnacknowledged,
    ReconcilerConfirms,
    /// The reconciler leaves an old payment open, as if the payment were young.
    OldPaymentLeftOpen,
    /// The attempt after a reopening assumes that no other attempt is running.
    ReopenedWithoutTakeover,
    /// Each attempt renders a final response, and ignores the bytes in the ledger.
    AnswerRenderedByEach,
}

// The invariants.
const CHARGED_ONCE: &str = "the customer is charged at most once";
const NOT_CHARGED_IS_TRUE: &str =
    "no payment ends as not charged while a charge exists or can still come";
const CHARGED_IS_TRUE: &str =
    "a payment ends as charged only if its intent was charged with the order's amount";
const FINAL: &str = "a final response never changes";
const ONE_ANSWER: &str = "every client gets the final response that the ledger has";
const NAMED: &str = "only the intent that the ledger names is confirmed";
const RECONCILING: &str = "reconciling confirms nothing";
const NOTHING_IS_TRUE: &str =
    "no client is answered that nothing was done while an attempt may have charged";
const ENDS: &str = "an undisturbed run of the reconciler ends an old payment";

/// A transition of the model.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Action {
    /// A client's attempt, a run of the reconciler or the processing of an event begins.
    Begin(usize, Purpose),
    /// An actor sends its next request.
    Send(usize, Delivery),
    /// A late request arrives, after its sender has timed out.
    Arrive(usize),
    /// The customer authenticates, or a charge that is being processed succeeds.
    Succeed(IntentNumber),
    /// The customer fails to authenticate, or a charge that is being processed fails.
    Fail(IntentNumber),
    /// After the authentication has failed, the customer's browser confirms with another card.
    RetryInBrowser(IntentNumber),
    /// The provider forgets an idempotency key.
    PruneKey,
    /// The idempotency store forgets a finished key.
    ExpireKey,
    /// An operator changes the amount of an intent.
    Misprice(IntentNumber),
    /// The reconciler reads an unfinished key and the payment of that key in the ledger.
    LookAtKey,
    /// The reconciler finishes or reopens the key that it has read.
    FinishKey,
}

impl Model for Protocol {
    type State = World;
    type Action = Action;

    fn init_states(&self) -> Vec<World> {
        let worlds = self.cards.iter();
        worlds.map(|card| World::new(self, *card)).collect()
    }

    fn actions(&self, world: &World, actions: &mut Vec<Action>) {
        for who in 0..world.actors.len() {
            let purposes = world.purposes(who).into_iter();
            actions.extend(purposes.map(|purpose| Action::Begin(who, purpose)));
            if let Some(message) = world.message(self, who) {
                actions.push(Action::Send(who, Delivery::Answered));
                if world.faults > 0 {
                    let faulty = message.faulty_deliveries().iter();
                    actions.extend(faulty.map(|delivery| Action::Send(who, *delivery)));
                }
            }
        }
        actions.extend((0..world.in_flight.len()).map(Action::Arrive));
        if world.faults > 0 && world.provider.can_prune() {
            actions.push(Action::PruneKey);
        }
        if world.faults > 0 && world.key.can_expire() {
            actions.push(Action::ExpireKey);
        }
        if world.schedule.looks_left > 0 && world.unfinished_key().is_some() {
            actions.push(Action::LookAtKey);
        }
        if world.schedule.found.is_some() {
            actions.push(Action::FinishKey);
        }
        for (number, intent) in (0..).zip(&world.provider.intents) {
            if intent.is_under_way() {
                actions.extend([Action::Succeed(number), Action::Fail(number)]);
            }
            if world.provider.customer_can_retry(number) {
                actions.push(Action::RetryInBrowser(number));
            }
            if world.faults > 0 && intent.can_be_mispriced() {
                actions.push(Action::Misprice(number));
            }
        }
    }

    fn next_state(&self, before: &World, action: Action) -> Option<World> {
        let mut world = before.clone();
        let is_the_reconcilers = action == Action::Send(RECONCILER, Delivery::Answered);
        world.closes_undisturbed &= is_the_reconcilers;
        match action {
            Action::Begin(who, purpose) => world.begin(self, who, purpose),
            Action::Send(who, delivery) => world.send(self, who, delivery),
            Action::Arrive(which) => {
                let message = world.in_flight.remove(which);
                world.carry_out(self, message);
            }
            Action::Succeed(number) | Action::RetryInBrowser(number) => {
                world.provider.charge(number);
            }
            Action::Fail(number) => world.provider.decline(number),
            Action::PruneKey => {
                world.faults -= 1;
                world.provider.prune();
            }
            Action::ExpireKey => {
                world.faults -= 1;
                world.key = Key::Absent;
                world.end_attempts();
            }
            Action::Misprice(number) => {
                world.faults -= 1;
                world.provider.misprice(number);
            }
            Action::LookAtKey => {
                world.schedule.looks_left -= 1;
                world.schedule.found = world.unfinished_key();
            }
            Action::FinishKey => world.finish_key(),
        }
        (world != *before).then_some(world)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(CHARGED_ONCE, |_, world: &World| world.provider.charges <= 1),
            Property::always(NOT_CHARGED_IS_TRUE, |_, world: &World| {
                !world.contradicts_a_charge()
            }),
            Property::always(CHARGED_IS_TRUE, |_, world: &World| {
                !world.records_a_missing_charge()
            }),
            Property::always(FINAL, |_, world: &World| !world.changed_an_answer),
            Property::always(ONE_ANSWER, |_, world: &World| {
                !world.contradicted_the_ledger
            }),
            Property::always(NAMED, |_, world: &World| !world.confirmed_unnamed),
            Property::always(RECONCILING, |_, world: &World| !world.reconciling_confirmed),
            Property::always(NOTHING_IS_TRUE, |_, world: &World| {
                !world.answered_nothing_done_wrongly
            }),
            Property::always(ENDS, |_, world: &World| !world.is_stuck),
            Property::sometimes("a payment succeeds", |_, world: &World| {
                world.is_final(State::Succeeded)
            }),
            Property::sometimes("a payment is declined", |_, world: &World| {
                world.is_final(State::Declined)
            }),
            Property::sometimes("a payment is closed", |_, world: &World| {
                world.is_final(State::Failed) && world.provider.charges == 0
            }),
            Property::sometimes("the customer authenticates", |_, world: &World| {
                world.provider.card == Card::RequiresAction && world.is_final(State::Succeeded)
            }),
            Property::sometimes(
                "an attempt continues where another one stopped",
                |_, world: &World| {
                    let is_stopped = matches!(world.actors[0].phase, Phase::Running { .. });
                    is_stopped && world.actors[1].has_begun() && world.is_final(State::Succeeded)
                },
            ),
            Property::sometimes(
                "a payment is charged after another attempt did nothing",
                |_, world: &World| world.answered_nothing_done && world.provider.charges == 1,
            ),
            Property::sometimes(
                "an attempt runs after a reopening",
                |protocol: &Self, world: &World| {
                    protocol.key_looks == 0
                        || world.schedule.has_reopened && world.is_final(State::Succeeded)
                },
            ),
            Property::sometimes("an intent is left unconfirmed", |_, world: &World| {
                let left =
                    |intent: &provider::Intent| intent.status == IntentStatus::RequiresConfirmation;
                world.is_final(State::Succeeded) && world.provider.intents.iter().any(left)
            }),
        ]
    }
}

impl Protocol {
    /// Only the client's attempts.
    const CLIENT: Self = Self {
        cards: &Card::ALL,
        reconciler_runs: 0,
        events: 0,
        key_looks: 0,
        faults: 2,
        bug: None,
    };

    /// The client's attempts and the reconciler.
    const RECONCILED: Self = Self {
        reconciler_runs: 1,
        faults: 0,
        ..Self::CLIENT
    };

    /// The client's attempts, and the reconciler that finishes abandoned keys.
    const WITH_KEYS: Self = Self {
        key_looks: 1,
        faults: 1,
        ..Self::CLIENT
    };

    /// The cards of payments with the fewest steps.
    const QUICK_CARDS: [Card; 3] = [
        Card::Charges,
        Card::RefusesFirst,
        Card::RefusesCreationFirst,
    ];

    /// Further searches. Only an optimised build (`make model`) runs them.
    const FURTHER: [Self; 7] = [
        Self {
            faults: 3,
            ..Self::WITH_KEYS
        },
        Self {
            reconciler_runs: 1,
            faults: 1,
            ..Self::WITH_KEYS
        },
        Self {
            faults: 4,
            ..Self::CLIENT
        },
        Self {
            events: 1,
            faults: 1,
            ..Self::CLIENT
        },
        Self {
            faults: 1,
            ..Self::RECONCILED
        },
        Self {
            cards: &Self::QUICK_CARDS,
            faults: 3,
            ..Self::RECONCILED
        },
        Self {
            faults: 2,
            ..Self::RECONCILED
        },
    ];

    /// Explores every state. If a state violates a property, fails with a shortest trace to such a state.
    fn check(self, least_states: usize) {
        let began = Instant::now();
        let checker = self
            .checker()
            .threads(2)
            .finish_when(HasDiscoveries::AnyFailures)
            .spawn_bfs()
            .join();
        print(&format!(
            "2 attempts, {} cards, {} runs of the reconciler, {} events, {} looks at the key, {} faults: {} states in {:.1?}",
            self.cards.len(),
            self.reconciler_runs,
            self.events,
            self.key_looks,
            self.faults,
            checker.unique_state_count(),
            began.elapsed()
        ));
        for property in self.properties() {
            let discovery = checker.discovery(property.name);
            match (property.expectation, discovery) {
                (Expectation::Always, Some(path)) => {
                    panic!("{} does not hold:\n{}", property.name, self.trace(path));
                }
                (Expectation::Sometimes, None) if self.is_varied() => {
                    panic!("{} never happens", property.name);
                }
                _ => {}
            }
        }
        assert!(checker.unique_state_count() >= least_states);
    }

    /// Whether the search is large enough to find an example of each property that has to hold in some state.
    fn is_varied(self) -> bool {
        self.faults > 0 && self.cards.len() == Card::ALL.len()
    }

    /// Whether some trace violates this property.
    fn violates(self, property: &'static str) -> bool {
        let checker = self
            .checker()
            .threads(2)
            .finish_when(HasDiscoveries::AnyOf([property].into()))
            .spawn_bfs()
            .join();
        checker.discovery(property).is_some()
    }

    /// The steps of a trace. Each line has one step and its request.
    fn trace(&self, path: Path<World, Action>) -> String {
        let mut trace = String::new();
        for (world, action) in path.into_vec() {
            let Some(action) = action else {
                writeln!(trace, "{world:#?}").expect("a string accepts every write");
                continue;
            };
            let message = match action {
                Action::Send(who, _) => world.message(self, who),
                Action::Arrive(which) => Some(world.in_flight[which]),
                _ => None,
            };
            writeln!(trace, "{action:?} {message:?}").expect("a string accepts every write");
        }
        trace
    }
}

#[expect(
    clippy::print_stdout,
    reason = "how far a search went is part of its result"
)]
fn print(line: &str) {
    println!("{line}");
}

#[test]
fn two_attempts_under_faults_charge_once_and_answer_truly() {
    Protocol::CLIENT.check(100_000);
}

#[test]
fn two_attempts_and_the_reconciler_charge_once_and_answer_truly() {
    Protocol::RECONCILED.check(50_000);
    let disturbed = Protocol {
        cards: &Protocol::QUICK_CARDS,
        faults: 1,
        ..Protocol::RECONCILED
    };
    disturbed.check(100_000);
}

#[test]
fn finishing_and_reopening_keys_charges_once_and_answers_truly() {
    Protocol::WITH_KEYS.check(100_000);
}

#[test]
fn more_faults_charge_once_and_answer_truly() {
    if cfg!(debug_assertions) {
        return;
    }
    for protocol in Protocol::FURTHER {
        protocol.check(1_000_000);
    }
}

#[test]
fn each_planted_bug_is_found() {
    use Card::{Charges, DeclinesFirst, RefusesCreationFirst, RequiresAction};
    let planted = [
        (Bug::OwnIntentConfirmed, Charges, NAMED),
        (Bug::OwnIntentConfirmed, Charges, CHARGED_ONCE),
        (Bug::AttachOverwrites, Charges, CHARGED_ONCE),
        (Bug::CreateConfirms, Charges, CHARGED_ONCE),
        (
            Bug::EndWithoutCompareAndSet,
            RefusesCreationFirst,
            NOT_CHARGED_IS_TRUE,
        ),
        (Bug::EndWithoutCompareAndSet, RefusesCreationFirst, FINAL),
        (
            Bug::DeclineWithoutCancelling,
            DeclinesFirst,
            NOT_CHARGED_IS_TRUE,
        ),
        (Bug::LostCancellationAssumed, Charges, NOT_CHARGED_IS_TRUE),
        (
            Bug::CancellationAssumed,
            RequiresAction,
            NOT_CHARGED_IS_TRUE,
        ),
        (Bug::ConflictTreatedAsNotProcessed, Charges, NOTHING_IS_TRUE),
        (Bug::ErrorTreatedAsNotProcessed, Charges, NOTHING_IS_TRUE),
        (Bug::AmountUnchecked, Charges, CHARGED_IS_TRUE),
        (Bug::ConcurrencyIgnored, Charges, NOTHING_IS_TRUE),
        (Bug::ReleaseUnacknowledged, Charges, NOTHING_IS_TRUE),
        (Bug::AnswerRenderedByEach, Charges, ONE_ANSWER),
        (Bug::ReconcilerConfirms, Charges, RECONCILING),
        (Bug::ReconcilerConfirms, Charges, NOTHING_IS_TRUE),
        (Bug::OldPaymentLeftOpen, Charges, ENDS),
        (Bug::ReopenedWithoutTakeover, Charges, NOTHING_IS_TRUE),
    ];
    for (bug, card, property) in planted {
        let began = Instant::now();
        let is_the_reconcilers = matches!(bug, Bug::ReconcilerConfirms | Bug::OldPaymentLeftOpen);
        let protocol = Protocol {
            cards: std::slice::from_ref(Card::ALL.iter().find(|one| **one == card).expect("one")),
            reconciler_runs: is_the_reconcilers.into(),
            key_looks: (bug == Bug::ReopenedWithoutTakeover).into(),
            bug: Some(bug),
            ..Protocol::CLIENT
        };
        assert!(protocol.violates(property), "{bug:?} was not found");
        print(&format!("{bug:?} in {:.1?}: {property}", began.elapsed()));
    }
}
