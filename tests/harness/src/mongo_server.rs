//! A MongoDB server for the whole test process. The harness uses the server in `MONGODB_TEST_URI`. If this variable is not set,
//! the harness starts `mongod` from PATH. If PATH has no `mongod`, the harness starts mongo-java-server. The compare-and-set of
//! mongo-java-server is atomic like MongoDB's.
//!
//! Tests share the server because its start takes seconds, and each test uses its own database. Tests never stop the server: a
//! [`FaultProxy`] in front of the server simulates outages.

mod launch;
mod uri;

use std::net::SocketAddr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use mongodb::bson::Document;
use mongodb::{Client, Collection};

use self::launch::Running;
use self::uri::MongoUri;
use crate::environment;
use crate::fault_proxy::FaultProxy;

/// The server that all tests of this process share.
pub struct MongoServer {
    uri: MongoUri,
    /// The server's process, which ends with the test process. `None` for the server in `MONGODB_TEST_URI`.
    process: Option<Running>,
}

impl MongoServer {
    /// The shared server. The first caller starts it.
    ///
    /// # Panics
    ///
    /// Panics if no server is found. The message says what to install.
    pub async fn shared() -> &'static Self {
        // The server uses plain processes and threads, because an I/O object of a test's tokio runtime would end with that
        // test.
        static SHARED: OnceLock<Result<MongoServer, String>> = OnceLock::new();
        let shared = tokio::task::spawn_blocking(|| SHARED.get_or_init(Self::find)).await;
        match shared.expect("finding a server does not panic") {
            Ok(server) => server,
            Err(error) => panic!("{error}"),
        }
    }

    /// The server's URI, without a database.
    pub fn uri(&self) -> String {
        self.uri.text()
    }

    /// The server's URI through a proxy in front of [`address`](Self::address).
    pub fn uri_through(&self, proxy: &FaultProxy) -> String {
        self.uri.through(proxy.address())
    }

    /// The address of the server.
    ///
    /// # Panics
    ///
    /// Panics if the host and port in `MONGODB_TEST_URI` do not resolve, as with `mongodb+srv`.
    pub fn address(&self) -> SocketAddr {
        self.uri.address()
    }

    /// A description of the server, for messages.
    pub fn description(&self) -> &'static str {
        self.process
            .as_ref()
            .map_or("the MongoDB in MONGODB_TEST_URI", Running::description)
    }

    /// A name for a database that no other test uses.
    pub fn fresh_database(&self) -> String {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let started = jiff::Timestamp::now().as_millisecond();
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        format!("test_{started}_{}_{number}", std::process::id())
    }

    /// A collection, for assertions about stored documents.
    ///
    /// # Panics
    ///
    /// Panics if the URI is invalid.
    pub async fn collection(&self, database: &str, name: &str) -> Collection<Document> {
        let client = Client::with_uri_str(self.uri()).await;
        let client = client.unwrap_or_else(|error| panic!("{}: {error}", self.uri()));
        client.database(database).collection(name)
    }

    fn find() -> Result<Self, String> {
        match environment::mongodb_test_uri() {
            Some(uri) => Ok(Self {
                uri: MongoUri::parse(&uri)?,
                process: None,
            }),
            None => launch::launch().map(|running| Self {
                uri: MongoUri::of(running.address()),
                process: Some(running),
            }),
        }
    }
}

#[cfg(test)]
mod tests;
