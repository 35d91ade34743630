//! The settings of the Redis client.

use std::fs::File;
use std::io::Read;

use foundation::Environment;
use foundation::secret::SecretSource;
use redis_client::{CacheType, IamLogin, Plaintext, RedisAuth, RedisConfig};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use url::Url;

use super::ConfigError;
use super::reader::{LONGEST_INVOCATION_MS, Reader};
use super::secret::{is_region, read_source};

const CA_FILE_LIMIT: u64 = 1024 * 1024;

pub(super) fn read(
    read: &Reader<'_>,
    environment: &Environment,
) -> Result<RedisConfig, ConfigError> {
    let limit = |variable| read.milliseconds(variable, 1..=LONGEST_INVOCATION_MS);
    let idle_check = read.milliseconds("REDIS_IDLE_CHECK_MS", 0..=LONGEST_INVOCATION_MS)?;
    let url = read_source(read, "REDIS_URL", "REDIS_URL_SECRET_ARN")?;
    let auth = read_auth(read)?;
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
    let defaults = RedisConfig::default();
    Ok(RedisConfig {
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
        connect_timeout: limit("REDIS_CONNECT_TIMEOUT_MS")?.unwrap_or(defaults.connect_timeout),
        response_timeout: limit("REDIS_RESPONSE_TIMEOUT_MS")?.unwrap_or(defaults.response_timeout),
        idle_check: idle_check.unwrap_or(defaults.idle_check),
    })
}

fn read_auth(read: &Reader<'_>) -> Result<RedisAuth, ConfigError> {
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
    // These are also read for `REDIS_AUTH=url`, so that an invalid value is found before the login is switched to
    // `iam`.
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
        return Ok(RedisAuth::Url);
    }
    Ok(RedisAuth::Iam(IamLogin {
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

const CACHE_TYPES: &str = "`serverless` or `replication_group`";
const REGION: &str = "the name of a region, for example `eu-central-1`";

/// Returns `value`, which `REDIS_AUTH=iam` requires.
fn required<T>(value: Option<T>, variable: &'static str, accepted: &str) -> Result<T, ConfigError> {
    value.ok_or_else(|| ConfigError::Missing {
        variable,
        accepted: format!("{accepted} (`REDIS_AUTH` is `iam`)").into(),
    })
}

/// Rejects a URL without TLS, and a URL with a user or a password. The token for `REDIS_AUTH=iam` needs TLS, and
/// replaces user and password. A URL that cannot be parsed is accepted here, and health reports it.
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

/// Returns the content of a file of PEM certificates. `None`: the path is not a regular file, or the file has more than
/// 1 MiB, no certificate, or an invalid certificate.
fn certificates(path: &str) -> Option<Vec<u8>> {
    // The type of the file is checked before the file is opened. Otherwise, opening a named pipe would wait until
    // another process writes to it.
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
