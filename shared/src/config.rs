//! Which settings are there, and what does each one do?
//!
//! This is the only module that reads the environment, and it reads it once, at the start. Everything else is handed
//! the part of [`Config`] it needs. A wrong value stops the start with a [`ConfigError`] that names the variable; a
//! backend that is missing, down or has a URL its client cannot parse does not: health tells.
//!
//! A variable that is empty or blank counts as not set (only `HEALTH_CRITICAL` gives the empty value a meaning).
//!
//! | variable | unit, accepted | default | effect, and what happens at its extremes |
//! |---|---|---|---|
//! | `SERVICE_NAME` | 1–64 of `A–Z a–z 0–9 . _ -` | `truebond` | the name in health answers and the namespace of metrics |
//! | `ENVIRONMENT` | 1–64 of `A–Z a–z 0–9 . _ -` | `development` | everything but `development` counts as production: health details only with the token, no memory fallback; must be set on Lambda (where `AWS_LAMBDA_INITIALIZATION_TYPE` is set) |
//! | `REDIS_URL` | `redis://` or `rediss://`, `user:password@`, `host:port`, `/db` | not set: no Redis | the Redis or Valkey server; credentials percent-encoded |
//! | `REDIS_CLUSTER` | `true`, `false` | `false` | cluster mode; the URL names any node (ElastiCache Serverless needs it) and no database |
//! | `REDIS_CA_FILE` | path of a PEM file, at most 1 MiB | public roots | trusts only the certificates in it (for `rediss://`) |
//! | `REDIS_CONNECT_TIMEOUT_MS` | 1–900 000 ms | 5 000 | limit of TCP, TLS and handshake together; too short: never connects; always clipped to the time left in the invocation |
//! | `REDIS_RESPONSE_TIMEOUT_MS` | 1–900 000 ms | 5 000 | limit of one command, also clipped; a command that overruns it costs the connection |
//! | `REDIS_IDLE_CHECK_MS` | 0–900 000 ms | 1 000 | a connection unused for longer is pinged before use; 0 pings before every command, the maximum never within an invocation |
//! | `MONGODB_URI` | `mongodb://` or `mongodb+srv://` | not set: no MongoDB | the MongoDB deployment |
//! | `MONGODB_DATABASE` | 1–63 bytes without `/ \ . " $ * < > : \| ?` and blanks | `truebond` | the database |
//! | `HEALTH_CHECK_TIMEOUT_MS` | 1–29 000 ms | 800 | limit of one check |
//! | `HEALTH_TOTAL_TIMEOUT_MS` | 1–29 000 ms | 1 000 | limit of a whole health answer; a check is cut at whichever limit is sooner |
//! | `HEALTH_MEMO_MS` | 0–60 000 ms | 1 000 | how long a result is answered again without a probe; 0 probes at every request |
//! | `HEALTH_SLOW_MS` | 1–29 000 ms | 100 | a probe slower than this makes its service `degraded` |
//! | `HEALTH_CRITICAL` | comma list of `redis`, `mongodb`, `api`, or empty | MongoDB if configured, Redis if nothing stands in for it | which services make the whole `unhealthy`; empty: none |
//! | `HEALTH_DETAILS_TOKEN` | 1–256 characters, visible ASCII | not set | shows health details to who sends it as `Authorization: Bearer`; not set: shown in development, never elsewhere |
//! | `AWS_LAMBDA_LOG_FORMAT` | `JSON`, `Text` | text in a terminal, else JSON | how log lines are written (set by Lambda) |
//! | `AWS_LAMBDA_LOG_LEVEL` | `TRACE`, `DEBUG`, `INFO`, `WARN`, `ERROR`, `FATAL` | `INFO` | the least level of our own log lines (set by Lambda) |

mod reader;
mod secret;

use std::ffi::OsString;
use std::fs::File;
use std::io::Read;
use std::time::Duration;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

pub use reader::ConfigError;
use reader::Reader;
pub use secret::Secret;

/// Every setting of a function, read once.
#[derive(Clone, Debug)]
pub struct Config {
    /// The service's name in health answers and metrics.
    pub service: String,
    /// The version of this build, from Cargo.
    pub version: &'static str,
    /// Where this runs.
    pub environment: Environment,
    /// Redis or Valkey.
    pub redis: RedisConfig,
    /// MongoDB.
    pub mongo: MongoConfig,
    /// The health answers.
    pub health: HealthConfig,
    /// The log.
    pub log: LogConfig,
    /// What Lambda says of this process.
    pub lambda: LambdaConfig,
}

/// The name of the environment this runs in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Environment(String);

/// How Redis is reached.
#[derive(Clone, Debug)]
pub struct RedisConfig {
    /// `REDIS_URL`, unparsed: a URL that cannot be parsed is a state of health, not a reason not to start.
    pub url: Option<Secret>,
    /// Whether the URL names a node of a cluster.
    pub cluster: bool,
    /// The certificates to trust instead of the public roots, as PEM.
    pub ca_pem: Option<Vec<u8>>,
    /// Limit of TCP, TLS and handshake together.
    pub connect_timeout: Duration,
    /// Limit of one command.
    pub response_timeout: Duration,
    /// How long a connection may rest before it is pinged ahead of use.
    pub idle_check: Duration,
}

/// How MongoDB is reached.
#[derive(Clone, Debug)]
pub struct MongoConfig {
    /// `MONGODB_URI`, unparsed.
    pub uri: Option<Secret>,
    /// The database.
    pub database: String,
}

/// How health is measured and told.
#[derive(Clone, Debug)]
pub struct HealthConfig {
    /// Limit of one check.
    pub check_timeout: Duration,
    /// Limit of a whole answer.
    pub total_timeout: Duration,
    /// How long a result is answered again.
    pub memo: Duration,
    /// The probe time above which a service is `degraded`.
    pub slow: Duration,
    /// The services that make the whole `unhealthy`; `None`: those the stores in force depend on.
    pub critical: Option<Vec<Service>>,
    /// What shows the details.
    pub details_token: Option<Secret>,
}

/// A part of the system that has a health of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Service {
    /// Redis or Valkey.
    Redis,
    /// MongoDB.
    MongoDb,
    /// This process.
    Api,
}

/// How the log is written.
#[derive(Clone, Debug)]
pub struct LogConfig {
    /// The shape of a line; `None`: text in a terminal, else JSON.
    pub format: Option<LogFormat>,
    /// The least level of our own lines.
    pub level: tracing::Level,
}

/// The shape of a log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// One JSON object.
    Json,
    /// Text for a person.
    Text,
}

/// What Lambda tells a process about itself.
#[derive(Clone, Debug)]
pub struct LambdaConfig {
    /// The function's name.
    pub function: Option<String>,
    /// Whether this is Lambda itself, and not a local stand-in for it.
    pub deployed: bool,
    /// Whether a Runtime API is there to ask for invocations.
    pub runtime_api: bool,
    /// How many invocations this process serves at a time.
    pub concurrency: usize,
}

const MILLISECONDS: &str = "whole milliseconds from 1 to 900000";
const MILLISECONDS_OR_ZERO: &str = "whole milliseconds from 0 to 900000";
const HEALTH_MILLISECONDS: &str = "whole milliseconds from 1 to 29000";
const LONGEST_INVOCATION_MS: u64 = 900_000;
const LONGEST_API_ANSWER_MS: u64 = 29_000;
const CA_FILE_LIMIT: u64 = 1024 * 1024;

impl Config {
    /// Reads the environment of this process.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] for the first variable that cannot be used.
    pub fn from_env() -> Result<Self, ConfigError> {
        #[expect(
            clippy::disallowed_methods,
            reason = "the one place that reads the environment"
        )]
        let lookup = |variable: &str| std::env::var_os(variable);
        Self::from_lookup(lookup)
    }

    /// Reads variables through `lookup`.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] for the first variable that cannot be used.
    pub fn from_lookup(lookup: impl Fn(&str) -> Option<OsString>) -> Result<Self, ConfigError> {
        let read = Reader(lookup);
        let deployed = read.text("AWS_LAMBDA_INITIALIZATION_TYPE")?.is_some();
        Ok(Self {
            service: read
                .name("SERVICE_NAME")?
                .unwrap_or_else(|| "truebond".to_owned()),
            version: env!("CARGO_PKG_VERSION"),
            environment: environment(&read, deployed)?,
            redis: redis(&read)?,
            mongo: mongo(&read)?,
            health: health(&read)?,
            log: log(&read)?,
            lambda: LambdaConfig {
                function: read.text("AWS_LAMBDA_FUNCTION_NAME")?,
                deployed,
                runtime_api: read.text("AWS_LAMBDA_RUNTIME_API")?.is_some(),
                concurrency: read
                    .parsed("AWS_LAMBDA_MAX_CONCURRENCY", "a whole number", |text| {
                        text.parse().ok()
                    })?
                    .unwrap_or(1),
            },
        })
    }
}

impl Environment {
    /// The environment's name.
    pub fn name(&self) -> &str {
        &self.0
    }

    /// Whether this is a laptop. Everything else is treated as production.
    pub fn is_development(&self) -> bool {
        self.0 == "development"
    }
}

impl Default for LogConfig {
    fn default() -> Self {
        Self {
            format: None,
            level: tracing::Level::INFO,
        }
    }
}

fn environment<L: Fn(&str) -> Option<OsString>>(
    read: &Reader<L>,
    deployed: bool,
) -> Result<Environment, ConfigError> {
    match read.name("ENVIRONMENT")? {
        Some(name) => Ok(Environment(name)),
        None if deployed => Err(ConfigError::Missing {
            variable: "ENVIRONMENT",
            accepted: "the name of this environment, for example `production` (on Lambda there is no default)",
        }),
        None => Ok(Environment("development".to_owned())),
    }
}

fn redis<L: Fn(&str) -> Option<OsString>>(read: &Reader<L>) -> Result<RedisConfig, ConfigError> {
    let limit = |variable| read.milliseconds(variable, 1..=LONGEST_INVOCATION_MS, MILLISECONDS);
    let idle_check = read.milliseconds(
        "REDIS_IDLE_CHECK_MS",
        0..=LONGEST_INVOCATION_MS,
        MILLISECONDS_OR_ZERO,
    )?;
    Ok(RedisConfig {
        url: read.secret("REDIS_URL")?,
        cluster: read.flag("REDIS_CLUSTER")?.unwrap_or(false),
        ca_pem: read.parsed(
            "REDIS_CA_FILE",
            "the path of a PEM file with at least one certificate",
            certificates,
        )?,
        connect_timeout: limit("REDIS_CONNECT_TIMEOUT_MS")?.unwrap_or(Duration::from_secs(5)),
        response_timeout: limit("REDIS_RESPONSE_TIMEOUT_MS")?.unwrap_or(Duration::from_secs(5)),
        idle_check: idle_check.unwrap_or(Duration::from_secs(1)),
    })
}

fn mongo<L: Fn(&str) -> Option<OsString>>(read: &Reader<L>) -> Result<MongoConfig, ConfigError> {
    let accepted = "1 to 63 bytes without `/ \\ . \" $ * < > : | ?` and blanks";
    let database = read.parsed("MONGODB_DATABASE", accepted, |text| {
        let fits = text.len() <= 63
            && !text.contains(|c: char| c.is_whitespace() || "/\\.\"$*<>:|?\0".contains(c));
        fits.then(|| text.to_owned())
    })?;
    Ok(MongoConfig {
        uri: read.secret("MONGODB_URI")?,
        database: database.unwrap_or_else(|| "truebond".to_owned()),
    })
}

fn health<L: Fn(&str) -> Option<OsString>>(read: &Reader<L>) -> Result<HealthConfig, ConfigError> {
    let limit =
        |variable| read.milliseconds(variable, 1..=LONGEST_API_ANSWER_MS, HEALTH_MILLISECONDS);
    let memo = read.milliseconds(
        "HEALTH_MEMO_MS",
        0..=60_000,
        "whole milliseconds from 0 to 60000",
    )?;
    Ok(HealthConfig {
        check_timeout: limit("HEALTH_CHECK_TIMEOUT_MS")?.unwrap_or(Duration::from_millis(800)),
        total_timeout: limit("HEALTH_TOTAL_TIMEOUT_MS")?.unwrap_or(Duration::from_secs(1)),
        memo: memo.unwrap_or(Duration::from_secs(1)),
        slow: limit("HEALTH_SLOW_MS")?.unwrap_or(Duration::from_millis(100)),
        critical: critical(read)?,
        details_token: details_token(read)?,
    })
}

fn critical<L: Fn(&str) -> Option<OsString>>(
    read: &Reader<L>,
) -> Result<Option<Vec<Service>>, ConfigError> {
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
                "a comma list of `redis`, `mongodb`, `api`, or empty",
            )),
        })
        .collect::<Result<_, _>>()
        .map(Some)
}

fn details_token<L: Fn(&str) -> Option<OsString>>(
    read: &Reader<L>,
) -> Result<Option<Secret>, ConfigError> {
    let Some(token) = read.text("HEALTH_DETAILS_TOKEN")? else {
        return Ok(None);
    };
    if token.len() <= 256 && token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Ok(Some(Secret::new(token)));
    }
    Err(ConfigError::UnusableSecret {
        variable: "HEALTH_DETAILS_TOKEN",
        accepted: "1 to 256 visible ASCII characters without blanks",
    })
}

fn log<L: Fn(&str) -> Option<OsString>>(read: &Reader<L>) -> Result<LogConfig, ConfigError> {
    let format = read.parsed(
        "AWS_LAMBDA_LOG_FORMAT",
        "`JSON` or `Text`",
        |text| match text {
            "JSON" => Some(LogFormat::Json),
            "Text" => Some(LogFormat::Text),
            _ => None,
        },
    )?;
    let accepted = "`TRACE`, `DEBUG`, `INFO`, `WARN`, `ERROR` or `FATAL`";
    let level = read.parsed("AWS_LAMBDA_LOG_LEVEL", accepted, |text| match text {
        "TRACE" => Some(tracing::Level::TRACE),
        "DEBUG" => Some(tracing::Level::DEBUG),
        "INFO" => Some(tracing::Level::INFO),
        "WARN" => Some(tracing::Level::WARN),
        "ERROR" | "FATAL" => Some(tracing::Level::ERROR),
        _ => None,
    })?;
    Ok(LogConfig {
        format,
        level: level.unwrap_or(tracing::Level::INFO),
    })
}

/// The content of a PEM file that is small, regular and holds a certificate.
fn certificates(path: &str) -> Option<Vec<u8>> {
    // Asked before opening: opening a pipe would wait for its writer.
    if !std::fs::metadata(path).ok()?.is_file() {
        return None;
    }
    let mut pem = Vec::new();
    File::open(path)
        .ok()?
        .take(CA_FILE_LIMIT + 1)
        .read_to_end(&mut pem)
        .ok()?;
    let whole = pem.len() as u64 <= CA_FILE_LIMIT;
    let parsed: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    (whole && parsed.is_ok_and(|certificates| !certificates.is_empty())).then_some(pem)
}

#[cfg(test)]
mod tests;
