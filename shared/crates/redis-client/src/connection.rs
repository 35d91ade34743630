//! One connection, to a server or to a cluster, and what is known of its life.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use foundation::wall_clock::{self, older_than};
use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::cluster_async::ClusterConnection;
use redis::{Cmd, Pipeline, RedisFuture, Value};

/// A connection that any number of commands share. Cheap to clone; closed when the last clone is gone.
#[derive(Clone)]
pub(super) enum Connection {
    /// One socket to one server.
    Standalone(MultiplexedConnection),
    /// One socket to each node. It finds its way through the cluster, and replaces a node's broken socket, itself.
    Cluster(ClusterConnection),
}

impl ConnectionLike for Connection {
    fn req_packed_command<'a>(&'a mut self, command: &'a Cmd) -> RedisFuture<'a, Value> {
        match self {
            Self::Standalone(connection) => connection.req_packed_command(command),
            Self::Cluster(connection) => connection.req_packed_command(command),
        }
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        pipeline: &'a Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        match self {
            Self::Standalone(connection) => connection.req_packed_commands(pipeline, offset, count),
            Self::Cluster(connection) => connection.req_packed_commands(pipeline, offset, count),
        }
    }

    fn get_db(&self) -> i64 {
        match self {
            Self::Standalone(connection) => connection.get_db(),
            Self::Cluster(connection) => connection.get_db(),
        }
    }
}

/// What is known of one connection's life. Shared by its clones and by the task that reads its socket.
#[derive(Clone)]
pub(super) struct Vitals(Arc<State>);

struct State {
    /// Set once, when the server is known to have closed the connection.
    lost: AtomicBool,
    /// When it was opened, in wall-clock milliseconds.
    opened_ms: u64,
    /// When it last answered, in wall-clock milliseconds: a frozen process need not see the monotonic clock advance.
    answered_ms: AtomicU64,
}

impl Vitals {
    /// The vitals of a connection that is opened now.
    pub(super) fn new() -> Self {
        Self::since(wall_clock::now_ms())
    }

    /// The vitals of a connection that was opened then.
    pub(super) fn since(opened_ms: u64) -> Self {
        Self(Arc::new(State {
            lost: AtomicBool::new(false),
            opened_ms,
            answered_ms: AtomicU64::new(opened_ms),
        }))
    }

    pub(super) fn mark_lost(&self) {
        self.0.lost.store(true, Ordering::Release);
    }

    pub(super) fn is_lost(&self) -> bool {
        self.0.lost.load(Ordering::Acquire)
    }

    pub(super) fn mark_answered(&self) {
        self.0
            .answered_ms
            .store(wall_clock::now_ms(), Ordering::Release);
    }

    /// Whether the last answer is at least `limit` old. A clock that was set back proves nothing, so it counts as old.
    pub(super) fn is_idle_for(&self, limit: Duration) -> bool {
        older_than(self.0.answered_ms.load(Ordering::Acquire), limit)
    }

    /// Whether the connection was opened at least `limit` ago.
    pub(super) fn is_older_than(&self, limit: Duration) -> bool {
        older_than(self.0.opened_ms, limit)
    }

    /// Whether both are the vitals of the same connection.
    pub(super) fn same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}
