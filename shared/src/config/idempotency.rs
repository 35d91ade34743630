//! The settings of idempotency: how long results count, how long an attempt may take, how much is kept.

use std::time::Duration;

use super::reader::{LONGEST_INVOCATION_MS, Reader};
use super::{ConfigError, Environment};

/// How keys are kept.
#[derive(Clone, Debug)]
pub struct IdempotencyConfig {
    /// Whose keys the function `idempotency` keeps: what trusts one another shares one.
    pub namespace: String,
    /// For how long what finished counts, from when it finished.
    pub window: Duration,
    /// How long an attempt may take where the invocation's deadline is not known.
    pub lease: Duration,
    /// By how much a lease outlasts the invocation.
    pub lease_grace: Duration,
    /// The longest body of a response that is kept whole, in bytes.
    pub max_response_bytes: usize,
    /// Whether the memory of this process may stand in for Redis.
    pub memory_fallback: bool,
    /// The most keys that the memory holds.
    pub memory_entries: usize,
    /// The most bytes that the memory holds, about.
    pub memory_bytes: usize,
}

const YEAR_SECONDS: u64 = 31_536_000;
const LONGEST_GRACE_MS: u64 = 60_000;
/// Lambda takes no larger response.
const LARGEST_PAYLOAD: u64 = 6 * 1024 * 1024;

impl IdempotencyConfig {
    pub(super) fn read(read: &Reader<'_>, environment: &Environment) -> Result<Self, ConfigError> {
        let lease = read.milliseconds("IDEMPOTENCY_LEASE_MS", 1..=LONGEST_INVOCATION_MS)?;
        let grace = read.milliseconds("IDEMPOTENCY_LEASE_GRACE_MS", 0..=LONGEST_GRACE_MS)?;
        let count = |variable, range, default: usize| {
            let number = read.number(variable, range)?;
            Ok(number.map_or(default, |number| {
                usize::try_from(number).unwrap_or(usize::MAX)
            }))
        };
        let window = read.number("IDEMPOTENCY_TTL_SECONDS", 1..=YEAR_SECONDS)?;
        Ok(Self {
            namespace: read
                .name("IDEMPOTENCY_NAMESPACE")?
                .unwrap_or_else(|| "default".to_owned()),
            window: Duration::from_secs(window.unwrap_or(86_400)),
            lease: lease.unwrap_or(Duration::from_secs(30)),
            lease_grace: grace.unwrap_or(Duration::from_secs(2)),
            max_response_bytes: count(
                "IDEMPOTENCY_MAX_RESPONSE_BYTES",
                0..=LARGEST_PAYLOAD,
                1024 * 1024,
            )?,
            memory_fallback: memory_fallback(read, environment)?,
            memory_entries: count("IDEMPOTENCY_MEMORY_ENTRIES", 1..=1_000_000, 10_000)?,
            memory_bytes: count("IDEMPOTENCY_MEMORY_BYTES", 1024..=1 << 30, 64 << 20)?,
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
