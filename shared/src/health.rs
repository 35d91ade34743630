//! Is the service well, and if not, what is wrong and what is in force instead?
//!
//! Three questions, one function each. [`Liveness`] does no I/O: a process that answers is alive. [`RedisHealth`] proves
//! that Redis can be written and read, not only reached. [`DetailedHealth`] looks at Redis, MongoDB and this process side
//! by side, under one deadline, and sums them up.
//!
//! Measuring and judging are apart: a probe brings facts, a pure function makes a report of them. A result is
//! reused for a while, so that a storm of health requests is no storm for Redis. Only callers who may see details
//! get more than the status (`access`). No check panics, hangs or shows a credential.

mod access;
mod detailed;
mod memo;
mod mongo_check;
mod redis_check;
mod verdict;

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

/// How a service, or the whole, is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// All is well.
    Healthy,
    /// All is well; the word for MongoDB.
    Connected,
    /// It works, and something is wrong.
    Degraded,
    /// It is there and does not work.
    Unhealthy,
    /// It is not there.
    Disconnected,
}

impl Status {
    /// Whether nothing is wrong.
    fn is_well(self) -> bool {
        matches!(self, Self::Healthy | Self::Connected)
    }

    /// Whether it works, well or not.
    fn is_serving(self) -> bool {
        self.is_well() || self == Self::Degraded
    }

    /// The status of an answer that tells this.
    fn http(self) -> StatusCode {
        if self.is_serving() {
            StatusCode::OK
        } else {
            StatusCode::SERVICE_UNAVAILABLE
        }
    }
}

/// How a service, or the whole, is, with all that is known about it.
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

    /// All of it, or the status alone.
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

/// Which service answers.
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

/// Liveness: the process answers, so it lives.
#[derive(Clone, Debug, Serialize)]
pub struct Liveness {
    status: Status,
    #[serde(flatten)]
    identity: Identity,
}

impl Liveness {
    /// The answer of a process of this identity.
    pub(crate) fn new(identity: Identity) -> Self {
        Self {
            status: Status::Healthy,
            identity,
        }
    }
}

/// Records what a probe of `dependency` found.
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

/// Milliseconds as answers print them: to the microsecond.
fn milliseconds(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e6).round() / 1e3
}
