//! The health of Redis: a probe and its assessment.

mod rules;

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::time::Duration;

use foundation::Deadline;
use futures_util::FutureExt;
use http::HeaderMap;
use http_api::Response;
use idempotency::Fallback;
use redis_client::{Error, Operation, Reason, RedisClient, ServerInfo};
pub(crate) use rules::Rules;
use serde::Serialize;
use telemetry::metrics::Metrics;

use super::access::Access;
use super::assessment::Assessment;
use super::memo::{AgedResult, Memo, ProbeTime};
use super::{Report, Status, record};
use crate::config::HealthConfig;

/// Answers `/api/health/redis`.
pub struct RedisHealth {
    check: RedisCheck,
    memo: Memo<RedisReport>,
    /// Time limit of a whole response.
    total_timeout: Duration,
    /// Time limit of a probe.
    probe_limit: Duration,
    access: Access,
}

impl RedisHealth {
    /// Creates the endpoint from its check.
    pub(crate) fn new(config: &HealthConfig, check: RedisCheck, access: Access) -> Self {
        Self {
            check,
            memo: Memo::new(config.memo),
            total_timeout: config.total_timeout,
            probe_limit: config.probe_limit(),
            access,
        }
    }

    /// Responds to a request with these headers. The check ends at `deadline` or at the time limit of a health
    /// response, whichever is sooner.
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
            .fresh(deadline, probe_time, self.check.run(deadline))
            .await;
        let aged = aged.unwrap_or_else(|_| AgedResult::now(self.check.timed_out()));
        Report::new(aged.result.status, &aged)
    }
}

/// The check of Redis.
pub(crate) struct RedisCheck {
    client: RedisClient,
    metrics: Metrics,
    /// Time limit of one check.
    timeout: Duration,
    rules: Rules,
}

/// The health of Redis, as in responses.
#[derive(Clone, Debug, Serialize)]
pub(super) struct RedisReport {
    pub(super) status: Status,
    /// Whether the handshake succeeded.
    connected: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    url: Option<String>,
    /// `allowed` if `REDIS_PLAINTEXT` allows credentials without encryption outside development.
    #[serde(skip_serializing_if = "Option::is_none")]
    plaintext: Option<&'static str>,
    /// The operations that succeeded, in order.
    #[serde(skip_serializing_if = "Option::is_none")]
    operations: Option<Vec<Operation>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    operation_results: Option<BTreeMap<Operation, OperationResult>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    latency_ms: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error_code: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    fallback: Option<Fallback>,
    #[serde(skip_serializing_if = "Option::is_none")]
    server: Option<ServerInfo>,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
struct OperationResult {
    ok: bool,
    /// The latency of the round trip that all operations share.
    #[serde(skip_serializing_if = "Option::is_none")]
    latency_ms: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error_code: Option<&'static str>,
}

impl RedisCheck {
    /// Creates the check of this client, with the rules for its assessment.
    pub(crate) fn new(
        config: &HealthConfig,
        client: RedisClient,
        metrics: Metrics,
        rules: Rules,
    ) -> Self {
        Self {
            client,
            metrics,
            timeout: config.check_timeout,
            rules,
        }
    }

    /// The fallback if Redis does not work.
    pub(super) fn fallback(&self) -> Fallback {
        self.rules.fallback
    }

    /// Probes Redis within the time limit. Every outcome becomes a report, even a panic.
    pub(super) async fn run(&self, deadline: Deadline) -> RedisReport {
        let client = self.client.within(deadline.within(self.timeout));
        let report = match AssertUnwindSafe(client.health_check()).catch_unwind().await {
            Ok(found) => self
                .rules
                .probe_report(found, client.masked_url().as_deref()),
            Err(_) => self
                .rules
                .report(client.masked_url().as_deref(), Assessment::internal_error()),
        };
        if client.masked_url().is_some() {
            record(&self.metrics, "redis", report.status, report.latency_ms);
        }
        report
    }

    /// The report for a request whose time ended while another request's probe was still running.
    pub(super) fn timed_out(&self) -> RedisReport {
        let error = match self.client.is_connected() {
            true => Error::Unanswered(Reason::Timeout),
            false => Error::Unreachable(Reason::ConnectTimeout),
        };
        self.rules
            .probe_report(Err(error), self.client.masked_url().as_deref())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    /// The commands that a script calls.
    fn commands(script: &str) -> BTreeSet<&str> {
        let mut calls: Vec<_> = script.split("call('").collect();
        calls.remove(0);
        let calls = calls.into_iter().map(|call| call.split_once('\''));
        calls.map(|call| call.expect("a command").0).collect()
    }

    #[test]
    fn the_probe_runs_every_command_of_idempotency() {
        let mut needed = commands(include_str!(
            "../../crates/idempotency/src/store/record.lua"
        ));
        needed.extend(commands(include_str!(
            "../../crates/idempotency/src/store/hints.lua"
        )));
        let mut probed = commands(include_str!(
            "../../crates/redis-client/src/probe/script.lua"
        ));
        probed.insert("DEL");
        // A claim sends this command without a script.
        needed.insert("PTTL");
        assert_eq!(probed, needed);
    }
}
