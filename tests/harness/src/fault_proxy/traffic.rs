//! Counters of the traffic through the proxy.

use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;

use super::mongo_commands::MongoCommand;

/// The counters of one proxy.
#[derive(Default)]
pub(super) struct Traffic {
    counts: Mutex<Counts>,
    /// The number of open connections. A reset of the counters must not change this number.
    open: AtomicUsize,
}

#[derive(Default)]
struct Counts {
    accepted: usize,
    round_trips: usize,
    bytes_from_clients: usize,
    bytes_from_server: usize,
    commands: Vec<String>,
    mongo_commands: Vec<MongoCommand>,
}

/// While this value exists, its connection counts as open.
pub(super) struct OpenConnection<'a>(&'a AtomicUsize);

impl Traffic {
    pub(super) fn connection_accepted(&self) {
        self.counts.lock().accepted += 1;
        self.open.fetch_add(1, Ordering::SeqCst);
    }

    /// Returns a value for a connection that [`connection_accepted`](Self::connection_accepted) has counted as open. When the
    /// value is dropped, the connection no longer counts.
    pub(super) fn open_connection(&self) -> OpenConnection<'_> {
        OpenConnection(&self.open)
    }

    pub(super) fn round_trip_started(&self) {
        self.counts.lock().round_trips += 1;
    }

    pub(super) fn client_sent(&self, bytes: usize) {
        self.counts.lock().bytes_from_clients += bytes;
    }

    pub(super) fn server_sent(&self, bytes: usize) {
        self.counts.lock().bytes_from_server += bytes;
    }

    pub(super) fn command_seen(&self, name: String) {
        self.counts.lock().commands.push(name);
    }

    pub(super) fn mongo_command_seen(&self, command: MongoCommand) {
        self.counts.lock().mongo_commands.push(command);
    }

    pub(super) fn accepted(&self) -> usize {
        self.counts.lock().accepted
    }

    pub(super) fn open(&self) -> usize {
        self.open.load(Ordering::SeqCst)
    }

    pub(super) fn round_trips(&self) -> usize {
        self.counts.lock().round_trips
    }

    pub(super) fn bytes_from_clients(&self) -> usize {
        self.counts.lock().bytes_from_clients
    }

    pub(super) fn bytes_from_server(&self) -> usize {
        self.counts.lock().bytes_from_server
    }

    pub(super) fn commands(&self) -> Vec<String> {
        self.counts.lock().commands.clone()
    }

    pub(super) fn mongo_commands(&self) -> Vec<MongoCommand> {
        self.counts.lock().mongo_commands.clone()
    }

    pub(super) fn reset(&self) {
        *self.counts.lock() = Counts::default();
    }
}

impl Drop for OpenConnection<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}
