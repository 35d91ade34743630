//! A model check of the protocol. It searches for a violation in every order of steps and faults.
//!
//! The search goes through all states that the model can reach. It tries every order of the steps of up to three
//! clients and a reconciler, clock ticks, and a few faults. A process crashes between any two steps. A request is lost,
//! or arrives after its sender has given up. A reply is lost or delayed. Redis loses its data or falls back to an older
//! state. MongoDB fails over and drops writes that no majority has. Retentions end and records are deleted. One search
//! over all of this would not finish, so each configuration of [`Protocol`] covers one part.
//!
//! The modelled stores call production functions: `decision` for records, and `store/hints/rules.rs` for the Redis
//! cache in front of MongoDB. The other parts are modelled by hand: the commands of that cache
//! (`store/hints/simulated.rs`), the network, the clients' steps, time, and MongoDB's filters and replication. Clocks
//! that go back, and claims in flight for a whole retention, are not modelled.
//!
//! Executions and responses are counted per *generation* of a key. The first claim of a key starts a generation. The
//! first claim after the retention of a finished record starts another generation. Within a generation, an operation
//! runs at most once under `AtMostOnce`, all final responses are the same, and a result is not replaced.
//!
//! A search without a violation proves little, because the search may be unable to find one. So the same search also
//! runs on protocols with one planted bug each, and has to find each bug.

mod action;
mod answer;
mod bug;
mod client;
mod front;
mod identity;
mod message;
mod planted;
mod properties;
mod protocol;
mod reaction;
mod reconciler;
mod request;
mod search;
mod seen;
mod store;
mod stored;
mod world;
mod writes;

use protocol::{Layout, Protocol};

/// Whether the build is optimised (`make model`). An optimised build has time for more searches than `make test`.
const AT_LENGTH: bool = !cfg!(debug_assertions);

/// Searches the protocols of `always`. An optimised build also searches the protocols of `at_length`.
fn search<const N: usize, const M: usize>(always: [Protocol; N], at_length: [Protocol; M]) {
    for protocol in always {
        protocol.holds();
    }
    if AT_LENGTH {
        for protocol in at_length {
            protocol.holds();
        }
    }
}

#[test]
fn tiered_operations_run_at_most_once_under_every_fault() {
    let tiered = Protocol::TIERED;
    search(
        [tiered],
        [
            Protocol {
                resolutions: 1,
                ..tiered
            },
            Protocol {
                faults: 3,
                ..tiered
            },
            Protocol {
                clients: 3,
                faults: 1,
                ..tiered
            },
        ],
    );
}

#[test]
fn tiered_operations_that_resume_give_one_response_under_every_fault() {
    let tiered = Protocol::TIERED.rerun();
    search(
        [Protocol {
            faults: 1,
            ..tiered
        }],
        [
            tiered,
            Protocol {
                clients: 3,
                faults: 1,
                ticks: 1,
                ..tiered
            },
        ],
    );
}

#[test]
fn two_requests_never_share_a_response() {
    let two = Protocol::TWO_REQUESTS;
    search(
        [
            Protocol { faults: 0, ..two },
            Protocol { clients: 2, ..two }.rerun(),
        ],
        [two, Protocol { ticks: 2, ..two }.rerun()],
    );
}

#[test]
fn redis_alone_runs_operations_at_most_once_while_it_keeps_its_data() {
    let alone = Protocol::REDIS_ALONE;
    search(
        [alone, Protocol { faults: 1, ..alone }.rerun()],
        [
            alone.rerun(),
            Protocol {
                clients: 3,
                faults: 1,
                ..alone
            },
        ],
    );
}

#[test]
fn an_acknowledged_checkpoint_is_never_lost() {
    let notes = Protocol::NOTES;
    let in_redis = Protocol {
        layout: Layout::RedisAlone,
        ..notes
    };
    search(
        [notes, in_redis],
        [notes, in_redis].map(|notes| Protocol { faults: 2, ..notes }),
    );
}

#[test]
fn no_holder_assumes_a_longer_lease_than_stored() {
    let renewals = Protocol::RENEWALS;
    let in_redis = Protocol {
        layout: Layout::RedisAlone,
        ..renewals
    };
    search(
        [renewals, in_redis],
        [renewals, in_redis].map(|renewals| Protocol {
            clients: 2,
            faults: 1,
            ..renewals
        }),
    );
}

#[test]
fn a_key_is_free_after_its_retention_and_not_before() {
    let (retention, in_front) = (Protocol::RETENTION, Protocol::RETENTION_IN_FRONT);
    let (from_nothing, in_redis) = (
        Protocol::RETENTION_FROM_NOTHING,
        Protocol::RETENTION_IN_REDIS,
    );
    search(
        [
            retention,
            in_front,
            from_nothing,
            from_nothing.rerun(),
            in_redis,
        ],
        [
            Protocol {
                faults: 2,
                ticks: 4,
                ..retention
            },
            Protocol {
                faults: 2,
                ticks: 4,
                ..in_front
            },
            Protocol {
                clients: 3,
                ..from_nothing
            },
            Protocol {
                faults: 1,
                ..from_nothing
            },
            Protocol {
                ticks: 4,
                ..in_redis
            },
        ],
    );
}

#[test]
fn redis_never_replaces_a_newer_result_at_any_clock_difference() {
    let late = Protocol::REDIS_FAR_BEHIND;
    search([late], [Protocol { faults: 2, ..late }]);
}

#[test]
fn a_late_resolution_changes_only_the_record_that_was_read() {
    let resolving = Protocol::RESOLVING;
    search(
        [resolving, resolving.rerun()],
        [
            Protocol {
                ticks: 3,
                doubts: true,
                ..resolving
            },
            Protocol {
                faults: 1,
                ..resolving
            },
            Protocol {
                layout: Layout::RedisAlone,
                faults: 1,
                ..resolving
            },
        ],
    );
}

#[test]
fn a_failover_loses_no_write_that_was_acted_on() {
    let failover = Protocol::FAILOVER;
    let and_retention = Protocol::FAILOVER_AND_RETENTION;
    search(
        [failover, failover.rerun(), and_retention],
        [
            Protocol {
                faults: 3,
                ..failover
            },
            Protocol {
                resolutions: 1,
                ..failover
            },
            Protocol {
                clients: 3,
                faults: 1,
                ..failover
            }
            .rerun(),
            Protocol {
                faults: 2,
                ..and_retention
            },
        ],
    );
}
