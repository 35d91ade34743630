//! The settings of the Redis client. The URL stays unparsed: one that cannot be parsed is a state of health, not a reason
//! not to start.

use std::fs::File;
use std::io::Read;
use std::time::Duration;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use url::Url;

use super::reader::{LONGEST_INVOCATION_MS, Reader};
use super::secret::is_region;
use super::{ConfigError, Environment, SecretSource};

/// How Redis is reached.
#[derive(Clone, Debug)]
pub struct RedisConfig {
    /// `REDIS_URL`, unparsed: a URL that cannot be parsed is a state of health, not a reason not to start.
    pub url: Option<SecretSource>,
    /// How this process logs in.
    pub auth: RedisAuth,
    /// Whether a password may go unencrypted to another host.
    pub plaintext: Plaintext,
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

/// What may go unencrypted to another host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plaintext {
    /// No password.
    Refused,
    /// A password, as this is a laptop.
    AllowedInDevelopment,
    /// A password, as `REDIS_PLAINTEXT` says so.
    Allowed,
}

/// How a process logs in to Redis.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RedisAuth {
    /// With the user and the password of the URL, if it has any.
    Url,
    /// As an IAM user of ElastiCache, with a token in place of a password.
    Iam(IamLogin),
}

/// Who logs in with a token, and to what (<https://docs.aws.amazon.com/AmazonElastiCache/latest/dg/auth-iam.html>).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IamLogin {
    /// The user's id, which has to be its name as well.
    pub user: String,
    /// The name of the serverless cache, or the id of the replication group.
    pub cache_name: String,
    /// Which of the two that is.
    pub cache_type: CacheType,
    /// Where it is.
    pub region: String,
}

/// The two kinds of ElastiCache, each of which refuses the other's tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CacheType {
    /// ElastiCache Serverless.
    Serverless,
    /// A cluster of nodes.
    ReplicationGroup,
}

const CA_FILE_LIMIT: u64 = 1024 * 1024;

impl RedisConfig {
    pub(super) fn read(read: &Reader<'_>, environment: &Environment) -> Result<Self, ConfigError> {
        let limit = |variable| read.milliseconds(variable, 1..=LONGEST_INVOCATION_MS);
        let idle_check = read.milliseconds("REDIS_IDLE_CHECK_MS", 0..=LONGEST_INVOCATION_MS)?;
        let url = SecretSource::read(read, "REDIS_URL", "REDIS_URL_SECRET_ARN")?;
        let auth = RedisAuth::read(read)?;
        if let (RedisAuth::Iam(_), Some(SecretSource::Given(url))) = (&auth, &url) {
            require_tls_alone(url.expose())?;
        }
        let plaintext = read.parsed(
            "REDIS_PLAINTEXT",
            "`allowed` or `refused`",
            |text| match text {
                "allowed" => Some(Plaintext::Allowed),
                "refused" => Some(Plaintext::Refused),
                _ => None,
            },
        )?;
        Ok(Self {
            url,
            auth,
            plaintext: plaintext.unwrap_or(match environment.is_development() {
                true => Plaintext::AllowedInDevelopment,
                false => Plaintext::Refused,
            }),
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
}

impl RedisAuth {
    fn read(read: &Reader<'_>) -> Result<Self, ConfigError> {
        let name = |variable| {
            read.parsed(
                variable,
                "1 to 40 lower-case letters, digits or `-`",
                |text| {
                    let fits = text.len() <= 40
                        && text.bytes().all(|byte| {
                            byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-'
                        });
                    fits.then(|| text.to_owned())
                },
            )
        };
        // Read whatever is chosen, so that a wrong one never waits for the day when it is needed.
        let (user, cache_name) = (name("REDIS_USER")?, name("REDIS_CACHE_NAME")?);
        let cache_type = read.parsed("REDIS_CACHE_TYPE", CACHE_TYPES, |text| match text {
            "serverless" => Some(CacheType::Serverless),
            "replication_group" => Some(CacheType::ReplicationGroup),
            _ => None,
        })?;
        let region = read.parsed("AWS_REGION", REGION, |text| {
            is_region(text).then(|| text.to_owned())
        })?;
        let is_iam = read.parsed("REDIS_AUTH", "`url` or `iam`", |text| match text {
            "url" => Some(false),
            "iam" => Some(true),
            _ => None,
        })?;
        if is_iam != Some(true) {
            return Ok(Self::Url);
        }
        Ok(Self::Iam(IamLogin {
            user: required(user, "REDIS_USER", "the id of an IAM user of ElastiCache")?,
            cache_name: required(
                cache_name,
                "REDIS_CACHE_NAME",
                "the name of the serverless cache, or the id of the replication group",
            )?,
            cache_type: required(cache_type, "REDIS_CACHE_TYPE", CACHE_TYPES)?,
            region: required(region, "AWS_REGION", REGION)?,
        }))
    }
}

const CACHE_TYPES: &str = "`serverless` or `replication_group`";
const REGION: &str = "the name of a region, for example `eu-central-1`";

/// What `REDIS_AUTH=iam` cannot do without.
fn required<T>(value: Option<T>, variable: &'static str, accepted: &str) -> Result<T, ConfigError> {
    value.ok_or_else(|| ConfigError::Missing {
        variable,
        accepted: format!("{accepted} (`REDIS_AUTH` is `iam`)").into(),
    })
}

/// A token goes over TLS, and in the place of what the URL would say of a user. What cannot be parsed is left to health.
fn require_tls_alone(url: &str) -> Result<(), ConfigError> {
    let is_usable = Url::parse(url).map_or(true, |url| {
        matches!(url.scheme(), "rediss" | "valkeys")
            && url.username().is_empty()
            && url.password().is_none()
    });
    if is_usable {
        return Ok(());
    }
    Err(ConfigError::UnusableSecret {
        variable: "REDIS_URL",
        accepted: "`rediss://host:port` without user and password, because `REDIS_AUTH` is `iam`"
            .into(),
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
