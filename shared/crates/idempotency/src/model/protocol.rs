//! The configuration of a search.

use std::time::Duration;

use super::bug::Bug;
use crate::Policy;

/// A protocol to check, and the bounds of the search. Times are in ticks of the clock.
#[derive(Clone, Copy, Debug)]
pub(super) struct Protocol {
    pub(super) name: &'static str,
    pub(super) layout: Layout,
    pub(super) policy: Policy,
    pub(super) beginning: Beginning,
    pub(super) clients: u8,
    /// Number of different requests under the key. The clients send these requests in turn.
    pub(super) requests: u8,
    /// Largest number of faults.
    pub(super) faults: u8,
    /// Largest number of clock ticks; a lease lasts one tick.
    pub(super) ticks: u64,
    /// How long a finished record is kept.
    pub(super) retention: u64,
    /// Largest number of checkpoints that each holder sends.
    pub(super) notes: u8,
    /// Largest number of renewals that each holder sends.
    pub(super) renewals: u8,
    /// Largest number of times that a reconciler reads the key.
    pub(super) resolutions: u8,
    /// Whether the search includes holders that mark their outcome as unknown.
    pub(super) doubts: bool,
    /// Whether the search includes delayed replies.
    pub(super) slow_replies: bool,
    /// Whether the other MongoDB servers can lag behind the primary, so that a failover can drop writes.
    pub(super) lags: bool,
    /// Whether the Redis cache can lose its data.
    pub(super) redis_loses_data: bool,
    /// How far the clock of the Redis cache is behind the clock of MongoDB.
    pub(super) redis_behind: u64,
    pub(super) bug: Option<Bug>,
}

/// Which stores take part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Layout {
    Tiered,
    MongoDb,
    RedisAlone,
}

/// The state at the start of the search.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Beginning {
    Nothing,
    /// The first client has completed.
    Completed,
}

/// The largest clock difference between Redis and MongoDB that the protocol allows.
const CLOCK_MARGIN: u64 = 1;
/// A retention that does not end in any search.
const LONG: u64 = 500;

impl Protocol {
    /// MongoDB with Redis as a cache in front of it. Redis may lose its data.
    pub(super) const TIERED: Self = Self {
        name: "tiered",
        layout: Layout::Tiered,
        policy: Policy::AtMostOnce,
        beginning: Beginning::Nothing,
        clients: 2,
        requests: 1,
        faults: 2,
        ticks: 2,
        retention: LONG,
        notes: 0,
        renewals: 0,
        resolutions: 0,
        doubts: false,
        slow_replies: false,
        lags: false,
        redis_loses_data: true,
        redis_behind: 0,
        bug: None,
    };

    /// Three clients send two different requests.
    pub(super) const TWO_REQUESTS: Self = Self {
        name: "two requests",
        clients: 3,
        requests: 2,
        faults: 1,
        ticks: 1,
        ..Self::TIERED
    };

    /// MongoDB alone.
    const MONGODB: Self = Self {
        name: "mongodb",
        layout: Layout::MongoDb,
        redis_loses_data: false,
        ..Self::TIERED
    };

    /// Redis as the only store. Redis keeps its data.
    pub(super) const REDIS_ALONE: Self = Self {
        name: "redis alone",
        layout: Layout::RedisAlone,
        resolutions: 1,
        redis_loses_data: false,
        ..Self::TIERED
    };

    /// Holders that store two checkpoints.
    pub(super) const NOTES: Self = Self {
        name: "notes",
        policy: Policy::RerunAlways,
        faults: 1,
        ticks: 1,
        notes: 2,
        ..Self::MONGODB
    };

    /// A holder renews its lease twice, and replies can be delayed.
    pub(super) const RENEWALS: Self = Self {
        name: "renewals",
        policy: Policy::RerunAlways,
        clients: 1,
        renewals: 2,
        slow_replies: true,
        ..Self::MONGODB
    };

    /// A result exists from the start, and its retention ends.
    pub(super) const RETENTION: Self = Self {
        name: "retention",
        beginning: Beginning::Completed,
        clients: 3,
        faults: 1,
        ticks: 3,
        retention: 2,
        ..Self::MONGODB
    };

    /// `RETENTION` with a Redis cache. The clock of Redis is behind by the whole margin.
    pub(super) const RETENTION_IN_FRONT: Self = Self {
        name: "retention in front",
        layout: Layout::Tiered,
        requests: 2,
        redis_behind: CLOCK_MARGIN,
        ..Self::RETENTION
    };

    /// The clock of Redis is behind by more than the margin.
    pub(super) const REDIS_FAR_BEHIND: Self = Self {
        name: "redis far behind",
        beginning: Beginning::Nothing,
        clients: 2,
        requests: 1,
        ticks: 2,
        redis_behind: 3,
        ..Self::RETENTION_IN_FRONT
    };

    /// The key is unused at the start. So the search also reaches released records that expire, and unknown records
    /// that outlast the retention.
    pub(super) const RETENTION_FROM_NOTHING: Self = Self {
        name: "retention from nothing",
        beginning: Beginning::Nothing,
        clients: 2,
        faults: 0,
        retention: 1,
        resolutions: 1,
        doubts: true,
        ..Self::RETENTION
    };

    /// `RETENTION_FROM_NOTHING` in Redis alone, where unfinished records expire too.
    pub(super) const RETENTION_IN_REDIS: Self = Self {
        name: "retention in redis",
        layout: Layout::RedisAlone,
        faults: 1,
        ..Self::RETENTION_FROM_NOTHING
    };

    /// A reconciler reads twice and can write late, while holders renew their leases.
    pub(super) const RESOLVING: Self = Self {
        name: "resolving",
        faults: 0,
        ticks: 2,
        retention: 1,
        renewals: 1,
        resolutions: 2,
        ..Self::MONGODB
    };

    /// The primary has writes that have not reached a majority yet, and can fail over.
    pub(super) const FAILOVER: Self = Self {
        name: "failover",
        ticks: 1,
        lags: true,
        ..Self::MONGODB
    };

    /// `FAILOVER` while a retention ends. So a failover can restore deleted records.
    pub(super) const FAILOVER_AND_RETENTION: Self = Self {
        name: "failover and retention",
        lags: true,
        ..Self::RETENTION
    };

    pub(super) const fn with(self, bug: Bug) -> Self {
        Self {
            bug: Some(bug),
            ..self
        }
    }

    pub(super) const fn rerun(self) -> Self {
        Self {
            policy: Policy::RerunAlways,
            ..self
        }
    }

    pub(super) fn request_of(&self, id: usize) -> u8 {
        u8::try_from(id).unwrap_or(0) % self.requests
    }

    pub(super) fn retention(&self) -> Duration {
        Duration::from_millis(self.retention)
    }

    /// How long the Redis cache replays a result.
    pub(super) fn hint_retention(&self) -> Duration {
        Duration::from_millis(match self.bug {
            Some(Bug::ResultOutlivesRetention) => self.retention + 1,
            _ => self.retention - CLOCK_MARGIN,
        })
    }

    /// Whether the clocks differ by more than allowed. Then Redis may replay a result for too long, but still never
    /// replaces a newer result.
    pub(super) fn redis_is_far_behind(&self) -> bool {
        self.redis_behind > CLOCK_MARGIN
    }
}
