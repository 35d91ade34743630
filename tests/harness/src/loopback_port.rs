//! Ports for servers that must be able to leave and come back on the same one.
//!
//! They are taken from below the range that the kernel gives to outgoing connections: a port from inside it, free
//! while its server is down, is sooner or later some client's source port, and the server cannot return.

use std::hash::{BuildHasher, RandomState};
use std::net::{Ipv4Addr, TcpListener};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU16, Ordering};

/// Below 32 768 (Linux) and 49 152 (macOS), where outgoing connections start.
const FIRST: u16 = 15_000;
const COUNT: u16 = 17_000;

/// A port on 127.0.0.1 that nobody listens on and that this process gives to nobody else.
pub(crate) fn reserve() -> u16 {
    // Starts at random, so that two test processes on one machine rarely meet.
    static NEXT: OnceLock<AtomicU16> = OnceLock::new();
    let next = NEXT.get_or_init(|| {
        AtomicU16::new(RandomState::new().hash_one(std::process::id()) as u16 % COUNT)
    });
    for _ in 0..COUNT {
        let port = FIRST + next.fetch_add(1, Ordering::Relaxed) % COUNT;
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return port;
        }
    }
    panic!(
        "every port from {FIRST} to {} on 127.0.0.1 is taken",
        FIRST + COUNT - 1
    )
}
