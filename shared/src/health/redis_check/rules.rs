//! Derives the report from the result of a probe. Pure functions: no I/O, no clock.

use std::collections::BTreeMap;
use std::time::Duration;

use idempotency::Fallback;
use redis_client::{Error, HealthCheck, Operation, Plaintext, Reason, ServerInfo};

use super::{OperationResult, RedisReport};
use crate::health::assessment::Assessment;
use crate::health::{Status, milliseconds};

/// The settings that the assessment of a probe depends on.
pub(crate) struct Rules {
    /// The latency above which Redis is `degraded`.
    pub(crate) slow: Duration,
    /// The fallback if Redis does not work.
    pub(crate) fallback: Fallback,
    /// Whether Redis is the only store for idempotency. If so, an evicted key is a lost claim.
    pub(crate) is_sole_store: bool,
    /// What `REDIS_PLAINTEXT` allows.
    pub(crate) plaintext: Plaintext,
}

impl Rules {
    pub(super) fn probe_report(
        &self,
        found: Result<HealthCheck, Error>,
        url: Option<&str>,
    ) -> RedisReport {
        match found {
            Ok(check) => {
                let latency_ms = Some(milliseconds(check.latency));
                let results = operation_results(&check, latency_ms);
                RedisReport {
                    connected: true,
                    latency_ms,
                    operations: Some(succeeded(&results)),
                    operation_results: Some(results),
                    server: check.server.clone(),
                    ..self.report(url, self.assess(&check))
                }
            }
            Err(Error::Unreachable(reason)) => self.report(
                url,
                Assessment::new(Status::Disconnected, reason.code(), reason),
            ),
            Err(Error::Refused(reason) | Error::Unanswered(reason)) => {
                let failed = OperationResult {
                    ok: false,
                    latency_ms: None,
                    error_code: Some(reason.code()),
                };
                RedisReport {
                    connected: true,
                    operations: Some(Vec::new()),
                    operation_results: Some(
                        Operation::ALL.map(|operation| (operation, failed)).into(),
                    ),
                    ..self.report(
                        url,
                        Assessment::new(Status::Unhealthy, reason.code(), reason),
                    )
                }
            }
        }
    }

    pub(super) fn report(&self, url: Option<&str>, assessment: Assessment) -> RedisReport {
        RedisReport {
            status: assessment.status,
            connected: false,
            url: url.map(str::to_owned),
            plaintext: (self.plaintext == Plaintext::Allowed).then_some("allowed"),
            operations: None,
            operation_results: None,
            latency_ms: None,
            fallback: (!assessment.status.is_serving()).then_some(self.fallback),
            error: assessment.error,
            error_code: assessment.error_code,
            server: None,
        }
    }

    /// Returns the first problem. More severe problems are checked first.
    fn assess(&self, check: &HealthCheck) -> Assessment {
        for (operation, outcome) in check.operations {
            match outcome {
                Ok(()) => {}
                Err(reason) if operation == Operation::Delete && reason != Reason::NoPermission => {
                    return Assessment::new(
                        Status::Degraded,
                        "cleanup_failed",
                        "the probe's key was not deleted; it expires by itself",
                    );
                }
                Err(reason) => return Assessment::new(Status::Unhealthy, reason.code(), reason),
            }
            if operation == Operation::Get && check.value_matches == Some(false) {
                return Assessment::new(
                    Status::Unhealthy,
                    "value_mismatch",
                    "the value read is not the value written; check for other programs that write health:* keys",
                );
            }
        }
        if let Err(reason) = check.all_keys {
            return Assessment::new(Status::Unhealthy, reason.code(), reason);
        }
        let server = check.server.as_ref();
        let memory = server.and_then(Memory::of);
        // The probe's write succeeded, but the next write may fail.
        if memory.is_some_and(Memory::is_full) {
            let reason = Reason::OutOfMemory;
            return Assessment::new(Status::Unhealthy, reason.code(), reason);
        }
        if self.is_sole_store && server.is_some_and(evicts) {
            let error = "the server may evict idempotency keys at its memory limit, so work could run twice; set maxmemory-policy to noeviction";
            return Assessment::new(Status::Degraded, "evicting_policy", error);
        }
        if let Some(memory) = memory.filter(|memory| memory.is_nearly_full()) {
            let percent = memory.percent();
            let error = format!(
                "the server has used {percent} % of its memory limit and rejects writes above it; raise maxmemory"
            );
            return Assessment::new(Status::Degraded, "memory_high", error);
        }
        if server.is_some_and(|server| server.replication_link.as_deref() == Some("down")) {
            return Assessment::new(
                Status::Degraded,
                "replica_lag",
                "the replica has lost the link to its primary, so its data may be stale",
            );
        }
        if check.latency > self.slow {
            return Assessment::new(
                Status::Degraded,
                "slow",
                "the server replies slowly: the probe took longer than HEALTH_SLOW_MS",
            );
        }
        Assessment::working(Status::Healthy)
    }
}

fn operation_results(
    check: &HealthCheck,
    latency_ms: Option<f64>,
) -> BTreeMap<Operation, OperationResult> {
    let is_set = check.operations.contains(&(Operation::Set, Ok(())));
    let result = |(operation, outcome): (Operation, Result<(), Reason>)| {
        let error_code = match (operation, outcome) {
            (_, Err(reason)) => Some(reason.code()),
            // If the probe could not set the key, reading and deleting the key do not show whether Redis works.
            (Operation::Get | Operation::Delete, Ok(())) if !is_set => Some("skipped"),
            (Operation::Get, Ok(())) if check.value_matches == Some(false) => {
                Some("value_mismatch")
            }
            (_, Ok(())) => None,
        };
        (
            operation,
            OperationResult {
                ok: error_code.is_none(),
                latency_ms,
                error_code,
            },
        )
    };
    check.operations.map(result).into()
}

fn succeeded(results: &BTreeMap<Operation, OperationResult>) -> Vec<Operation> {
    results
        .iter()
        // The `operations` member has only the four documented operations; the script is in `operation_results`.
        .filter(|(operation, result)| result.ok && **operation != Operation::Script)
        .map(|(operation, _)| *operation)
        .collect()
}

/// Whether the server evicts our keys at its memory limit. All our keys have a TTL, so every policy except `noeviction`
/// evicts them, including `volatile-*`. A server with such a policy rejects a write only if other programs' keys
/// without a TTL fill the memory. Then the probe's write fails too.
fn evicts(server: &ServerInfo) -> bool {
    server
        .eviction_policy
        .as_deref()
        .is_some_and(|policy| policy != "noeviction")
}

/// The memory of a server that rejects writes above its limit instead of evicting keys.
#[derive(Clone, Copy)]
struct Memory {
    /// The used memory that counts towards the limit.
    used: u64,
    /// The memory limit of the server.
    limit: u64,
}

impl Memory {
    fn of(server: &ServerInfo) -> Option<Self> {
        let limit = server.memory_limit_bytes.filter(|limit| *limit > 0)?;
        let not_counted = server.memory_not_counted_bytes.unwrap_or_default();
        let used = server.memory_used_bytes?.saturating_sub(not_counted);
        (!evicts(server)).then_some(Self { used, limit })
    }

    fn is_full(self) -> bool {
        self.used > self.limit
    }

    fn is_nearly_full(self) -> bool {
        self.percent() >= 90
    }

    fn percent(self) -> u128 {
        u128::from(self.used) * 100 / u128::from(self.limit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules() -> Rules {
        Rules {
            slow: Duration::from_millis(100),
            fallback: Fallback::Reject,
            is_sole_store: true,
            plaintext: Plaintext::Refused,
        }
    }

    fn check() -> HealthCheck {
        HealthCheck {
            latency: Duration::from_millis(1),
            operations: Operation::ALL.map(|operation| (operation, Ok(()))),
            value_matches: Some(true),
            all_keys: Ok(()),
            server: None,
        }
    }

    fn failing(operation: Operation, reason: Reason) -> HealthCheck {
        let mut check = check();
        check.operations[operation as usize].1 = Err(reason);
        check.value_matches = None;
        check
    }

    fn with_server(server: ServerInfo) -> HealthCheck {
        HealthCheck {
            server: Some(server),
            ..check()
        }
    }

    fn memory(used: u64, limit: u64, policy: &str) -> HealthCheck {
        with_server(ServerInfo {
            memory_used_bytes: Some(used),
            memory_limit_bytes: Some(limit),
            eviction_policy: Some(policy.to_owned()),
            ..ServerInfo::default()
        })
    }

    fn status_and_code(found: Result<HealthCheck, Error>) -> (Status, Option<&'static str>) {
        let report = rules().probe_report(found, None);
        (report.status, report.error_code)
    }

    #[test]
    fn redis_without_a_connection_is_disconnected() {
        let cases = [
            (Reason::NotConfigured, "not_configured"),
            (Reason::InvalidUrl, "invalid_url"),
            (Reason::ConnectFailed, "connect_failed"),
            (Reason::TlsFailed, "tls_failed"),
            (Reason::ConnectTimeout, "connect_timeout"),
            (Reason::NoCredentials, "no_credentials"),
            (Reason::AuthFailed, "auth_failed"),
            (Reason::HandshakeFailed, "handshake_failed"),
            (Reason::ProtectedMode, "protected_mode"),
            (Reason::TooManyClients, "too_many_clients"),
            (Reason::UnsupportedServer, "unsupported_server"),
            (Reason::NoDatabase, "no_database"),
            (Reason::ClusterModeUnsupported, "cluster_mode_unsupported"),
        ];
        for (reason, code) in cases {
            let found = Err(Error::Unreachable(reason));
            assert_eq!(status_and_code(found), (Status::Disconnected, Some(code)));
        }
    }

    #[test]
    fn redis_that_rejects_a_command_or_does_not_reply_is_unhealthy() {
        let cases = [
            (Operation::Ping, Reason::Loading, "loading"),
            (Operation::Ping, Reason::MasterDown, "master_down"),
            (Operation::Set, Reason::ClusterDown, "cluster_down"),
            (Operation::Set, Reason::OutOfMemory, "out_of_memory"),
            (Operation::Set, Reason::ReadOnly, "read_only"),
            (Operation::Set, Reason::NoReplicas, "no_replicas"),
            (
                Operation::Set,
                Reason::ClusterModeRequired,
                "cluster_mode_required",
            ),
            (Operation::Get, Reason::NoPermission, "no_permission"),
            (Operation::Script, Reason::NoPermission, "no_permission"),
            (Operation::Script, Reason::Rejected, "rejected"),
            (Operation::Delete, Reason::NoPermission, "no_permission"),
        ];
        for (operation, reason, code) in cases {
            let found = Ok(failing(operation, reason));
            assert_eq!(status_and_code(found), (Status::Unhealthy, Some(code)));
        }
        let silent = Err(Error::Unanswered(Reason::Timeout));
        assert_eq!(
            status_and_code(silent),
            (Status::Unhealthy, Some("timeout"))
        );
    }

    #[test]
    fn a_server_with_only_part_of_the_keys_is_unhealthy_even_if_the_probe_succeeds() {
        for reason in [
            Reason::ClusterModeRequired,
            Reason::ClusterDown,
            Reason::NoPermission,
        ] {
            let lucky = HealthCheck {
                all_keys: Err(reason),
                ..check()
            };
            assert_eq!(
                status_and_code(Ok(lucky)),
                (Status::Unhealthy, Some(reason.code()))
            );
        }
    }

    #[test]
    fn a_value_mismatch_makes_redis_unhealthy() {
        let differing = HealthCheck {
            value_matches: Some(false),
            ..check()
        };
        assert_eq!(
            status_and_code(Ok(differing)),
            (Status::Unhealthy, Some("value_mismatch"))
        );
    }

    #[test]
    fn redis_that_works_with_a_problem_is_degraded() {
        let slow = HealthCheck {
            latency: Duration::from_millis(101),
            ..check()
        };
        let cut_off = with_server(ServerInfo {
            replication_link: Some("down".to_owned()),
            ..ServerInfo::default()
        });
        let cases = [
            (
                failing(Operation::Delete, Reason::Rejected),
                "cleanup_failed",
            ),
            (slow, "slow"),
            (cut_off, "replica_lag"),
            (memory(90, 100, "noeviction"), "memory_high"),
            (memory(10, 100, "volatile-lru"), "evicting_policy"),
        ];
        for (check, code) in cases {
            assert_eq!(status_and_code(Ok(check)), (Status::Degraded, Some(code)));
        }
    }

    #[test]
    fn memory_is_healthy_high_or_full() {
        let (healthy, full) = (
            (Status::Healthy, None, None),
            (
                Status::Unhealthy,
                Some("out_of_memory"),
                Some(
                    "the server is out of memory and rejects writes; raise maxmemory or use a larger server",
                ),
            ),
        );
        let high = |error| (Status::Degraded, Some("memory_high"), Some(error));
        let cases = [
            (memory(89, 100, "noeviction"), healthy),
            (
                memory(90, 100, "noeviction"),
                high(
                    "the server has used 90 % of its memory limit and rejects writes above it; raise maxmemory",
                ),
            ),
            (
                memory(999, 1_000, "noeviction"),
                high(
                    "the server has used 99 % of its memory limit and rejects writes above it; raise maxmemory",
                ),
            ),
            (
                memory(100, 100, "noeviction"),
                high(
                    "the server has used 100 % of its memory limit and rejects writes above it; raise maxmemory",
                ),
            ),
            (memory(101, 100, "noeviction"), full),
            (memory(u64::MAX, 1, "noeviction"), full),
            (memory(90, 0, "noeviction"), healthy),
            (check(), healthy),
        ];
        for (check, expected) in cases {
            let report = rules().probe_report(Ok(check.clone()), None);
            let found = (report.status, report.error_code, report.error.as_deref());
            assert_eq!(found, expected, "{check:?}");
        }
    }

    #[test]
    fn buffers_outside_the_memory_limit_do_not_count() {
        let mut check = memory(150, 100, "noeviction");
        let server = check.server.as_mut().expect("a server");
        server.memory_not_counted_bytes = Some(70);
        assert_eq!(status_and_code(Ok(check)), (Status::Healthy, None));
    }

    #[test]
    fn plaintext_is_shown_only_if_a_setting_allows_it() {
        for (plaintext, shown) in [
            (Plaintext::Refused, None),
            (Plaintext::AllowedInDevelopment, None),
            (Plaintext::Allowed, Some("allowed")),
        ] {
            let rules = Rules {
                plaintext,
                ..rules()
            };
            let failed = Err(Error::Unreachable(Reason::ConnectFailed));
            for found in [Ok(check()), failed] {
                assert_eq!(rules.probe_report(found, None).plaintext, shown);
            }
        }
    }

    /// With every policy, health warns before the server reaches its memory limit. At the limit the server rejects
    /// writes or evicts claims.
    #[test]
    fn every_policy_except_noeviction_evicts_our_keys() {
        let backed = Rules {
            is_sole_store: false,
            ..rules()
        };
        let error_code = |rules: &Rules, policy| rules.assess(&memory(95, 100, policy)).error_code;
        for policy in [
            "volatile-lru",
            "volatile-lfu",
            "volatile-random",
            "volatile-ttl",
            "allkeys-lru",
            "allkeys-lfu",
            "allkeys-random",
        ] {
            assert_eq!(
                error_code(&rules(), policy),
                Some("evicting_policy"),
                "{policy}"
            );
            // With MongoDB as the authoritative store, an evicted key costs one read of MongoDB. So a full cache is
            // normal.
            assert_eq!(error_code(&backed, policy), None, "{policy}");
        }
        assert_eq!(error_code(&rules(), "noeviction"), Some("memory_high"));
        assert_eq!(error_code(&backed, "noeviction"), Some("memory_high"));
    }

    #[test]
    fn operations_after_a_failed_set_are_not_listed_as_succeeded() {
        let report = rules().probe_report(Ok(failing(Operation::Set, Reason::OutOfMemory)), None);
        assert_eq!(report.operations, Some(vec![Operation::Ping]));
    }

    #[test]
    fn the_script_is_in_the_results_and_not_in_the_documented_operations() {
        let report = rules().probe_report(Ok(check()), None);
        let documented = [
            Operation::Ping,
            Operation::Set,
            Operation::Get,
            Operation::Delete,
        ];
        assert_eq!(report.operations.as_deref(), Some(&documented[..]));
        let results = report.operation_results.expect("results");
        assert!(results[&Operation::Script].ok);
    }

    #[test]
    fn only_a_service_that_does_not_work_has_a_fallback() {
        assert_eq!(rules().probe_report(Ok(check()), None).fallback, None);
        let error = Err(Error::Unreachable(Reason::ConnectFailed));
        assert_eq!(
            rules().probe_report(error, None).fallback,
            Some(Fallback::Reject)
        );
    }
}
