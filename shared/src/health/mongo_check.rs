//! The health of MongoDB: a ping and its assessment.

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use foundation::Deadline;
use futures_util::FutureExt;
use idempotency::Fallback;
use mongo_client::{Error, Mongo};
use serde::Serialize;
use telemetry::metrics::Metrics;

use super::assessment::Assessment;
use super::{Status, milliseconds, record};
use crate::config::HealthConfig;

/// The check of MongoDB.
pub(crate) struct MongoCheck {
    mongo: Mongo,
    metrics: Metrics,
    /// Time limit of one check.
    timeout: Duration,
    /// The latency above which MongoDB is `degraded`.
    slow: Duration,
}

/// The health of MongoDB, as in responses.
#[derive(Clone, Debug, Serialize)]
pub(super) struct MongoReport {
    pub(super) status: Status,
    /// Whether a server replied.
    connected: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    latency_ms: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error_code: Option<&'static str>,
    /// The fallback if MongoDB is configured and does not work.
    #[serde(skip_serializing_if = "Option::is_none")]
    fallback: Option<Fallback>,
}

impl MongoCheck {
    /// Creates the check of this client.
    pub(crate) fn new(config: &HealthConfig, mongo: Mongo, metrics: Metrics) -> Self {
        Self {
            mongo,
            metrics,
            timeout: config.check_timeout,
            slow: config.slow,
        }
    }

    /// Pings MongoDB within the time limit. Every outcome becomes a report, even a panic.
    pub(super) async fn run(&self, deadline: Deadline) -> MongoReport {
        let deadline = deadline.within(self.timeout);
        let report = match AssertUnwindSafe(self.mongo.ping(deadline))
            .catch_unwind()
            .await
        {
            Ok(found) => self.ping_report(found),
            Err(_) => self.report(Assessment::internal_error()),
        };
        if self.mongo.is_configured() {
            record(&self.metrics, "mongodb", report.status, report.latency_ms);
        }
        report
    }

    /// The report for a request whose time ended while another request's ping was still running.
    pub(super) fn timed_out(&self) -> MongoReport {
        self.ping_report(Err(Error::Timeout))
    }

    fn ping_report(&self, found: Result<Duration, Error>) -> MongoReport {
        let latency_ms = found.ok().map(milliseconds);
        MongoReport {
            connected: matches!(found, Ok(_) | Err(Error::Rejected)),
            latency_ms,
            ..self.report(assess(found, self.slow))
        }
    }

    fn report(&self, assessment: Assessment) -> MongoReport {
        let serves = assessment.status.is_serving();
        MongoReport {
            status: assessment.status,
            connected: false,
            latency_ms: None,
            error: assessment.error,
            error_code: assessment.error_code,
            fallback: (self.mongo.is_configured() && !serves).then_some(Fallback::Reject),
        }
    }
}

fn assess(found: Result<Duration, Error>, slow: Duration) -> Assessment {
    match found {
        Ok(latency) if latency > slow => Assessment::new(
            Status::Degraded,
            "slow",
            "the server replies slowly: the ping took longer than HEALTH_SLOW_MS",
        ),
        Ok(_) => Assessment::working(Status::Connected),
        Err(error @ (Error::Timeout | Error::ConnectionLost | Error::Rejected)) => {
            Assessment::new(Status::Unhealthy, error.code(), error)
        }
        Err(error) => Assessment::new(Status::Disconnected, error.code(), error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_result_of_a_ping_has_its_status_and_code() {
        let slow = Duration::from_millis(100);
        let cases = [
            (Ok(Duration::from_millis(1)), Status::Connected, None),
            (
                Ok(Duration::from_millis(101)),
                Status::Degraded,
                Some("slow"),
            ),
            (
                Err(Error::NotConfigured),
                Status::Disconnected,
                Some("not_configured"),
            ),
            (
                Err(Error::NoCredentials),
                Status::Disconnected,
                Some("no_credentials"),
            ),
            (
                Err(Error::InvalidUrl),
                Status::Disconnected,
                Some("invalid_url"),
            ),
            (
                Err(Error::ConnectFailed),
                Status::Disconnected,
                Some("connect_failed"),
            ),
            (
                Err(Error::AuthFailed),
                Status::Disconnected,
                Some("auth_failed"),
            ),
            (Err(Error::Timeout), Status::Unhealthy, Some("timeout")),
            (
                Err(Error::ConnectionLost),
                Status::Unhealthy,
                Some("connection_lost"),
            ),
        ];
        for (found, status, error_code) in cases {
            let assessment = assess(found, slow);
            assert_eq!(
                (assessment.status, assessment.error_code),
                (status, error_code),
                "{found:?}"
            );
        }
    }
}
