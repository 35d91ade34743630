//! The health of MongoDB: a ping, judged.

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use foundation::Deadline;
use futures_util::FutureExt;
use idempotency::Fallback;
use mongo_client::{Error, Mongo};
use serde::Serialize;
use telemetry::metrics::Metrics;

use super::verdict::Verdict;
use super::{Status, milliseconds, record};
use crate::config::HealthConfig;

/// One look at MongoDB.
pub(crate) struct MongoCheck {
    mongo: Mongo,
    metrics: Metrics,
    /// Limit of one look.
    timeout: Duration,
    /// The ping time above which MongoDB is `degraded`.
    slow: Duration,
}

/// How MongoDB is, as answers show it.
#[derive(Clone, Debug, Serialize)]
pub(super) struct MongoReport {
    pub(super) status: Status,
    /// Whether a server answered.
    connected: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    latency_ms: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error_code: Option<&'static str>,
    /// What is in force where MongoDB decides and cannot.
    #[serde(skip_serializing_if = "Option::is_none")]
    fallback: Option<Fallback>,
}

impl MongoCheck {
    /// Looks through this client.
    pub(crate) fn new(config: &HealthConfig, mongo: Mongo, metrics: Metrics) -> Self {
        Self {
            mongo,
            metrics,
            timeout: config.check_timeout,
            slow: config.slow,
        }
    }

    /// Pings MongoDB within the limit of a check. Whatever happens becomes a report.
    pub(super) async fn run(&self, deadline: Deadline) -> MongoReport {
        let deadline = deadline.within(self.timeout);
        let report = match AssertUnwindSafe(self.mongo.ping(deadline))
            .catch_unwind()
            .await
        {
            Ok(found) => self.assess(found),
            Err(_) => self.report(Verdict::internal_error()),
        };
        if self.mongo.is_configured() {
            record(&self.metrics, "mongodb", report.status, report.latency_ms);
        }
        report
    }

    /// The report for a request whose time ran out while another's ping was still running.
    pub(super) fn overrun(&self) -> MongoReport {
        self.assess(Err(Error::Timeout))
    }

    fn assess(&self, found: Result<Duration, Error>) -> MongoReport {
        let latency_ms = found.ok().map(milliseconds);
        MongoReport {
            connected: matches!(found, Ok(_) | Err(Error::Rejected)),
            latency_ms,
            ..self.report(judge(found, self.slow))
        }
    }

    fn report(&self, verdict: Verdict) -> MongoReport {
        let serves = verdict.status.is_serving();
        MongoReport {
            status: verdict.status,
            connected: false,
            latency_ms: None,
            error: verdict.error,
            error_code: verdict.error_code,
            fallback: (self.mongo.is_configured() && !serves).then_some(Fallback::Reject),
        }
    }
}

fn judge(found: Result<Duration, Error>, slow: Duration) -> Verdict {
    match found {
        Ok(latency) if latency > slow => {
            Verdict::new(Status::Degraded, "slow", "the server answers slowly")
        }
        Ok(_) => Verdict::well(Status::Connected),
        Err(error @ (Error::Timeout | Error::ConnectionLost | Error::Rejected)) => {
            Verdict::new(Status::Unhealthy, error.code(), error)
        }
        Err(error) => Verdict::new(Status::Disconnected, error.code(), error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_situation_has_its_status_and_code() {
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
            let verdict = judge(found, slow);
            assert_eq!(
                (verdict.status, verdict.error_code),
                (status, error_code),
                "{found:?}"
            );
        }
    }
}
