//! A TCP proxy between a client and its server, which breaks the connection in every way a network can.
//!
//! It stands where the outage of a managed service stands: the client keeps its address, the server keeps running.
//! Each fault is a method and in force when the method returns; [`FaultProxy::heal`] takes them all back. The proxy
//! lives on a thread of its own, so neither a busy test nor a frozen client stops it. It moves bytes and knows no
//! protocol; only for its records does it recognise the commands of Redis and MongoDB.
//!
//! A connection that has been silenced (`black_hole`, `drop_next_reply`) stays silent for ever, also after `heal`:
//! bytes were lost on it, and TCP never delivers what comes after a gap.

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

/// A server that is never asked: port 1 has none.
const NO_SERVER: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 1);
/// One of so many replies is late where some are: most exchanges of the other clients have none.
const LATE_REPLIES: u32 = 4;

/// A proxy in front of one server; dropping it closes its connections and frees its port.
pub struct FaultProxy {
    board: Arc<Switchboard>,
    runtime: BackgroundRuntime,
}

impl FaultProxy {
    /// Listens on a free port of 127.0.0.1 and passes everything on to `server`.
    pub fn in_front_of(server: SocketAddr) -> Self {
        let runtime = BackgroundRuntime::start("fault-proxy");
        let board = Arc::new(Switchboard::new(server));
        let proxy = Self { board, runtime };
        proxy.apply(|board| async move { board.listen().await });
        proxy
    }

    /// A server that accepts connections and never answers, as a [`black_hole`](Self::black_hole) from the start.
    pub fn silent() -> Self {
        let proxy = Self::in_front_of(NO_SERVER);
        proxy.black_hole();
        proxy
    }

    /// A port that refuses connections.
    pub fn refusing() -> Self {
        let proxy = Self::in_front_of(NO_SERVER);
        proxy.refuse();
        proxy
    }

    /// Lets the server see clients of another host than its own: the second address of Linux's loopback interface.
    pub fn from_another_host(server: SocketAddr) -> Self {
        let proxy = Self::in_front_of(server);
        proxy.board.set_source(Ipv4Addr::new(127, 0, 0, 2));
        proxy
    }

    /// Where clients connect to.
    pub fn address(&self) -> SocketAddr {
        self.board.address()
    }

    /// The port of [`address`](Self::address).
    pub fn port(&self) -> u16 {
        self.address().port()
    }

    /// Refuses new connections (the port is closed) and closes those that exist.
    pub fn refuse(&self) {
        self.apply(|board| async move {
            board.stop_listening().await;
            board.end_connections(Flow::Close).await;
        });
    }

    /// Closes the connections that exist, in an orderly way (FIN). New ones work.
    pub fn close_connections(&self) {
        self.apply(|board| async move { board.end_connections(Flow::Close).await });
    }

    /// Resets the connections that exist (RST). New ones work.
    pub fn reset_connections(&self) {
        self.apply(|board| async move { board.end_connections(Flow::Reset).await });
    }

    /// Accepts connections and holds every byte, both ways, until [`heal`](Self::heal) releases them in order.
    pub fn stall(&self) {
        self.apply(|board| async move {
            board.set_flow(Flow::Stall);
            board.set_arrivals(Flow::Stall);
            board.listen().await;
        });
    }

    /// Holds every byte of the connections that exist, both ways, until [`heal`](Self::heal) releases them in order, even where
    /// the client is gone by then: a request that arrives late. New ones work.
    pub fn stall_existing(&self) {
        self.apply(|board| async move { board.set_flow(Flow::Stall) });
    }

    /// Accepts connections, swallows every byte, never answers and never closes, on existing and on new
    /// connections. What was open meanwhile stays silent after [`heal`](Self::heal).
    pub fn black_hole(&self) {
        self.apply(|board| async move {
            board.set_flow(Flow::Silent);
            board.set_arrivals(Flow::Silent);
            board.listen().await;
        });
    }

    /// Silences the connections that exist for ever, as a firewall that has forgotten them: bytes and the client's
    /// FIN are swallowed, nothing is answered or closed. New ones work.
    pub fn black_hole_existing(&self) {
        self.apply(|board| async move { board.set_flow(Flow::Silent) });
    }

    /// Delivers every reply `delay` after the server sent it, no sooner and less than a millisecond later where the machine is idle,
    /// which adds `delay` once to each round trip. Replies
    /// stay in order, and requests in a pipeline overlap: ten of them take one delay, not ten. Connecting itself
    /// is not slowed, but every exchange of a client's handshake is.
    pub fn delay(&self, delay: Duration) {
        self.board.set_delay(Delay::Constant(delay));
    }

    /// Delivers some replies late, each by its own time up to `latest`, and the others at once: one client waits while another
    /// one is served. Replies on one connection stay in order. `seed` repeats the choices.
    pub fn delay_some(&self, latest: Duration, seed: u64) {
        self.board.set_delay(Delay::Some {
            one_of: LATE_REPLIES,
            latest,
            rng: Rng::with_seed(seed),
        });
    }

    /// Leads new connections to another server, as a name does after a failover; those that exist stay where they are.
    pub fn lead_to(&self, server: SocketAddr) {
        self.board.set_server(server);
    }

    /// Swallows the next bytes that the server sends, once: the command has been carried out and the client never
    /// learns of it. The connection stays open and is silent from then on; others work.
    pub fn drop_next_reply(&self) {
        self.board.set_next_reply(NextReply::Silence);
    }

    /// Swallows the next bytes that the server sends, once, and closes that connection: the command has been
    /// carried out, and the client sees the connection end instead of the reply.
    pub fn close_on_next_reply(&self) {
        self.board.set_next_reply(NextReply::Close);
    }

    /// Swallows the replies to the next `times` MongoDB commands of this name, and closes their connections: the commands have been
    /// carried out, and the client sees the connections end.
    pub fn lose_replies_to(&self, command: &'static str, times: u32) {
        self.board.lose_replies_to(command, times);
    }

    /// Ends every fault: listens again on the same port, releases what a stall holds, removes the delay and the
    /// faults that wait for a reply. Silenced connections stay silent.
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

    /// Connections accepted since the start or the last [`reset_counters`](Self::reset_counters).
    pub fn accepted(&self) -> usize {
        self.board.traffic().accepted()
    }

    /// Connections that neither the client nor the proxy has closed.
    pub fn open(&self) -> usize {
        self.board.traffic().open()
    }

    /// Bursts of clients: times at which a client spoke first on its connection, or first after the server had
    /// spoken. Ten pipelined commands are one.
    pub fn round_trips(&self) -> usize {
        self.board.traffic().round_trips()
    }

    /// Bytes that clients sent, however they were cut.
    pub fn bytes_from_clients(&self) -> usize {
        self.board.traffic().bytes_from_clients()
    }

    /// Bytes that the server sent, whether they were delivered or not.
    pub fn bytes_from_server(&self) -> usize {
        self.board.traffic().bytes_from_server()
    }

    /// The names of the Redis commands that clients sent, in upper case and in the order of arrival: what reaches
    /// the server, not what a script runs there. Empty for TLS and for other protocols.
    pub fn commands(&self) -> Vec<String> {
        self.board.traffic().commands()
    }

    /// The commands that MongoDB clients sent, in the order of arrival, those by which a driver watches the server included.
    /// Empty for TLS, compression and other protocols.
    pub fn mongo_commands(&self) -> Vec<MongoCommand> {
        self.board.traffic().mongo_commands()
    }

    /// Sets every counter but [`open`](Self::open) to zero.
    pub fn reset_counters(&self) {
        self.board.traffic().reset();
    }

    /// Changes the switchboard on the proxy's own thread and returns when the change is in force.
    fn apply<F>(&self, change: impl FnOnce(Arc<Switchboard>) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.runtime.run(change(Arc::clone(&self.board)));
    }
}

#[cfg(test)]
mod tests;
