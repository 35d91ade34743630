//! How Redis is reached. The URL stays unparsed: one that cannot be parsed is a state of health, not a reason not to start.

use std::time::Duration;

use foundation::secret::{Secret, SecretSource};

/// How Redis is reached.
#[derive(Clone, Debug)]
pub struct RedisConfig {
    /// `REDIS_URL`, unparsed: a URL that cannot be parsed is a state of health, not a reason not to start.
    pub url: Option<SecretSource>,
    /// How this process logs in.
    pub auth: RedisAuth,
    /// Whether a login may go unencrypted to another host.
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
    /// No login.
    Refused,
    /// A login, as this is a laptop.
    AllowedInDevelopment,
    /// A login, as `REDIS_PLAINTEXT` says so.
    Allowed,
}

/// How a process logs in to Redis.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RedisAuth {
    /// With the user and the password of the URL, if it has any.
    Url,
    /// As an IAM user of ElastiCache, with a token in place of a password.
    #[cfg(feature = "iam")]
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

impl RedisConfig {
    /// The server at `url`, with the defaults for everything else.
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
