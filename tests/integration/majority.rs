//! Reads return only data that a majority of the servers has acknowledged, and writes wait for a majority. So a failover loses no
//! acknowledged write, and no data that a caller has read. These tests check the commands that the driver sends. The commands
//! must require a majority even if the options of the URI require less.
//!
//! The tests in `idempotency::majority` and `payments::majority` run each operation through a proxy that records the
//! commands.

use std::time::Duration;

use harness::{FaultProxy, MongoCommand, MongoServer};
use mongodb::bson::{Document, doc};
use mongodb::options::{ReadConcern, ReadPreference, SelectionCriteria, WriteConcern};
use shared::App;
use shared::deadline::Deadline;

/// The options of two URIs. The first URI has no options. The options of the second URI require less than a majority.
const OPTIONS: [&str; 2] = [
    "",
    "&w=1&readConcernLevel=local&readPreference=secondaryPreferred",
];

/// Commands that write to a collection.
const WRITES: &[&str] = &[
    "findAndModify",
    "update",
    "insert",
    "delete",
    "createIndexes",
];
/// Commands that read a collection.
const READS: &[&str] = &["aggregate", "find", "count", "distinct"];
/// Commands that do not read or write documents.
const OTHERS: &[&str] = &[
    "hello",
    "isMaster",
    "ismaster",
    "ping",
    "saslStart",
    "saslContinue",
    "endSessions",
    "listIndexes",
];

/// MongoDB behind a proxy.
pub(crate) struct Wire {
    proxy: FaultProxy,
    pub(crate) uri: String,
}

impl Wire {
    /// For each element of `OPTIONS`, starts a proxy in front of MongoDB and builds the URI through this proxy.
    pub(crate) async fn all() -> Vec<Self> {
        let server = MongoServer::shared().await;
        let wire = |options| {
            let proxy = FaultProxy::in_front_of(server.address());
            let uri = format!("{}{options}", server.uri_through(&proxy));
            Self { proxy, uri }
        };
        OPTIONS.into_iter().map(wire).collect()
    }

    /// Runs an operation and returns its result. Checks that it sends all of these commands, and no other command that
    /// reads or writes documents. Each of the commands must require a majority.
    pub(crate) async fn sends<T>(&self, names: &[&str], operation: impl Future<Output = T>) -> T {
        self.proxy.reset_counters();

        let done = operation.await;

        let commands = self.proxy.mongo_commands();
        for name in names {
            let is_there = commands.iter().any(|command| command.name == *name);
            assert!(is_there, "no {name}, but {commands:?}");
        }
        for command in &commands {
            let is_other = OTHERS.contains(&command.name.as_str());
            assert!(
                is_other || names.contains(&command.name.as_str()),
                "{command:?}"
            );
            check(command);
        }
        done
    }
}

/// Checks that a command requires a majority.
///
/// # Panics
///
/// Panics if the command requires less than a majority, or if it is not in `WRITES`, `READS` or `OTHERS`.
fn check(command: &MongoCommand) {
    let name = command.name.as_str();
    if WRITES.contains(&name) {
        assert_eq!(
            command.write_concern,
            Some(doc! { "w": "majority" }),
            "{command:?}"
        );
    } else if READS.contains(&name) {
        assert_eq!(
            command.read_concern,
            Some(doc! { "level": "majority" }),
            "{command:?}"
        );
    } else {
        assert!(OTHERS.contains(&name), "{name} is in none of the lists");
        return;
    }
    // The driver omits the read preference if it is the default. To a replica set with a single member, the driver sends
    // `primaryPreferred`.
    let mode = |preference: &Document| preference.get_str("mode").map(str::to_owned);
    let mode = command.read_preference.as_ref().map(mode);
    let modes = ["primary", "primaryPreferred"];
    assert!(
        mode.is_none_or(|mode| mode.is_ok_and(|mode| modes.contains(&&*mode))),
        "{command:?}"
    );
}

/// The driver sends no read preference to a standalone server, so this test checks the settings of the driver.
#[tokio::test]
async fn every_call_uses_the_primary_and_a_majority() {
    for wire in Wire::all().await {
        let lookup = |variable: &str| (variable == "MONGODB_URI").then(|| wire.uri.clone().into());
        let mongo = App::from_lookup(lookup).expect("usable").mongodb().clone();

        let patience = Deadline::after(Duration::from_secs(5));
        let database = mongo.run(patience, async |database| Ok(database)).await;

        let database = database.expect("a client");
        let primary = SelectionCriteria::ReadPreference(ReadPreference::Primary);
        assert_eq!(
            database.selection_criteria(),
            Some(&primary),
            "{}",
            wire.uri
        );
        let (read, write) = (database.read_concern(), database.write_concern());
        assert_eq!(read, Some(&ReadConcern::majority()));
        assert_eq!(write, Some(&WriteConcern::majority()));
    }
}
