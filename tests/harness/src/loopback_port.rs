//! Reserves ports for servers that stop and start again on the same port.
//!
//! The ports are below the range that the kernel uses for outgoing connections. If the port of a stopped server were inside
//! that range, the kernel could use the port for another client. Then the server could not start again.

use std::hash::{BuildHasher, RandomState};
use std::net::{Ipv4Addr, TcpListener};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU16, Ordering};

/// The first port to use. All ports are below 32 768 (Linux) and 49 152 (macOS), where the range for outgoing connections
/// starts.
const FIRST: u16 = 15_000;
/// The number of ports to use.
const COUNT: u16 = 17_000;

/// Returns a free port of 127.0.0.1 that this function has not returned before.
pub(crate) fn reserve() -> u16 {
    // Starts at a random port, so that two test processes on one machine rarely collide.
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
        "no free port from {FIRST} to {} on 127.0.0.1",
        FIRST + COUNT - 1
    )
}
