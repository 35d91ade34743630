//! The state that faults change: the listener, the existing connections, and the treatment of replies.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};

use std::time::Duration;

use fastrand::Rng;
use parking_lot::Mutex;
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::flow::Flow;
use super::traffic::Traffic;
use crate::loopback_port;

/// The state of one proxy, shared by its connections.
pub(super) struct Switchboard {
    address: SocketAddr,
    traffic: Traffic,
    pub(super) settings: Mutex<Settings>,
}

pub(super) struct Settings {
    /// The server to which new connections are forwarded.
    server: SocketAddr,
    /// The source address of connections to the server; `None`: the default address of this host.
    source: Option<Ipv4Addr>,
    /// The task that accepts connections; `None` while they are refused.
    pub(super) listener: Option<JoinHandle<()>>,
    /// The flow with which new connections start.
    arrivals: Flow,
    /// The flow of each open connection.
    pub(super) connections: HashMap<u64, watch::Sender<Flow>>,
    /// The number of the next connection.
    next_connection: u64,
    delay: Delay,
    next_reply: NextReply,
    lost_replies: Option<LostReplies>,
}

/// The proxy discards the next `times` replies to MongoDB commands of this name, and closes their connections.
struct LostReplies {
    command: &'static str,
    times: u32,
}

/// The delay with which the proxy delivers replies.
pub(super) enum Delay {
    /// Each reply is delayed by this time.
    Constant(Duration),
    /// On average, one of `one_of` replies is late by up to `latest`. The others are on time.
    Some {
        one_of: u32,
        latest: Duration,
        rng: Rng,
    },
}

/// What the proxy does with the next bytes from the server, on any connection.
#[derive(Clone, Copy)]
pub(super) enum NextReply {
    Deliver,
    /// The proxy discards the bytes, and the connection becomes silent.
    Silence,
    /// The proxy discards the bytes and closes the connection.
    Close,
}

impl Switchboard {
    pub(super) fn new(server: SocketAddr) -> Self {
        Self {
            address: (Ipv4Addr::LOCALHOST, loopback_port::reserve()).into(),
            traffic: Traffic::default(),
            settings: Mutex::new(Settings {
                server,
                source: None,
                listener: None,
                arrivals: Flow::Forward,
                connections: HashMap::new(),
                next_connection: 0,
                delay: Delay::NONE,
                next_reply: NextReply::Deliver,
                lost_replies: None,
            }),
        }
    }

    pub(super) fn set_source(&self, source: Ipv4Addr) {
        self.settings.lock().source = Some(source);
    }

    /// Connects to the server. Returns `None` if the server does not accept the connection.
    pub(super) async fn connect(&self) -> Option<TcpStream> {
        let (server, source) = {
            let settings = self.settings.lock();
            (settings.server, settings.source)
        };
        let socket = TcpSocket::new_v4().ok()?;
        if let Some(source) = source {
            socket.bind((source, 0).into()).ok()?;
        }
        let stream = socket.connect(server).await.ok()?;
        stream.set_nodelay(true).ok()?;
        Some(stream)
    }

    pub(super) fn set_server(&self, server: SocketAddr) {
        self.settings.lock().server = server;
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(super) fn traffic(&self) -> &Traffic {
        &self.traffic
    }

    /// The delay of a reply that has just arrived.
    pub(super) fn delay(&self) -> Duration {
        self.settings.lock().delay.draw()
    }

    pub(super) fn set_delay(&self, delay: Delay) {
        self.settings.lock().delay = delay;
    }

    pub(super) fn set_next_reply(&self, next_reply: NextReply) {
        self.settings.lock().next_reply = next_reply;
    }

    /// Returns what to do with bytes that have just arrived from the server. The result applies only to these bytes. Later
    /// bytes are delivered as usual.
    pub(super) fn take_next_reply(&self) -> NextReply {
        std::mem::replace(&mut self.settings.lock().next_reply, NextReply::Deliver)
    }

    pub(super) fn lose_replies_to(&self, command: &'static str, times: u32) {
        self.settings.lock().lost_replies = Some(LostReplies { command, times });
    }

    pub(super) fn lose_no_replies(&self) {
        self.settings.lock().lost_replies = None;
    }

    /// Whether to lose the reply to a command that has just arrived from a client. If so, this method counts the reply as
    /// lost, and the caller must discard the reply.
    pub(super) fn loses_reply_to(&self, command: &str) -> bool {
        let mut settings = self.settings.lock();
        let Some(lost) = &mut settings.lost_replies else {
            return false;
        };
        let loses = lost.command == command && lost.times > 0;
        if loses {
            lost.times -= 1;
        }
        loses
    }

    pub(super) fn set_arrivals(&self, arrivals: Flow) {
        self.settings.lock().arrivals = arrivals;
    }

    /// Changes the flow of the existing connections. Silent connections stay silent.
    pub(super) fn set_flow(&self, flow: Flow) {
        for connection in self.settings.lock().connections.values() {
            connection.send_if_modified(|current| {
                let changes = *current != Flow::Silent && *current != flow;
                if changes {
                    *current = flow;
                }
                changes
            });
        }
    }

    /// Silences one connection.
    pub(super) fn silence(&self, connection: u64) {
        if let Some(connection) = self.settings.lock().connections.get(&connection) {
            connection.send_replace(Flow::Silent);
        }
    }

    /// Ends the existing connections, including silent ones, and returns when their sockets are closed.
    pub(super) async fn end_connections(&self, end: Flow) {
        let connections: Vec<_> = self
            .settings
            .lock()
            .connections
            .drain()
            .map(|(_, connection)| connection)
            .collect();
        for connection in connections {
            connection.send_replace(end);
            connection.closed().await;
        }
    }

    /// Closes the listener and returns when the port is closed.
    pub(super) async fn stop_listening(&self) {
        let listener = self.settings.lock().listener.take();
        if let Some(accepting) = listener {
            accepting.abort();
            // An error means that the task was cancelled.
            let _ = accepting.await;
        }
    }

    /// Registers a connection under a new number.
    pub(super) fn admit(&self) -> (u64, watch::Receiver<Flow>) {
        self.traffic.connection_accepted();
        let mut settings = self.settings.lock();
        let number = settings.next_connection;
        settings.next_connection += 1;
        let (sender, flow) = watch::channel(settings.arrivals);
        settings.connections.insert(number, sender);
        (number, flow)
    }
}

impl Delay {
    pub(super) const NONE: Self = Self::Constant(Duration::ZERO);

    fn draw(&mut self) -> Duration {
        match self {
            Self::Constant(delay) => *delay,
            Self::Some {
                one_of,
                latest,
                rng,
            } => match rng.u32(..*one_of) {
                0 => latest.mul_f64(rng.f64()),
                _ => Duration::ZERO,
            },
        }
    }
}
