//! The settings of the health endpoints: time limits, the rules for the status, and the access to details.

use std::time::Duration;

use foundation::secret::{Secret, SecretSource};

use super::ConfigError;
use super::reader::{self, Reader};
use super::secret::read_source;

/// The settings of the health endpoints.
#[derive(Clone, Debug)]
pub(crate) struct HealthConfig {
    /// Time limit of one check.
    pub(crate) check_timeout: Duration,
    /// Time limit of a whole response.
    pub(crate) total_timeout: Duration,
    /// How long the result of a check is reused.
    pub(crate) memo: Duration,
    /// The probe time above which a service is `degraded`.
    pub(crate) slow: Duration,
    /// Whether MongoDB is authoritative for keys. A function without the URI of MongoDB needs this setting. `None`:
    /// MongoDB is authoritative if its URI is set.
    pub(crate) mongodb_decides: Option<bool>,
    /// The services that make the overall status `unhealthy`; `None`: the services without which no key can be claimed.
    pub(crate) critical: Option<Vec<Service>>,
    /// The token that a client sends to see the details.
    pub(crate) details_token: Option<SecretSource>,
}

/// A service in the detailed health response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Service {
    /// Redis or Valkey.
    Redis,
    /// MongoDB.
    MongoDb,
    /// This process.
    Api,
}

/// The longest time limit of a response: API Gateway waits at most 30 seconds.
const LONGEST_API_ANSWER_MS: u64 = 29_000;
/// The longest token, in bytes.
const LONGEST_TOKEN: usize = 256;
/// The longest time for which the result of a check may be reused. An older result would not show the current state.
const LONGEST_MEMO_MS: u64 = 60_000;

impl HealthConfig {
    /// The time limit of one probe: the shorter one of `check_timeout` and `total_timeout`.
    pub(crate) fn probe_limit(&self) -> Duration {
        self.check_timeout.min(self.total_timeout)
    }

    pub(super) fn read(read: &Reader<'_>) -> Result<Self, ConfigError> {
        let limit = |variable| read.milliseconds(variable, 1..=LONGEST_API_ANSWER_MS);
        let memo = read.milliseconds("HEALTH_MEMO_MS", 0..=LONGEST_MEMO_MS)?;
        Ok(Self {
            check_timeout: limit("HEALTH_CHECK_TIMEOUT_MS")?.unwrap_or(Duration::from_millis(800)),
            total_timeout: limit("HEALTH_TOTAL_TIMEOUT_MS")?.unwrap_or(Duration::from_secs(1)),
            memo: memo.unwrap_or(Duration::from_secs(1)),
            slow: limit("HEALTH_SLOW_MS")?.unwrap_or(Duration::from_millis(100)),
            mongodb_decides: read.flag("HEALTH_MONGODB_DECIDES")?,
            critical: critical(read)?,
            details_token: details_token(read)?,
        })
    }
}

fn critical(read: &Reader<'_>) -> Result<Option<Vec<Service>>, ConfigError> {
    let Some(list) = read.raw("HEALTH_CRITICAL")? else {
        return Ok(None);
    };
    let names = list
        .split(',')
        .map(str::trim)
        .filter(|name| !name.is_empty());
    names
        .map(|name| match name {
            "redis" => Ok(Service::Redis),
            "mongodb" => Ok(Service::MongoDb),
            "api" => Ok(Service::Api),
            _ => Err(reader::unusable(
                "HEALTH_CRITICAL",
                name,
                "a comma-separated list of `redis`, `mongodb` and `api`, or an empty value".into(),
            )),
        })
        .collect::<Result<_, _>>()
        .map(Some)
}

fn details_token(read: &Reader<'_>) -> Result<Option<SecretSource>, ConfigError> {
    const VARIABLE: &str = "HEALTH_DETAILS_TOKEN";
    let source = read_source(read, VARIABLE, "HEALTH_DETAILS_TOKEN_SECRET_ARN")?;
    match &source {
        Some(SecretSource::Given(token)) if !is_details_token(token, 1) => {
            Err(ConfigError::UnusableSecret {
                variable: VARIABLE,
                accepted: "1 to 256 visible ASCII characters without spaces".into(),
            })
        }
        _ => Ok(source),
    }
}

/// Whether a token fits into a header and has at least `shortest` characters.
pub(crate) fn is_details_token(token: &Secret, shortest: usize) -> bool {
    let token = token.expose();
    (shortest..=LONGEST_TOKEN).contains(&token.len())
        && token.bytes().all(|byte| byte.is_ascii_graphic())
}
