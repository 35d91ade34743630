//! A TCP proxy that injects network faults between a client and a server.
//!
//! The proxy simulates the outage of a managed service: the server's address stays the same for clients, and the server keeps
//! running. Each fault is a method, and is in force when the method returns. [`FaultProxy::heal`] ends all faults. The proxy runs
//! on its own thread, so that a busy test or a frozen client does not stop it. The proxy copies the bytes of any protocol. It
//! recognises the commands of Redis and MongoDB, to count them and to lose replies to them.
//!
//! A silenced connection (`black_hole`, `drop_next_reply`) stays silent after `heal`, because TCP delivers nothing after lost
//! bytes.

mod connection;
mod flow;
mod listener;
mod mongo_commands;
mod resp_commands;
mod switchboard;
mod traffic;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;

use self::flow::Flow;
pub use self::mongo_commands::MongoCommand;
use self::switchboard::{Delay, NextReply, Switchboard};
use crate::background_runtime::BackgroundRuntime;

/// An address without a server: nothing listens on port 1.
const NO_SERVER: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 1);
/// [`FaultProxy::delay_some`] delays, on average, 1 of `LATE_REPLIES` replies.
const LATE_REPLIES: u32 = 4;

/// A proxy in front of one server. Dropping it closes its connections and frees its port.
pub struct FaultProxy {
    board: Arc<Switchboard>,
    runtime: BackgroundRuntime,
}

impl FaultProxy {
    /// Starts a proxy that listens on a free port of 127.0.0.1 and forwards connections to `server`.
    pub fn in_front_of(server: SocketAddr) -> Self {
        let runtime = BackgroundRuntime::start("fault-proxy");
        let board = Arc::new(Switchboard::new(server));
        let proxy = Self { board, runtime };
        proxy.apply(|board| async move { board.listen().await });
        proxy
    }

    /// Starts a server that accepts connections and never answers, like a [`black_hole`](Self::black_hole) from the start.
    pub fn silent() -> Self {
        let proxy = Self::in_front_of(NO_SERVER);
        proxy.black_hole();
        proxy
    }

    /// Starts a proxy whose port refuses connections.
    pub fn refusing() -> Self {
        let proxy = Self::in_front_of(NO_SERVER);
        proxy.refuse();
        proxy
    }

    /// Starts a proxy that connects to the server from a second loopback address (only on Linux). To the server, the clients
    /// look like clients of another host.
    pub fn from_another_host(server: SocketAddr) -> Self {
        let proxy = Self::in_front_of(server);
        proxy.board.set_source(Ipv4Addr::new(127, 0, 0, 2));
        proxy
    }

    /// The address to which clients connect.
    pub fn address(&self) -> SocketAddr {
        self.board.address()
    }

    /// The port of [`address`](Self::address).
    pub fn port(&self) -> u16 {
        self.address().port()
    }

    /// Refuses new connections (the port is closed) and closes the existing ones.
    pub fn refuse(&self) {
        self.apply(|board| async move {
            board.stop_listening().await;
            board.end_connections(Flow::Close).await;
        });
    }

    /// Closes the existing connections with a FIN. New connections work.
    pub fn close_connections(&self) {
        self.apply(|board| async move { board.end_connections(Flow::Close).await });
    }

    /// Resets the existing connections (RST). New connections work.
    pub fn reset_connections(&self) {
        self.apply(|board| async move { board.end_connections(Flow::Reset).await });
    }

    /// Accepts connections and holds all bytes in both directions, until [`heal`](Self::heal) releases them in order.
    pub fn stall(&self) {
        self.apply(|board| async move {
            board.set_flow(Flow::Stall);
            board.set_arrivals(Flow::Stall);
            board.listen().await;
        });
    }

    /// Holds all bytes of the existing connections in both directions, until [`heal`](Self::heal) releases them in order. If
    /// the client has closed its connection by then, the server still gets the request, but late. New connections work.
    pub fn stall_existing(&self) {
        self.apply(|board| async move { board.set_flow(Flow::Stall) });
    }

    /// Accepts connections, discards all bytes, never answers and never closes, on existing and new connections. These
    /// connections stay silent after [`heal`](Self::heal).
    pub fn black_hole(&self) {
        self.apply(|board| async move {
            board.set_flow(Flow::Silent);
            board.set_arrivals(Flow::Silent);
            board.listen().await;
        });
    }

    /// Silences the existing connections permanently, like a firewall that has dropped their state. The proxy discards bytes
    /// and the client's FIN, answers nothing and closes nothing. New connections work.
    pub fn black_hole_existing(&self) {
        self.apply(|board| async move { board.set_flow(Flow::Silent) });
    }

    /// Delays every reply by `delay`, so each round trip takes `delay` longer. On an idle machine the error is under a
    /// millisecond.
    ///
    /// Replies stay in order. Requests in a pipeline overlap, so ten of them take one delay. The opening of a connection is not
    /// delayed, but each reply of a handshake is delayed.
    pub fn delay(&self, delay: Duration) {
        self.board.set_delay(Delay::Constant(delay));
    }

    /// Delays some replies by different times up to `latest`, so that one client waits while another client gets its
    /// replies. Replies on one connection stay in order. The same `seed` makes the same choices.
    pub fn delay_some(&self, latest: Duration, seed: u64) {
        self.board.set_delay(Delay::Some {
            one_of: LATE_REPLIES,
            latest,
            rng: Rng::with_seed(seed),
        });
    }

    /// Forwards new connections to another server, like a DNS name after a failover. Existing connections stay connected to the
    /// previous server.
    pub fn lead_to(&self, server: SocketAddr) {
        self.board.set_server(server);
    }

    /// Discards the server's next reply. The server has executed the command, and the client gets no answer. The connection stays
    /// open and silent; other connections work.
    pub fn drop_next_reply(&self) {
        self.board.set_next_reply(NextReply::Silence);
    }

    /// Discards the server's next reply and closes the connection of this reply. The server has executed the command, and the
    /// client sees the end of the connection.
    pub fn close_on_next_reply(&self) {
        self.board.set_next_reply(NextReply::Close);
    }

    /// Discards the replies to the next `times` MongoDB commands of this name and closes their connections. The server has
    /// executed the commands.
    pub fn lose_replies_to(&self, command: &'static str, times: u32) {
        self.board.lose_replies_to(command, times);
    }

    /// Ends every fault: listens again on the same port, releases held bytes, and removes delays and pending faults of replies.
    /// Silenced connections stay silent.
    pub fn heal(&self) {
        self.apply(|board| async move {
            board.set_delay(Delay::NONE);
            board.set_next_reply(NextReply::Deliver);
            board.lose_no_replies();
            board.set_arrivals(Flow::Forward);
            board.set_flow(Flow::Forward);
            board.listen().await;
        });
    }

    /// The number of connections accepted since the start or the last [`reset_counters`](Self::reset_counters).
    pub fn accepted(&self) -> usize {
        self.board.traffic().accepted()
    }

    /// The number of open connections. A connection counts until the client or the proxy closes it.
    pub fn open(&self) -> usize {
        self.board.traffic().open()
    }

    /// The number of round trips. A round trip starts with a client's first bytes on a connection, or with the client's
    /// first bytes after bytes of the server. So a burst of pipelined commands counts as one round trip.
    pub fn round_trips(&self) -> usize {
        self.board.traffic().round_trips()
    }

    /// The number of bytes that clients sent.
    pub fn bytes_from_clients(&self) -> usize {
        self.board.traffic().bytes_from_clients()
    }

    /// The number of bytes that the server sent, including bytes that the proxy did not deliver.
    pub fn bytes_from_server(&self) -> usize {
        self.board.traffic().bytes_from_server()
    }

    /// The names of the Redis commands that clients sent, in upper case and in the order of arrival. Commands inside scripts are
    /// not included. The list is empty for TLS and for other protocols.
    pub fn commands(&self) -> Vec<String> {
        self.board.traffic().commands()
    }

    /// The MongoDB commands that clients sent, in the order of arrival, including the commands with which the driver monitors
    /// the server. The list is empty for TLS, compression and other protocols.
    pub fn mongo_commands(&self) -> Vec<MongoCommand> {
        self.board.traffic().mongo_commands()
    }

    /// Resets every counter except [`open`](Self::open).
    pub fn reset_counters(&self) {
        self.board.traffic().reset();
    }

    /// Changes the switchboard on the proxy's thread, and returns when the change is in force.
    fn apply<F>(&self, change: impl FnOnce(Arc<Switchboard>) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.runtime.run(change(Arc::clone(&self.board)));
    }
}

#[cfg(test)]
mod tests;
