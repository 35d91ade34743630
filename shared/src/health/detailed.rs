//! The health of everything: each service's report, and what they come to together.

use std::time::{Duration, Instant};

use foundation::Deadline;
use futures_util::future;
use http::HeaderMap;
use http_api::Response;
use idempotency::Fallback;
use serde::Serialize;

use super::access::Access;
use super::memo::{Dated, Haste, Memo};
use super::mongo_check::{MongoCheck, MongoReport};
use super::redis_check::{RedisCheck, RedisReport};
use super::{Identity, Report, Status, milliseconds};
use crate::config::{HealthConfig, Service};

/// Answers `/api/health/detailed`.
pub struct DetailedHealth {
    redis: RedisCheck,
    mongodb: MongoCheck,
    memo: Memo<Checked>,
    /// The services that make the whole `unhealthy` where they do not work.
    critical: Vec<Service>,
    identity: Identity,
    /// Limit of a whole answer.
    total_timeout: Duration,
    /// What a probe may take.
    probe_time: Duration,
    access: Access,
}

/// The two looks that it takes.
pub(crate) struct Checks {
    pub(crate) redis: RedisCheck,
    pub(crate) mongodb: MongoCheck,
}

#[derive(Clone, Serialize)]
struct Checked {
    services: Services,
    /// How long it took to look at all of them.
    latency_ms: f64,
}

#[derive(Clone, Serialize)]
struct Services {
    redis: RedisReport,
    mongodb: MongoReport,
    api: ApiReport,
}

/// This process, which is well if it can say so.
#[derive(Clone, Serialize)]
struct ApiReport {
    status: Status,
    connected: bool,
}

#[derive(Serialize)]
struct Answer<'a> {
    status: Status,
    #[serde(flatten)]
    identity: &'a Identity,
    #[serde(flatten)]
    checked: &'a Dated<Checked>,
}

impl DetailedHealth {
    /// Answers with what the `checks` find, for a process of this `identity`.
    pub(crate) fn new(
        config: &HealthConfig,
        checks: Checks,
        identity: Identity,
        access: Access,
    ) -> Self {
        let critical = config.critical.clone();
        Self {
            critical: critical.unwrap_or_else(|| critical_without(checks.redis.fallback())),
            redis: checks.redis,
            mongodb: checks.mongodb,
            memo: Memo::new(config.memo),
            identity,
            total_timeout: config.total_timeout,
            probe_time: config.probe_time(),
            access,
        }
    }

    /// The answer to a request with these `headers`: how everything is, found out by `deadline` or within the total limit, whichever is sooner.
    ///
    /// # Cancel safety
    ///
    /// A dropped check may leave its key behind in Redis, which expires.
    pub async fn answer(&self, headers: &HeaderMap, deadline: Deadline) -> Response {
        let report = self.report(deadline);
        let limit = deadline.within(self.total_timeout);
        self.access.show(report, headers, limit).await
    }

    async fn report(&self, deadline: Deadline) -> Report {
        let haste = Haste::of(deadline, self.probe_time);
        let deadline = deadline.within(self.total_timeout);
        let dated = self.memo.fresh(deadline, haste, self.check(deadline)).await;
        let dated = dated.unwrap_or_else(|_| Dated::now(self.overrun()));
        let status = overall(&dated.result.services.statuses(), &self.critical);
        Report::new(
            status,
            &Answer {
                status,
                identity: &self.identity,
                checked: &dated,
            },
        )
    }

    async fn check(&self, deadline: Deadline) -> Checked {
        let started = Instant::now();
        let (redis, mongodb) =
            future::join(self.redis.run(deadline), self.mongodb.run(deadline)).await;
        let services = Services {
            redis,
            mongodb,
            api: ApiReport::WELL,
        };
        Checked {
            services,
            latency_ms: milliseconds(started.elapsed()),
        }
    }

    /// The report for a request whose time ran out while another's look was still going on.
    fn overrun(&self) -> Checked {
        let services = Services {
            redis: self.redis.overrun(),
            mongodb: self.mongodb.overrun(),
            api: ApiReport::WELL,
        };
        Checked {
            services,
            latency_ms: milliseconds(self.total_timeout),
        }
    }
}

impl ApiReport {
    const WELL: Self = Self {
        status: Status::Healthy,
        connected: true,
    };
}

impl Services {
    fn statuses(&self) -> [(Service, Status); 3] {
        [
            (Service::Redis, self.redis.status),
            (Service::MongoDb, self.mongodb.status),
            (Service::Api, self.api.status),
        ]
    }
}

/// The services without which payments cannot be decided, where this answers for Redis.
fn critical_without(fallback: Fallback) -> Vec<Service> {
    match fallback {
        Fallback::MongoDb => vec![Service::MongoDb],
        Fallback::Memory => Vec::new(),
        Fallback::Reject => vec![Service::Redis],
    }
}

/// What does not work decides first, then what works with a fault.
fn overall(services: &[(Service, Status)], critical: &[Service]) -> Status {
    let fails_critically =
        |(service, status): &(_, Status)| !status.is_serving() && critical.contains(service);
    if services.iter().any(fails_critically) {
        Status::Unhealthy
    } else if services.iter().all(|(_, status)| status.is_well()) {
        Status::Healthy
    } else {
        Status::Degraded
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_whole_is_as_well_as_what_it_depends_on() {
        use Status::{Connected, Degraded, Disconnected, Healthy, Unhealthy};
        // Of a service, what the whole is where the service is critical, and where it is not.
        let cases = [
            (Healthy, Healthy, Healthy),
            (Connected, Healthy, Healthy),
            (Degraded, Degraded, Degraded),
            (Unhealthy, Unhealthy, Degraded),
            (Disconnected, Unhealthy, Degraded),
        ];
        let all = [Service::Redis, Service::MongoDb, Service::Api];
        for (status, critical, other) in cases {
            for service in all {
                let services =
                    all.map(|each| (each, if each == service { status } else { Healthy }));
                let others = all.into_iter().filter(|each| *each != service);
                let others: Vec<_> = others.collect();
                assert_eq!(overall(&services, &all), critical, "{services:?}");
                assert_eq!(overall(&services, &[service]), critical, "{services:?}");
                assert_eq!(overall(&services, &others), other, "{services:?}");
                assert_eq!(overall(&services, &[]), other, "{services:?}");
            }
        }
    }

    #[test]
    fn the_worst_service_decides() {
        use Status::{Connected, Degraded, Disconnected, Unhealthy};
        let both = [Service::Redis, Service::MongoDb];
        let cases = [
            (Degraded, Degraded, &both[..], Degraded),
            (Degraded, Unhealthy, &both, Unhealthy),
            (Disconnected, Degraded, &both, Unhealthy),
            (Degraded, Disconnected, &[Service::Redis], Degraded),
            (Disconnected, Connected, &[Service::MongoDb], Degraded),
            (Disconnected, Unhealthy, &[Service::Api], Degraded),
        ];
        for (redis, mongodb, critical, expected) in cases {
            let services = [
                (Service::Redis, redis),
                (Service::MongoDb, mongodb),
                (Service::Api, Status::Healthy),
            ];
            assert_eq!(
                overall(&services, critical),
                expected,
                "{redis:?} {mongodb:?} {critical:?}"
            );
        }
    }
}
