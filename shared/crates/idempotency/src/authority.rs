//! The authoritative store, and the fallback for Redis. The configuration determines both.

#[cfg(feature = "mongodb")]
use mongo_client::Mongo;
#[cfg(feature = "redis")]
use redis_client::RedisClient;
use serde::Serialize;

use super::store::Store;
#[cfg(feature = "memory")]
use super::store::memory::MemoryStore;
#[cfg(feature = "mongodb")]
use super::store::mongo_store::MongoStore;
#[cfg(all(feature = "memory", feature = "redis"))]
use super::store::redis_behind_memory::RedisBehindMemory;
#[cfg(feature = "redis")]
use super::store::redis_store::RedisStore;
use super::store::reject::Reject;
#[cfg(all(feature = "mongodb", feature = "redis"))]
use super::store::tiered::TieredStore;
use super::{IdempotencyConfig, ResponseKeys};

/// The stores that take part. The configuration determines them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Authority {
    /// MongoDB is authoritative, with Redis as a cache in front of it.
    Tiered,
    /// MongoDB is authoritative.
    MongoDb,
    /// Redis is authoritative.
    Redis,
    /// Redis is authoritative for each key at first. The memory of this process becomes authoritative for a key if
    /// Redis does not answer, or has lost the key.
    RedisBehindMemory,
    /// The memory of this process is authoritative.
    Memory,
    /// A store that the caller implements is authoritative.
    Own,
    /// No store is configured: every claim is refused.
    #[serde(rename = "nobody")]
    NoStore,
}

/// The fallback while Redis is unavailable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Fallback {
    /// MongoDB, which is authoritative with or without Redis.
    MongoDb,
    /// The memory of each process. It is used only in development, because other processes cannot read it.
    Memory,
    /// No fallback: requests that need Redis are refused.
    Reject,
}

/// The stores of a process. None of them is connected yet.
#[derive(Default)]
pub struct Stores {
    /// MongoDB; `None`: MongoDB is not configured.
    #[cfg(feature = "mongodb")]
    pub mongodb: Option<Mongo>,
    /// Redis or Valkey; `None`: neither is configured.
    #[cfg(feature = "redis")]
    pub redis: Option<RedisClient>,
    /// Whether the memory of this process is used if no other store is configured, or while Redis is unavailable. Set
    /// this only in development, because other processes cannot read that memory.
    #[cfg(feature = "memory")]
    pub memory: bool,
    /// A store that the caller implements. If it is set, the other stores are not used.
    pub own: Option<Box<dyn Store>>,
}

/// Which stores are configured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Available {
    /// Whether MongoDB is configured.
    pub mongodb: bool,
    /// Whether Redis or Valkey is configured.
    pub redis: bool,
    /// Whether the memory of this process may be used as a store.
    pub memory: bool,
}

impl Authority {
    /// Returns the authority for these stores.
    pub fn of(available: Available) -> Self {
        match (available.mongodb, available.redis, available.memory) {
            (true, true, _) => Self::Tiered,
            (true, false, _) => Self::MongoDb,
            (false, true, true) => Self::RedisBehindMemory,
            (false, true, false) => Self::Redis,
            (false, false, true) => Self::Memory,
            (false, false, false) => Self::NoStore,
        }
    }

    /// The name of this authority in logs.
    pub fn name(self) -> &'static str {
        match self {
            Self::Tiered => "tiered",
            Self::MongoDb => "mongodb",
            Self::Redis => "redis",
            Self::RedisBehindMemory => "redis_behind_memory",
            Self::Memory => "memory",
            Self::Own => "own",
            Self::NoStore => "nobody",
        }
    }
}

impl Stores {
    /// Returns the memory of this process as the only store.
    #[cfg(feature = "memory")]
    pub fn memory() -> Self {
        Self {
            memory: true,
            ..Self::default()
        }
    }

    /// Returns the store of the caller as the only store; see [`store`](crate::store).
    pub fn own(store: impl Store + 'static) -> Self {
        Self {
            #[cfg(feature = "mongodb")]
            mongodb: None,
            #[cfg(feature = "redis")]
            redis: None,
            #[cfg(feature = "memory")]
            memory: false,
            own: Some(Box::new(store)),
        }
    }

    /// The authority for the configured stores.
    pub(super) fn authority(&self) -> Authority {
        match self.own {
            Some(_) => Authority::Own,
            None => Authority::of(self.available()),
        }
    }

    /// Which stores are configured.
    pub fn available(&self) -> Available {
        Available {
            #[cfg(feature = "mongodb")]
            mongodb: self.mongodb.is_some(),
            #[cfg(not(feature = "mongodb"))]
            mongodb: false,
            #[cfg(feature = "redis")]
            redis: self.redis.is_some(),
            #[cfg(not(feature = "redis"))]
            redis: false,
            #[cfg(feature = "memory")]
            memory: self.memory,
            #[cfg(not(feature = "memory"))]
            memory: false,
        }
    }

    /// Combines the stores into one. If `response_keys` are given, the Redis cache in front of MongoDB replays only
    /// results that were signed with these keys.
    pub(super) fn open(
        self,
        config: &IdempotencyConfig,
        response_keys: Option<&ResponseKeys>,
    ) -> Box<dyn Store> {
        if let Some(own) = self.own {
            return own;
        }
        #[cfg(feature = "mongodb")]
        if let Some(mongodb) = self.mongodb {
            let mongodb = MongoStore::new(mongodb, config.retention);
            #[cfg(feature = "redis")]
            if let Some(redis) = self.redis {
                let response_keys = response_keys.cloned();
                let tiered = TieredStore::new(redis, mongodb, config.retention, response_keys);
                return Box::new(tiered);
            }
            return Box::new(mongodb);
        }
        #[cfg(feature = "redis")]
        if let Some(redis) = self.redis {
            #[cfg(feature = "memory")]
            if self.memory {
                let redis = RedisStore::with_first_times(redis, config.retention);
                return Box::new(RedisBehindMemory::new(MemoryStore::new(config), redis));
            }
            return Box::new(RedisStore::new(redis, config.retention));
        }
        #[cfg(feature = "memory")]
        if self.memory {
            return Box::new(MemoryStore::new(config));
        }
        // Without the features `mongodb`, `redis` and `memory`, no store uses these arguments.
        let _ = (config, response_keys);
        Box::new(Reject)
    }
}

impl Fallback {
    /// The fallback for Redis under this authority.
    pub fn for_redis(authority: Authority) -> Self {
        match authority {
            Authority::Tiered | Authority::MongoDb => Self::MongoDb,
            Authority::RedisBehindMemory | Authority::Memory => Self::Memory,
            Authority::Redis | Authority::Own | Authority::NoStore => Self::Reject,
        }
    }
}
