//! Does the protocol hold, whatever fails, whenever?
//!
//! Every order of the steps of up to three clients, a reconciler, time, and a few faults is tried out, state by state: a
//! process crashes between any two steps, a request is lost or arrives after its sender has given up, a reply is lost or late,
//! Redis loses its data or falls back to an older state, MongoDB fails over and drops what no majority has, retention ends
//! and records are deleted. One search over all of that would not end, so each configuration of [`Protocol`] is about one
//! part.
//!
//! The stores decide by the functions they really decide by: `decision` for records, `store/hints/rules.rs` for Redis in front.
//! What is modelled by hand is the network, the clients' steps, MongoDB's filters and replication, and the passing of time.
//! Not modelled: clocks that go back, and a claim that is in flight for as long as a retention lasts.
//!
//! Work and answers count per *generation*: a generation begins with the first claim of a key, and with the first one after
//! the retention of a finished record. Within it work runs at most once under `AtMostOnce`, one answer is given, and a result
//! is not replaced.
//!
//! A checker that finds nothing proves little until it has found something: the same search, over the protocol with one
//! bug planted, finds each of them.

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

/// Whether there is time for more than `make test` searches: in an optimised build (`make model`).
const AT_LENGTH: bool = !cfg!(debug_assertions);

/// Searches the first ones, and at length the others too.
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
fn tiered_work_runs_at_most_once_under_every_fault() {
    let tiered = Protocol::TIERED;
    search(
        [tiered],
        [
            Protocol {
                settlements: 1,
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
fn tiered_work_that_resumes_gives_one_answer_under_every_fault() {
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
fn two_requests_never_share_an_answer() {
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
fn redis_alone_runs_work_at_most_once_while_it_keeps_its_data() {
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
fn a_note_stays_noted_under_every_fault() {
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
fn no_holder_believes_in_a_longer_lease_than_is_stored() {
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
fn a_key_runs_as_new_after_its_retention_and_not_before() {
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
fn redis_goes_forward_only_whatever_its_clock_says() {
    let late = Protocol::REDIS_FAR_BEHIND;
    search([late], [Protocol { faults: 2, ..late }]);
}

#[test]
fn a_late_settlement_changes_only_the_record_that_was_read() {
    let settling = Protocol::SETTLING;
    search(
        [settling, settling.rerun()],
        [
            Protocol {
                ticks: 3,
                doubts: true,
                ..settling
            },
            Protocol {
                faults: 1,
                ..settling
            },
            Protocol {
                layout: Layout::RedisAlone,
                faults: 1,
                ..settling
            },
        ],
    );
}

#[test]
fn a_failover_takes_nothing_back_that_was_acted_on() {
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
                settlements: 1,
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
