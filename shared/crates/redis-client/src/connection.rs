//! One connection to a server or a cluster, and the state of the connection: whether it is lost, its age, and the time
//! of the last reply.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use foundation::wall_clock::{self, older_than};
use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::cluster_async::ClusterConnection;
use redis::{Cmd, Pipeline, RedisFuture, Value};

/// A connection that any number of commands share. Cheap to clone. When the last clone is dropped, the connection
/// closes.
#[derive(Clone)]
pub(super) enum Connection {
    /// One socket to one server.
    Standalone(MultiplexedConnection),
    /// One socket to each node. The cluster client routes commands and replaces broken sockets itself.
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

/// The state of one connection. All clones of the connection, and the task that reads the socket, share this state.
#[derive(Clone)]
pub(super) struct ConnectionState(Arc<Inner>);

struct Inner {
    /// Set when the server has closed the connection.
    lost: AtomicBool,
    /// Set when a server has rejected `SET` with `IFEQ`.
    lacks_ifeq: AtomicBool,
    /// When the connection was opened, in wall-clock milliseconds.
    opened_ms: u64,
    /// When the server last replied, in wall-clock milliseconds. The monotonic clock may stand still while the
    /// process is frozen.
    replied_ms: AtomicU64,
}

impl ConnectionState {
    /// The state of a connection that is opened now.
    pub(super) fn new() -> Self {
        Self::since(wall_clock::now_ms())
    }

    /// The state of a connection that was opened at `opened_ms`.
    pub(super) fn since(opened_ms: u64) -> Self {
        Self(Arc::new(Inner {
            lost: AtomicBool::new(false),
            lacks_ifeq: AtomicBool::new(false),
            opened_ms,
            replied_ms: AtomicU64::new(opened_ms),
        }))
    }

    pub(super) fn mark_lost(&self) {
        self.0.lost.store(true, Ordering::Release);
    }

    pub(super) fn is_lost(&self) -> bool {
        self.0.lost.load(Ordering::Acquire)
    }

    /// Records that a server on this connection does not support `SET` with `IFEQ`.
    pub(super) fn mark_lacks_ifeq(&self) {
        self.0.lacks_ifeq.store(true, Ordering::Relaxed);
    }

    /// Whether a server on this connection is known not to support `SET` with `IFEQ`.
    pub(super) fn lacks_ifeq(&self) -> bool {
        self.0.lacks_ifeq.load(Ordering::Relaxed)
    }

    pub(super) fn mark_replied(&self) {
        self.0
            .replied_ms
            .store(wall_clock::now_ms(), Ordering::Release);
    }

    /// Whether the last reply is at least `limit` old. If the clock was set back, the connection counts as idle.
    pub(super) fn is_idle_for(&self, limit: Duration) -> bool {
        older_than(self.0.replied_ms.load(Ordering::Acquire), limit)
    }

    /// Whether the connection was opened at least `limit` ago.
    pub(super) fn is_older_than(&self, limit: Duration) -> bool {
        older_than(self.0.opened_ms, limit)
    }

    /// Whether both states belong to one connection.
    pub(super) fn same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}
