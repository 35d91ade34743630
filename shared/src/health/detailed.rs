//! The detailed health: the report of each service, and the overall status.

use std::time::{Duration, Instant};

use foundation::Deadline;
use futures_util::future;
use http::HeaderMap;
use http_api::Response;
use idempotency::Fallback;
use serde::Serialize;

use super::access::Access;
use super::memo::{AgedResult, Memo, ProbeTime};
use super::mongo_check::{MongoCheck, MongoReport};
use super::redis_check::{RedisCheck, RedisReport};
use super::{Identity, Report, Status, milliseconds};
use crate::config::{HealthConfig, Service};

/// Answers `/api/health/detailed`.
pub struct DetailedHealth {
    redis: RedisCheck,
    mongodb: MongoCheck,
    memo: Memo<Checked>,
    /// The services that make the overall status `unhealthy` if they do not work.
    critical: Vec<Service>,
    identity: Identity,
    /// Time limit of a whole response.
    total_timeout: Duration,
    /// Time limit of a probe.
    probe_limit: Duration,
    access: Access,
}

/// The checks of both stores.
pub(crate) struct Checks {
    pub(crate) redis: RedisCheck,
    pub(crate) mongodb: MongoCheck,
}

#[derive(Clone, Serialize)]
struct Checked {
    services: Services,
    /// The time of all checks together.
    latency_ms: f64,
}

#[derive(Clone, Serialize)]
struct Services {
    redis: RedisReport,
    mongodb: MongoReport,
    api: ApiReport,
}

/// The report on this process. A process that responds is healthy.
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
    checked: &'a AgedResult<Checked>,
}

impl DetailedHealth {
    /// Creates the endpoint from its checks, for a process with this identity.
    pub(crate) fn new(
        config: &HealthConfig,
        checks: Checks,
        identity: Identity,
        access: Access,
    ) -> Self {
        let critical = config.critical.clone();
        Self {
            critical: critical.unwrap_or_else(|| critical_services(checks.redis.fallback())),
            redis: checks.redis,
            mongodb: checks.mongodb,
            memo: Memo::new(config.memo),
            identity,
            total_timeout: config.total_timeout,
            probe_limit: config.probe_limit(),
            access,
        }
    }

    /// Responds to a request with these headers. The checks end at `deadline` or at the total time limit, whichever is
    /// sooner.
    ///
    /// # Cancel safety
    ///
    /// A dropped check may leave its key in Redis, which expires.
    pub async fn answer(&self, headers: &HeaderMap, deadline: Deadline) -> Response {
        let report = self.report(deadline);
        let limit = deadline.within(self.total_timeout);
        self.access.show(report, headers, limit).await
    }

    async fn report(&self, deadline: Deadline) -> Report {
        let probe_time = ProbeTime::of(deadline, self.probe_limit);
        let deadline = deadline.within(self.total_timeout);
        let aged = self
            .memo
            .fresh(deadline, probe_time, self.check(deadline))
            .await;
        let aged = aged.unwrap_or_else(|_| AgedResult::now(self.timed_out()));
        let status = overall(&aged.result.services.statuses(), &self.critical);
        Report::new(
            status,
            &Answer {
                status,
                identity: &self.identity,
                checked: &aged,
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

    /// The report for a request whose time ended while another request's check was still running.
    fn timed_out(&self) -> Checked {
        let services = Services {
            redis: self.redis.timed_out(),
            mongodb: self.mongodb.timed_out(),
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

/// The services without which no key can be claimed. They depend on the fallback of Redis.
fn critical_services(fallback: Fallback) -> Vec<Service> {
    match fallback {
        Fallback::MongoDb => vec![Service::MongoDb],
        Fallback::Memory => Vec::new(),
        Fallback::Reject => vec![Service::Redis],
    }
}

/// Derives the overall status. It is `unhealthy` if a critical service does not work. Otherwise, it is `degraded` if
/// any service is not well.
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
    fn only_critical_services_make_the_overall_status_unhealthy() {
        use Status::{Connected, Degraded, Disconnected, Healthy, Unhealthy};
        // Each case has the status of one service and two overall statuses: one if that service is critical, and one if
        // it is not.
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
    fn the_worst_service_decides_the_overall_status() {
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
