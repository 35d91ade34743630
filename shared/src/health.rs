//! The health endpoints. They report whether the service works, what fails, and what the fallback is.
//!
//! Each endpoint is one function. [`Liveness`] does no I/O: a process that responds is alive. [`RedisHealth`] writes
//! and reads a key, because a connection alone does not show that Redis works. [`DetailedHealth`] checks Redis, MongoDB
//! and this process in parallel, under one deadline, and summarises the results.
//!
//! A probe measures facts, and a pure function derives the report from these facts. A result is reused for a while, so
//! that many health requests cause few probes. Only callers with permission get the details; other callers get the
//! status (`access`). No check panics, hangs or shows a credential.

mod access;
mod assessment;
mod detailed;
mod memo;
mod mongo_check;
mod redis_check;

use std::time::Duration;

use foundation::Environment;
use http::StatusCode;
use serde::Serialize;
use serde_json::Value;

pub(crate) use access::Access;
pub(crate) use detailed::Checks;
pub use detailed::DetailedHealth;
use http_api as web;
pub(crate) use mongo_check::MongoCheck;
pub use redis_check::RedisHealth;
pub(crate) use redis_check::{RedisCheck, Rules};
use telemetry::metrics::{Metric, Metrics, Unit};

/// The health of a service, or of all services together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// The service works.
    Healthy,
    /// The service works. MongoDB is reported with this value instead of `healthy`.
    Connected,
    /// The service works, but there is a problem that needs attention.
    Degraded,
    /// The server is reachable but does not work.
    Unhealthy,
    /// There is no connection, or no URL is configured.
    Disconnected,
}

impl Status {
    /// Whether the service works and nothing needs attention.
    fn is_well(self) -> bool {
        matches!(self, Self::Healthy | Self::Connected)
    }

    /// Whether the service works, degraded or not.
    fn is_serving(self) -> bool {
        self.is_well() || self == Self::Degraded
    }

    /// The HTTP status of a response with this status.
    fn http(self) -> StatusCode {
        if self.is_serving() {
            StatusCode::OK
        } else {
            StatusCode::SERVICE_UNAVAILABLE
        }
    }
}

/// The health of a service, or of all services together, with its details.
#[derive(Clone, Debug)]
struct Report {
    status: Status,
    details: Value,
}

impl Report {
    fn new(status: Status, details: &impl Serialize) -> Self {
        Self {
            status,
            details: serde_json::to_value(details).unwrap_or_default(),
        }
    }

    /// The response with all details, or with the status only.
    fn response(&self, has_details: bool) -> web::Response {
        #[derive(Serialize)]
        struct Brief {
            status: Status,
        }
        let status = self.status;
        if has_details {
            web::json(status.http(), &self.details)
        } else {
            web::json(status.http(), &Brief { status })
        }
    }
}

/// The identity of the service in a response.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Identity {
    service: String,
    version: &'static str,
    environment: String,
}

impl Identity {
    pub(crate) fn new(service: &str, version: &'static str, environment: &Environment) -> Self {
        Self {
            service: service.to_owned(),
            version,
            environment: environment.name().to_owned(),
        }
    }
}

/// The response of the liveness endpoint. A process that responds is alive.
#[derive(Clone, Debug, Serialize)]
pub struct Liveness {
    status: Status,
    #[serde(flatten)]
    identity: Identity,
}

impl Liveness {
    /// Creates the response of a process with this identity.
    pub(crate) fn new(identity: Identity) -> Self {
        Self {
            status: Status::Healthy,
            identity,
        }
    }
}

/// Records the result of a probe of `dependency` as metrics.
fn record(metrics: &Metrics, dependency: &'static str, status: Status, latency_ms: Option<f64>) {
    let value = if status.is_serving() { 1.0 } else { 0.0 };
    let up = Metric {
        name: "DependencyUp",
        unit: Unit::Count,
        value,
    };
    let latency = latency_ms.map(|value| Metric {
        name: "DependencyLatency",
        unit: Unit::Milliseconds,
        value,
    });
    let found: Vec<_> = std::iter::once(up).chain(latency).collect();
    metrics.record(("dependency", dependency), &found);
}

/// Converts a duration to milliseconds for a response. The result is rounded to whole microseconds.
fn milliseconds(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e6).round() / 1e3
}
