//! Which store decides, and what answers for Redis while it is away. It follows from what is configured.

#[cfg(feature = "mongodb")]
use mongo_client::Mongo;
#[cfg(feature = "redis")]
use redis_client::RedisClient;
use serde::Serialize;

use super::store::Store;
#[cfg(all(feature = "memory", feature = "redis"))]
use super::store::gate::GatedStore;
#[cfg(feature = "memory")]
use super::store::memory::MemoryStore;
#[cfg(feature = "mongodb")]
use super::store::mongo_store::MongoStore;
#[cfg(feature = "redis")]
use super::store::redis_store::RedisStore;
use super::store::reject::Reject;
#[cfg(all(feature = "mongodb", feature = "redis"))]
use super::store::tiered::TieredStore;
use super::{IdempotencyConfig, ResponseKeys};

/// The stores that take part, by what is configured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Authority {
    /// MongoDB decides, Redis in front of it shortens the way.
    Tiered,
    /// MongoDB decides.
    MongoDb,
    /// Redis decides.
    Redis,
    /// Redis decides, behind the memory of this process.
    RedisBehindMemory,
    /// The memory of this process decides.
    Memory,
    /// A store of the caller's own decides.
    Own,
    /// Nobody decides, everything is refused.
    Nobody,
}

/// What answers for Redis while it does not work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Fallback {
    /// MongoDB, which decides anyway.
    MongoDb,
    /// The memory of each process. Only in development: other processes do not see it.
    Memory,
    /// Nothing: what depends on Redis is refused.
    Reject,
}

/// The stores that a process has. None of them is connected yet.
#[derive(Default)]
pub struct Stores {
    /// MongoDB.
    #[cfg(feature = "mongodb")]
    pub mongodb: Option<Mongo>,
    /// Redis or Valkey.
    #[cfg(feature = "redis")]
    pub redis: Option<RedisClient>,
    /// Whether the memory of this process may decide where neither is, or while Redis is away. In development only: other processes
    /// do not see it.
    #[cfg(feature = "memory")]
    pub memory: bool,
    /// A store of the caller's own. It decides alone: no other one is asked.
    pub own: Option<Box<dyn Store>>,
}

/// Which stores a process has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Available {
    /// MongoDB.
    pub mongodb: bool,
    /// Redis or Valkey.
    pub redis: bool,
    /// The memory of this process.
    pub memory: bool,
}

impl Authority {
    /// The store that decides, of those that are available.
    pub fn of(available: Available) -> Self {
        match (available.mongodb, available.redis, available.memory) {
            (true, true, _) => Self::Tiered,
            (true, false, _) => Self::MongoDb,
            (false, true, true) => Self::RedisBehindMemory,
            (false, true, false) => Self::Redis,
            (false, false, true) => Self::Memory,
            (false, false, false) => Self::Nobody,
        }
    }

    /// The word for it in logs.
    pub fn name(self) -> &'static str {
        match self {
            Self::Tiered => "tiered",
            Self::MongoDb => "mongodb",
            Self::Redis => "redis",
            Self::RedisBehindMemory => "redis_behind_memory",
            Self::Memory => "memory",
            Self::Own => "own",
            Self::Nobody => "nobody",
        }
    }
}

impl Stores {
    /// The memory of this process alone.
    #[cfg(feature = "memory")]
    pub fn memory() -> Self {
        Self {
            memory: true,
            ..Self::default()
        }
    }

    /// A store of the caller's own; see [`store`](crate::store).
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

    /// Which of them decides.
    pub(super) fn authority(&self) -> Authority {
        match self.own {
            Some(_) => Authority::Own,
            None => Authority::of(self.available()),
        }
    }

    /// Which of them there are.
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

    /// The store that they make together. With `response_keys`, Redis in front of MongoDB is believed only what was signed.
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
            let redis = RedisStore::new(redis, config.retention);
            #[cfg(feature = "memory")]
            if self.memory {
                return Box::new(GatedStore::new(MemoryStore::new(config), redis));
            }
            return Box::new(redis);
        }
        #[cfg(feature = "memory")]
        if self.memory {
            return Box::new(MemoryStore::new(config));
        }
        // What no store of these features needs.
        let _ = (config, response_keys);
        Box::new(Reject)
    }
}

impl Fallback {
    /// What answers for Redis under this authority.
    pub fn for_redis(authority: Authority) -> Self {
        match authority {
            Authority::Tiered | Authority::MongoDb => Self::MongoDb,
            Authority::RedisBehindMemory | Authority::Memory => Self::Memory,
            Authority::Redis | Authority::Own | Authority::Nobody => Self::Reject,
        }
    }
}
