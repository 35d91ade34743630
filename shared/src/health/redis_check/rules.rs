//! From the facts of a probe to the report of it. Nothing here asks, waits or knows what time it is.

use std::collections::BTreeMap;
use std::time::Duration;

use idempotency::Fallback;
use redis_client::{Error, HealthCheck, Operation, Plaintext, Reason, ServerInfo};

use super::{OperationResult, RedisReport};
use crate::health::verdict::Verdict;
use crate::health::{Status, milliseconds};

/// What judging a probe takes besides its facts.
pub(crate) struct Rules {
    /// The probe time above which Redis is `degraded`.
    pub(crate) slow: Duration,
    /// What is in force where Redis is not well.
    pub(crate) fallback: Fallback,
    /// Whether idempotency depends on Redis alone: an evicted key is then a lost claim.
    pub(crate) is_sole_store: bool,
    /// What `REDIS_PLAINTEXT` allows.
    pub(crate) plaintext: Plaintext,
}

impl Rules {
    pub(super) fn assess(
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
                    ..self.report(url, self.judge(&check))
                }
            }
            Err(Error::Unreachable(reason)) => self.report(
                url,
                Verdict::new(Status::Disconnected, reason.code(), reason),
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
                    ..self.report(url, Verdict::new(Status::Unhealthy, reason.code(), reason))
                }
            }
        }
    }

    pub(super) fn report(&self, url: Option<&str>, verdict: Verdict) -> RedisReport {
        RedisReport {
            status: verdict.status,
            connected: false,
            url: url.map(str::to_owned),
            plaintext: (self.plaintext == Plaintext::Allowed).then_some("allowed"),
            operations: None,
            operation_results: None,
            latency_ms: None,
            fallback: (!verdict.status.is_serving()).then_some(self.fallback),
            error: verdict.error,
            error_code: verdict.error_code,
            server: None,
        }
    }

    /// The first thing that is wrong, the gravest kinds first.
    fn judge(&self, check: &HealthCheck) -> Verdict {
        for (operation, outcome) in check.operations {
            match outcome {
                Ok(()) => {}
                Err(reason) if operation == Operation::Delete && reason != Reason::NoPermission => {
                    return Verdict::new(
                        Status::Degraded,
                        "cleanup_failed",
                        "the probe's key could not be deleted",
                    );
                }
                Err(reason) => return Verdict::new(Status::Unhealthy, reason.code(), reason),
            }
            if operation == Operation::Get && check.value_matches == Some(false) {
                return Verdict::new(
                    Status::Unhealthy,
                    "value_mismatch",
                    "the value read is not the value written",
                );
            }
        }
        if let Err(reason) = check.all_keys {
            return Verdict::new(Status::Unhealthy, reason.code(), reason);
        }
        let server = check.server.as_ref();
        let memory = server.and_then(Memory::of);
        // The last write found room by luck.
        if memory.is_some_and(Memory::is_full) {
            let reason = Reason::OutOfMemory;
            return Verdict::new(Status::Unhealthy, reason.code(), reason);
        }
        if self.is_sole_store && server.is_some_and(evicts) {
            let error = "the server evicts keys at its memory limit, and payments depend on them";
            return Verdict::new(Status::Degraded, "evicting_policy", error);
        }
        if let Some(memory) = memory.filter(|memory| memory.is_nearly_full()) {
            let percent = memory.percent();
            let error = format!("the server has used {percent} % of its memory limit");
            return Verdict::new(Status::Degraded, "memory_high", error);
        }
        if server.is_some_and(|server| server.replication_link.as_deref() == Some("down")) {
            return Verdict::new(
                Status::Degraded,
                "replica_lag",
                "the replica's link to its primary is down",
            );
        }
        if check.latency > self.slow {
            return Verdict::new(Status::Degraded, "slow", "the server answers slowly");
        }
        Verdict::well(Status::Healthy)
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
            // Reading and deleting what was never set proves nothing.
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
        // The members that are documented for it; the script is in `operation_results`.
        .filter(|(operation, result)| result.ok && **operation != Operation::Script)
        .map(|(operation, _)| *operation)
        .collect()
}

/// Whether the server evicts keys of ours at its memory limit. Each of them has a TTL, so every policy but one does, the `volatile-*`
/// included. Such a server refuses a write only where keys without a TTL, which are not ours, fill it; the probe's write shows that.
fn evicts(server: &ServerInfo) -> bool {
    server
        .eviction_policy
        .as_deref()
        .is_some_and(|policy| policy != "noeviction")
}

/// The memory of a server that evicts nothing, and refuses writes above its limit.
#[derive(Clone, Copy)]
struct Memory {
    /// What counts towards the limit.
    used: u64,
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

    fn verdict(found: Result<HealthCheck, Error>) -> (Status, Option<&'static str>) {
        let report = rules().assess(found, None);
        (report.status, report.error_code)
    }

    #[test]
    fn without_a_connection_it_is_disconnected() {
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
            assert_eq!(verdict(found), (Status::Disconnected, Some(code)));
        }
    }

    #[test]
    fn what_the_server_refuses_or_leaves_unanswered_makes_it_unhealthy() {
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
            assert_eq!(verdict(found), (Status::Unhealthy, Some(code)));
        }
        let silent = Err(Error::Unanswered(Reason::Timeout));
        assert_eq!(verdict(silent), (Status::Unhealthy, Some("timeout")));
    }

    #[test]
    fn a_server_without_all_keys_is_unhealthy_also_when_the_probe_succeeds() {
        for reason in [
            Reason::ClusterModeRequired,
            Reason::ClusterDown,
            Reason::NoPermission,
        ] {
            let lucky = HealthCheck {
                all_keys: Err(reason),
                ..check()
            };
            assert_eq!(verdict(Ok(lucky)), (Status::Unhealthy, Some(reason.code())));
        }
    }

    #[test]
    fn a_value_that_reads_back_differently_makes_it_unhealthy() {
        let differing = HealthCheck {
            value_matches: Some(false),
            ..check()
        };
        assert_eq!(
            verdict(Ok(differing)),
            (Status::Unhealthy, Some("value_mismatch"))
        );
    }

    #[test]
    fn what_works_with_a_blemish_is_degraded() {
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
            assert_eq!(verdict(Ok(check)), (Status::Degraded, Some(code)));
        }
    }

    #[test]
    fn memory_says_what_state_it_is_in() {
        let (healthy, full) = (
            (Status::Healthy, None, None),
            (
                Status::Unhealthy,
                Some("out_of_memory"),
                Some("the server is out of memory and rejects writes; raise maxmemory or use a larger server"),
            ),
        );
        let high = |error| (Status::Degraded, Some("memory_high"), Some(error));
        let cases = [
            (memory(89, 100, "noeviction"), healthy),
            (
                memory(90, 100, "noeviction"),
                high("the server has used 90 % of its memory limit"),
            ),
            (
                memory(999, 1_000, "noeviction"),
                high("the server has used 99 % of its memory limit"),
            ),
            (
                memory(100, 100, "noeviction"),
                high("the server has used 100 % of its memory limit"),
            ),
            (memory(101, 100, "noeviction"), full),
            (memory(u64::MAX, 1, "noeviction"), full),
            (memory(90, 0, "noeviction"), healthy),
            (check(), healthy),
        ];
        for (check, expected) in cases {
            let report = rules().assess(Ok(check.clone()), None);
            let found = (report.status, report.error_code, report.error.as_deref());
            assert_eq!(found, expected, "{check:?}");
        }
    }

    #[test]
    fn buffers_that_redis_does_not_count_fill_no_memory() {
        let mut check = memory(150, 100, "noeviction");
        let server = check.server.as_mut().expect("a server");
        server.memory_not_counted_bytes = Some(70);
        assert_eq!(verdict(Ok(check)), (Status::Healthy, None));
    }

    #[test]
    fn only_the_override_is_shown() {
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
                assert_eq!(rules.assess(found, None).plaintext, shown);
            }
        }
    }

    /// Whatever the policy, a server that is nearly full says what happens at the limit: it refuses writes, or evicts claims.
    #[test]
    fn every_policy_but_noeviction_evicts_keys_of_ours() {
        let backed = Rules {
            is_sole_store: false,
            ..rules()
        };
        let judge = |rules: &Rules, policy| rules.judge(&memory(95, 100, policy)).error_code;
        for policy in [
            "volatile-lru",
            "volatile-lfu",
            "volatile-random",
            "volatile-ttl",
            "allkeys-lru",
            "allkeys-lfu",
            "allkeys-random",
        ] {
            assert_eq!(judge(&rules(), policy), Some("evicting_policy"), "{policy}");
            // An evicted claim costs a question to MongoDB, and a full cache is a cache at work.
            assert_eq!(judge(&backed, policy), None, "{policy}");
        }
        assert_eq!(judge(&rules(), "noeviction"), Some("memory_high"));
        assert_eq!(judge(&backed, "noeviction"), Some("memory_high"));
    }

    #[test]
    fn what_was_not_set_is_neither_read_nor_deleted() {
        let report = rules().assess(Ok(failing(Operation::Set, Reason::OutOfMemory)), None);
        assert_eq!(report.operations, Some(vec![Operation::Ping]));
    }

    #[test]
    fn a_script_is_among_the_results_and_not_among_the_documented_operations() {
        let report = rules().assess(Ok(check()), None);
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
    fn only_what_does_not_serve_says_what_does() {
        assert_eq!(rules().assess(Ok(check()), None).fallback, None);
        let error = Err(Error::Unreachable(Reason::ConnectFailed));
        assert_eq!(rules().assess(error, None).fallback, Some(Fallback::Reject));
    }
}
