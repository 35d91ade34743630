//! The health of Redis: the facts of a probe, judged.

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
use super::memo::{Dated, Haste, Memo};
use super::verdict::Verdict;
use super::{Report, Status, record};
use crate::config::HealthConfig;

/// Answers `/api/health/redis`.
pub struct RedisHealth {
    check: RedisCheck,
    memo: Memo<RedisReport>,
    /// Limit of a whole answer.
    total_timeout: Duration,
    /// What a probe may take.
    probe_time: Duration,
    access: Access,
}

impl RedisHealth {
    /// Answers with what `check` finds.
    pub(crate) fn new(config: &HealthConfig, check: RedisCheck, access: Access) -> Self {
        Self {
            check,
            memo: Memo::new(config.memo),
            total_timeout: config.total_timeout,
            probe_time: config.probe_time(),
            access,
        }
    }

    /// The answer to a request with these `headers`: how Redis is, found out by `deadline` or within the limit of a health answer, whichever is sooner.
    ///
    /// # Cancel safety
    ///
    /// A dropped check may leave its key behind, which expires.
    pub async fn answer(&self, headers: &HeaderMap, deadline: Deadline) -> Response {
        let report = self.report(deadline);
        let limit = deadline.within(self.total_timeout);
        self.access.show(report, headers, limit).await
    }

    async fn report(&self, deadline: Deadline) -> Report {
        let haste = Haste::of(deadline, self.probe_time);
        let deadline = deadline.within(self.total_timeout);
        let dated = self
            .memo
            .fresh(deadline, haste, self.check.run(deadline))
            .await;
        let dated = dated.unwrap_or_else(|_| Dated::now(self.check.overrun()));
        Report::new(dated.result.status, &dated)
    }
}

/// One look at Redis.
pub(crate) struct RedisCheck {
    client: RedisClient,
    metrics: Metrics,
    /// Limit of one look.
    timeout: Duration,
    rules: Rules,
}

/// How Redis is, as answers show it.
#[derive(Clone, Debug, Serialize)]
pub(super) struct RedisReport {
    pub(super) status: Status,
    /// Whether the handshake was completed.
    connected: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    url: Option<String>,
    /// Shown where a login may go unencrypted although this is not development.
    #[serde(skip_serializing_if = "Option::is_none")]
    plaintext: Option<&'static str>,
    /// The operations that succeeded, in their order.
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
    /// Of the round trip that the operation shared with the others.
    #[serde(skip_serializing_if = "Option::is_none")]
    latency_ms: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error_code: Option<&'static str>,
}

impl RedisCheck {
    /// Looks through this client, and judges what it finds by these rules.
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

    /// What is in force where Redis is not well.
    pub(super) fn fallback(&self) -> Fallback {
        self.rules.fallback
    }

    /// Probes Redis within the limit of a check. Whatever happens becomes a report.
    pub(super) async fn run(&self, deadline: Deadline) -> RedisReport {
        let client = self.client.within(deadline.within(self.timeout));
        let report = match AssertUnwindSafe(client.health_check()).catch_unwind().await {
            Ok(found) => self.rules.assess(found, client.masked_url().as_deref()),
            Err(_) => self
                .rules
                .report(client.masked_url().as_deref(), Verdict::internal_error()),
        };
        if client.masked_url().is_some() {
            record(&self.metrics, "redis", report.status, report.latency_ms);
        }
        report
    }

    /// The report for a request whose time ran out while another's probe was still running.
    pub(super) fn overrun(&self) -> RedisReport {
        let error = match self.client.is_connected() {
            true => Error::Unanswered(Reason::Timeout),
            false => Error::Unreachable(Reason::ConnectTimeout),
        };
        self.rules
            .assess(Err(error), self.client.masked_url().as_deref())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    /// The commands that a script runs.
    fn commands(script: &str) -> BTreeSet<&str> {
        let mut calls: Vec<_> = script.split("call('").collect();
        calls.remove(0);
        let calls = calls.into_iter().map(|call| call.split_once('\''));
        calls.map(|call| call.expect("a command").0).collect()
    }

    #[test]
    fn the_probe_needs_every_command_that_the_scripts_of_idempotency_need() {
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
        assert_eq!(probed, needed);
    }
}
