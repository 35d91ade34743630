//! The settings of the Redis client.
//!
//! The URL is stored as text. A process with an invalid URL starts. Then every command fails, and health reports the
//! reason.

use std::time::Duration;

use foundation::secret::{Secret, SecretSource};

/// The settings of the Redis client.
#[derive(Clone, Debug)]
pub struct RedisConfig {
    /// The URL, not parsed; `None`: Redis is not configured.
    pub url: Option<SecretSource>,
    /// How the client logs in.
    pub auth: RedisAuth,
    /// Whether credentials may be sent unencrypted to another host.
    pub plaintext: Plaintext,
    /// Whether to use cluster mode. In cluster mode, the URL has the address of any node of the cluster.
    pub cluster: bool,
    /// The CA certificates to trust instead of the public roots, as PEM.
    pub ca_pem: Option<Vec<u8>>,
    /// Time limit of TCP connect, TLS and handshake together.
    pub connect_timeout: Duration,
    /// Time limit of one command.
    pub response_timeout: Duration,
    /// Idle time after which a connection is pinged before use.
    pub idle_check: Duration,
}

/// Whether credentials may be sent unencrypted to another host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plaintext {
    /// Credentials may not be sent unencrypted. A URL that would cause that is rejected.
    Refused,
    /// Credentials may be sent unencrypted, because this is development.
    AllowedInDevelopment,
    /// Credentials may be sent unencrypted, because `REDIS_PLAINTEXT` allows it.
    Allowed,
}

/// How the client logs in to Redis.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RedisAuth {
    /// With the user and the password of the URL, if it has any.
    Url,
    /// As an IAM user of ElastiCache, with a signed token instead of a password.
    #[cfg(feature = "iam")]
    Iam(IamLogin),
}

/// An IAM user, and the cache that it logs in to (<https://docs.aws.amazon.com/AmazonElastiCache/latest/dg/auth-iam.html>).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IamLogin {
    /// The user's id. ElastiCache requires that the user's name is equal to the id.
    pub user: String,
    /// The name of the serverless cache, or the id of the replication group.
    pub cache_name: String,
    /// Whether the cache is a serverless cache or a replication group.
    pub cache_type: CacheType,
    /// The AWS region of the cache.
    pub region: String,
}

/// The two kinds of ElastiCache. Each kind rejects tokens for the other kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CacheType {
    /// ElastiCache Serverless.
    Serverless,
    /// A replication group of nodes.
    ReplicationGroup,
}

impl RedisConfig {
    /// The settings for the server at `url`, with the defaults of all other settings.
    pub fn at(url: impl Into<String>) -> Self {
        Self {
            url: Some(SecretSource::Given(Secret::new(url))),
            ..Self::default()
        }
    }
}

impl Default for RedisConfig {
    fn default() -> Self {
        Self {
            url: None,
            auth: RedisAuth::Url,
            plaintext: Plaintext::Refused,
            cluster: false,
            ca_pem: None,
            connect_timeout: Duration::from_secs(5),
            response_timeout: Duration::from_secs(5),
            idle_check: Duration::from_secs(1),
        }
    }
}
