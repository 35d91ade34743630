//! The kinds of stores, and the reasons why a call to a store has no result.

use serde::{Serialize, Serializer};

/// A kind of store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backend {
    /// Redis or Valkey.
    Redis,
    /// MongoDB.
    MongoDb,
    /// The memory of this process.
    Memory,
    /// Another store. The string is the name of the store in responses, logs and metrics. It has only lowercase
    /// letters, digits and underscores.
    Other(&'static str),
}

impl Backend {
    /// The name in responses, logs and metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Redis => "redis",
            Self::MongoDb => "mongodb",
            Self::Memory => "memory",
            Self::Other(name) => name,
        }
    }
}

impl Serialize for Backend {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

/// Why a call to the store has no result. The operation must not run. A retry is safe.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// The authoritative store did not answer the call. A write may or may not be stored.
    #[error("{} store unavailable: {code}", store.name())]
    Unavailable {
        /// The store.
        store: Backend,
        /// A stable code for the reason, for example `timeout` or `refused`. It contains no text from a server.
        code: &'static str,
    },
    /// The memory store is full, and contains no expired record.
    #[error("memory store unavailable: it is full")]
    Full,
    /// No store is configured.
    #[error("no idempotency store is configured")]
    NoStore,
    /// Too little time is left to run the operation and store its result.
    #[error("too little time is left to run the operation")]
    TooLate,
}
