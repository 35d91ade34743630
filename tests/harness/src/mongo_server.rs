//! A MongoDB-wire server, one for the whole test process: the one named by `MONGODB_TEST_URI`, else a `mongod` on
//! PATH, else mongo-java-server, whose compare-and-set is atomic as MongoDB's is.
//!
//! Tests share it because it takes seconds to start; each works in a database of its own. It never goes down: an
//! outage is the [`FaultProxy`] in front of it.

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

/// The server that this process's tests share.
pub struct MongoServer {
    uri: MongoUri,
    /// The process, unless somebody else runs the server. It ends with this process.
    process: Option<Running>,
}

impl MongoServer {
    /// The server, started by whoever comes first.
    ///
    /// # Panics
    ///
    /// When there is none; the message says what to install.
    pub async fn shared() -> &'static Self {
        // Plain processes and threads: an I/O object of one test's runtime would die with that test.
        static SHARED: OnceLock<Result<MongoServer, String>> = OnceLock::new();
        let shared = tokio::task::spawn_blocking(|| SHARED.get_or_init(Self::find)).await;
        match shared.expect("finding a server does not panic") {
            Ok(server) => server,
            Err(error) => panic!("{error}"),
        }
    }

    /// Its URI, without a database.
    pub fn uri(&self) -> String {
        self.uri.text()
    }

    /// Its URI as seen through a proxy in front of [`address`](Self::address).
    pub fn uri_through(&self, proxy: &FaultProxy) -> String {
        self.uri.through(proxy.address())
    }

    /// The address that it listens on.
    ///
    /// # Panics
    ///
    /// When `MONGODB_TEST_URI` does not name a host and a port that resolve (`mongodb+srv` does not).
    pub fn address(&self) -> SocketAddr {
        self.uri.address()
    }

    /// What it is, for people.
    pub fn description(&self) -> &'static str {
        self.process.as_ref().map_or(
            "the MongoDB that MONGODB_TEST_URI names",
            Running::description,
        )
    }

    /// A name for a database that no other test uses.
    pub fn fresh_database(&self) -> String {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let started = jiff::Timestamp::now().as_millisecond();
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        format!("test_{started}_{}_{number}", std::process::id())
    }

    /// A collection, for a look at what is stored.
    ///
    /// # Panics
    ///
    /// When its URI cannot be used.
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
