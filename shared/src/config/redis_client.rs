//! The settings of the Redis client. The URL stays unparsed: one that cannot be parsed is a state of health, not a reason
//! not to start.

use std::fs::File;
use std::io::Read;
use std::time::Duration;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use super::reader::{LONGEST_INVOCATION_MS, Reader};
use super::{ConfigError, Secret};

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

const CA_FILE_LIMIT: u64 = 1024 * 1024;

impl RedisConfig {
    pub(super) fn read(read: &Reader<'_>) -> Result<Self, ConfigError> {
        let limit = |variable| read.milliseconds(variable, 1..=LONGEST_INVOCATION_MS);
        let idle_check = read.milliseconds("REDIS_IDLE_CHECK_MS", 0..=LONGEST_INVOCATION_MS)?;
        Ok(Self {
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
