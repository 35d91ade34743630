//! Kinds of stores, and why none of them decided.

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
    /// Another one, by its name in answers, logs and metrics: lower case letters, digits and underscores.
    Other(&'static str),
}

impl Backend {
    /// The word for it in answers, logs and metrics.
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

/// Why no store could decide. Nothing runs, and asking again is safe.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// The store that decides has not acknowledged, for the reason with this code.
    #[error("have the {} store decide: {code}", store.name())]
    Unavailable {
        /// The store.
        store: Backend,
        /// The reason, in a word that stays the same: `timeout`, `refused`. Nothing that a server wrote.
        code: &'static str,
    },
    /// The memory that stands in is full, and nothing in it has expired.
    #[error("keep the claim: the memory store is full")]
    Full,
    /// No store is configured that may decide here.
    #[error("decide: no store is configured")]
    NoStore,
    /// Too little time is left to do the work and to store its result.
    #[error("begin: too little time is left")]
    TooLate,
}
