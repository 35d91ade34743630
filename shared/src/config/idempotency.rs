//! The settings of idempotency: retention, leases, and limits of size.

use std::time::Duration;

use foundation::Environment;
use idempotency::IdempotencyConfig;

use super::ConfigError;
use super::reader::{LONGEST_INVOCATION_MS, Reader};

/// The settings of idempotency.
#[derive(Clone, Debug)]
pub(crate) struct IdempotencySettings {
    /// The settings of the engine.
    pub(crate) keys: IdempotencyConfig,
    /// The namespace of the keys of the function `idempotency`. Callers that trust each other share one namespace.
    pub(crate) namespace: String,
    /// Whether the memory of this process may replace Redis.
    pub(crate) memory_fallback: bool,
}

const YEAR_SECONDS: u64 = 31_536_000;
const LONGEST_GRACE_MS: u64 = 60_000;
/// The largest response of Lambda, in bytes.
const LARGEST_PAYLOAD: u64 = 6 * 1024 * 1024;

impl IdempotencySettings {
    pub(super) fn read(read: &Reader<'_>, environment: &Environment) -> Result<Self, ConfigError> {
        let lease = read.milliseconds("IDEMPOTENCY_LEASE_MS", 1..=LONGEST_INVOCATION_MS)?;
        let grace = read.milliseconds("IDEMPOTENCY_LEASE_GRACE_MS", 0..=LONGEST_GRACE_MS)?;
        let count = |variable, range, default: usize| {
            let number = read.number(variable, range)?;
            Ok(number.map_or(default, |number| {
                usize::try_from(number).unwrap_or(usize::MAX)
            }))
        };
        let retention = read.number("IDEMPOTENCY_TTL_SECONDS", 1..=YEAR_SECONDS)?;
        let defaults = IdempotencyConfig::default();
        let keys = IdempotencyConfig {
            retention: retention.map_or(defaults.retention, Duration::from_secs),
            lease: lease.unwrap_or(defaults.lease),
            lease_grace: grace.unwrap_or(defaults.lease_grace),
            max_response_bytes: count(
                "IDEMPOTENCY_MAX_RESPONSE_BYTES",
                0..=LARGEST_PAYLOAD,
                defaults.max_response_bytes,
            )?,
            memory_entries: count(
                "IDEMPOTENCY_MEMORY_ENTRIES",
                1..=1_000_000,
                defaults.memory_entries,
            )?,
            memory_bytes: count(
                "IDEMPOTENCY_MEMORY_BYTES",
                1024..=1 << 30,
                defaults.memory_bytes,
            )?,
        };
        Ok(Self {
            keys,
            namespace: read
                .name("IDEMPOTENCY_NAMESPACE")?
                .unwrap_or_else(|| "default".to_owned()),
            memory_fallback: memory_fallback(read, environment)?,
        })
    }
}

fn memory_fallback(read: &Reader<'_>, environment: &Environment) -> Result<bool, ConfigError> {
    let chosen = read.parsed(
        "IDEMPOTENCY_FALLBACK",
        "`memory` or `reject`",
        |text| match text {
            "memory" => Some(true),
            "reject" => Some(false),
            _ => None,
        },
    )?;
    Ok(chosen.unwrap_or(environment.is_development()))
}
