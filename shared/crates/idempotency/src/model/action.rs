//! The possible next steps of the model.

use stateright::{Model, Property};

use super::client::Phase;
use super::message::Delivery;
use super::properties::properties;
use super::protocol::{Layout, Protocol};
use super::world::World;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Action {
    /// A client sends its next request.
    Send(usize, Delivery),
    /// The reply to a client's request arrives.
    Receive(usize),
    /// A holder of the key runs its operation.
    Work(usize),
    /// A holder's operation may have taken effect, but its outcome is unknown to the holder.
    Doubt(usize),
    /// A holder's operation had no effect, and the holder releases the key.
    Decline(usize),
    Checkpoint(usize),
    Renew(usize),
    /// A client crashes.
    Crash(usize),
    /// A delayed request arrives.
    Arrive(usize),
    Tick,
    RedisLosesData,
    RedisFallsBack,
    /// MongoDB's TTL index deletes the record.
    Delete,
    /// The primary's writes reach a majority of MongoDB's servers.
    Replicate,
    /// MongoDB's primary is replaced, and writes that only the old primary had are dropped.
    FailOver,
    /// A reconciler reads the record.
    Look,
    /// The reconciler asks the provider, and sends the finding to the store.
    Conclude,
    /// The reconciler reopens the key.
    Reopen,
}

impl Model for Protocol {
    type State = World;
    type Action = Action;

    fn init_states(&self) -> Vec<World> {
        vec![World::new(self)]
    }

    fn actions(&self, world: &World, actions: &mut Vec<Action>) {
        for id in 0..world.clients.len() {
            self.actions_of(world, id, actions);
        }
        actions.extend((0..world.in_flight.len()).map(Action::Arrive));
        if world.now < self.ticks {
            actions.push(Action::Tick);
        }
        if world.faults > 0 && self.redis_loses_data {
            actions.extend([Action::RedisLosesData, Action::RedisFallsBack]);
        }
        let has_ttl_index = self.layout != Layout::RedisAlone;
        if has_ttl_index && world.primary().may_be_deleted(self, world.time()) {
            actions.push(Action::Delete);
        }
        if world.tail.is_some() {
            actions.push(Action::Replicate);
            if world.faults > 0 {
                actions.push(Action::FailOver);
            }
        }
        if world.reconciler.seen.is_some() {
            actions.extend([Action::Conclude, Action::Reopen]);
        } else if world.reconciler.looks_left > 0 && world.is_open(self) {
            actions.push(Action::Look);
        }
    }

    fn next_state(&self, before: &World, action: Action) -> Option<World> {
        let mut world = before.clone();
        match action {
            Action::Send(id, delivery) => {
                if !matches!(delivery, Delivery::Answered | Delivery::Slow) {
                    world.faults -= 1;
                }
                world.send(self, id, delivery);
            }
            Action::Receive(id) => world.receive(self, id),
            Action::Work(id) => world.work(self, id),
            Action::Doubt(id) => world.mark_unknown(self, id),
            Action::Decline(id) => world.decline(self, id),
            Action::Checkpoint(id) => world.checkpoint(self, id),
            Action::Renew(id) => world.renew(self, id),
            Action::Crash(id) => {
                world.faults -= 1;
                world.clients[id].end();
            }
            Action::Arrive(which) => {
                let message = world.in_flight.remove(which);
                world.apply(self, &message);
            }
            Action::Tick => world.tick(self),
            Action::RedisLosesData => {
                world.faults -= 1;
                world.lose_hints();
            }
            Action::RedisFallsBack => {
                world.faults -= 1;
                world.fall_back();
            }
            Action::Delete => world.delete(self),
            Action::Replicate => world.replicate(self),
            Action::FailOver => {
                world.faults -= 1;
                world.fail_over(self);
            }
            Action::Look => world.look(self),
            Action::Conclude => world.conclude(self),
            Action::Reopen => world.reopen(self),
        }
        (world != *before).then_some(world)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        properties(self)
    }
}

impl Protocol {
    fn actions_of(&self, world: &World, id: usize, actions: &mut Vec<Action>) {
        let client = &world.clients[id];
        if client.is_over() {
            return;
        }
        if world.faults > 0 {
            actions.push(Action::Crash(id));
        }
        if let Some(pending) = &client.pending {
            if pending.is_acknowledged {
                actions.push(Action::Receive(id));
            }
            return;
        }
        if let (Phase::Running, Some(held)) = (&client.phase, &client.held) {
            if (held.generation, held.attempt) > world.fence {
                actions.push(Action::Work(id));
                if self.doubts {
                    actions.push(Action::Doubt(id));
                }
            }
            actions.push(Action::Decline(id));
            if held.notes_left > 0 {
                actions.push(Action::Checkpoint(id));
            }
            if held.renewals_left > 0 {
                actions.push(Action::Renew(id));
            }
            return;
        }
        actions.push(Action::Send(id, Delivery::Answered));
        if self.slow_replies {
            actions.push(Action::Send(id, Delivery::Slow));
        }
        if world.faults > 0 {
            for delivery in [Delivery::ReplyLost, Delivery::Lost, Delivery::Late] {
                actions.push(Action::Send(id, delivery));
            }
        }
    }
}
