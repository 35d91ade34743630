//! Which store decides, and what answers for Redis while it is away. It follows from what is configured.

use serde::Serialize;

use super::ResponseKeys;
use super::store::gate::GatedStore;
use super::store::memory::MemoryStore;
use super::store::mongo_store::MongoStore;
use super::store::redis_store::RedisStore;
use super::store::tiered::TieredStore;
use super::store::{Reject, Store};
use crate::config::Config;
use crate::mongo::Mongo;
use crate::redis_client::RedisClient;

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

impl Authority {
    /// Who decides under this configuration.
    pub fn of(config: &Config) -> Self {
        let redis = config.redis.url.is_some();
        match (
            config.mongo.uri.is_some(),
            redis,
            config.idempotency.memory_fallback,
        ) {
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
            Self::Nobody => "nobody",
        }
    }

    /// The stores themselves. Nothing is connected. With `response_keys`, Redis in front of MongoDB is believed only what was signed.
    pub(super) fn open(
        self,
        config: &Config,
        response_keys: Option<&ResponseKeys>,
    ) -> Box<dyn Store> {
        let window = config.idempotency.window;
        let redis = || RedisClient::new(&config.redis);
        let mongo = || MongoStore::new(Mongo::new(&config.mongo), window);
        let memory = || MemoryStore::new(&config.idempotency);
        match self {
            Self::Tiered => Box::new(TieredStore::new(
                redis(),
                mongo(),
                window,
                response_keys.cloned(),
            )),
            Self::MongoDb => Box::new(mongo()),
            Self::Redis => Box::new(RedisStore::new(redis(), window)),
            Self::RedisBehindMemory => {
                Box::new(GatedStore::new(memory(), RedisStore::new(redis(), window)))
            }
            Self::Memory => Box::new(memory()),
            Self::Nobody => Box::new(Reject),
        }
    }
}

impl Fallback {
    /// What answers for Redis under this configuration.
    pub fn for_redis(config: &Config) -> Self {
        match Authority::of(config) {
            Authority::Tiered | Authority::MongoDb => Self::MongoDb,
            Authority::RedisBehindMemory | Authority::Memory => Self::Memory,
            Authority::Redis | Authority::Nobody => Self::Reject,
        }
    }
}
