//! The reasons why a command has no result. Each reason has a stable code for programs and a fixed text for people. The
//! text describes what failed and what to check.

/// Why a command has no result. The text is fixed and does not quote the URL or the server, so it is safe to show.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    /// No URL is configured.
    #[error("Redis client not initialized")]
    NotConfigured,
    /// The URL cannot be parsed, or a part of it is unknown.
    #[error("the Redis URL is invalid; expected redis[s]://[user:password@]host[:port][/database]")]
    InvalidUrl,
    /// The URL would send credentials unencrypted to another host, and `REDIS_PLAINTEXT` does not allow that.
    #[error("the Redis URL would send credentials unencrypted to another host; use rediss://")]
    UnsafeUrl,
    /// The secret with the URL cannot be read, or there are no AWS credentials to sign a token with.
    #[error("Redis credentials unavailable; see the AWS error code in the log")]
    NoCredentials,
    /// The host has no address, or the port is closed.
    #[error("connection refused or host not found; check host and port in the URL")]
    ConnectFailed,
    /// The TCP connection works, but the TLS handshake fails.
    #[error("TLS handshake failed; a private certificate authority needs REDIS_CA_FILE")]
    TlsFailed,
    /// The connection was not established within its time limit.
    #[error(
        "connecting timed out; check firewalls and security groups, and use rediss:// only if the server has TLS"
    )]
    ConnectTimeout,
    /// The server accepted the connection and closed it without a reply.
    #[error(
        "the server closed the connection during the handshake; a server with TLS needs rediss://"
    )]
    HandshakeFailed,
    /// The server has no password and accepts only local connections.
    #[error(
        "the server is in protected mode: without a password it accepts only local connections"
    )]
    ProtectedMode,
    /// The server has reached `maxclients`.
    #[error("the server has reached its limit of client connections (maxclients)")]
    TooManyClients,
    /// The server, or a proxy in front of it, does not support RESP3.
    #[error("the server does not support HELLO 3; Redis 7.0 or Valkey 7.2 is required")]
    UnsupportedServer,
    /// The server does not have the database in the URL.
    #[error("the server does not have the database number in the Redis URL")]
    NoDatabase,
    /// The server is one of several masters in a cluster, and `REDIS_CLUSTER` is not set.
    #[error("the server holds only part of the cluster's keys; set REDIS_CLUSTER=true")]
    ClusterModeRequired,
    /// `REDIS_CLUSTER` is set, and the server is not in cluster mode.
    #[error("the server is not in cluster mode; set REDIS_CLUSTER=false")]
    ClusterModeUnsupported,
    /// User, password or token is missing or wrong.
    #[error("authentication failed: the server rejected user, password or token")]
    AuthFailed,
    /// The server is starting and loads its data.
    #[error("the server is loading its data from disk; it accepts commands afterwards")]
    Loading,
    /// The server is a replica that lost its primary.
    #[error("the server is a replica without a link to its primary")]
    MasterDown,
    /// Some or all hash slots have no master.
    #[error("the cluster is down: not every hash slot has a master")]
    ClusterDown,
    /// The memory limit is reached, and the server is not allowed to evict a key.
    #[error(
        "the server is out of memory and rejects writes; raise maxmemory or use a larger server"
    )]
    OutOfMemory,
    /// The server is a replica, or a primary that was demoted.
    #[error("the server is read-only: it is a replica or a demoted primary")]
    ReadOnly,
    /// Too few replicas are connected for the server to accept a write.
    #[error("the server has too few replicas to accept a write (min-replicas-to-write)")]
    NoReplicas,
    /// The ACL denies the user a command or a key.
    #[error("the Redis user lacks a permission; check its ACL rules")]
    NoPermission,
    /// The server did not reply within the time limit.
    #[error("timed out waiting for a reply")]
    Timeout,
    /// The connection broke before the reply.
    #[error("connection lost before the reply")]
    ConnectionLost,
    /// Any other error reply.
    #[error("the server rejected the command")]
    Rejected,
    /// The reply has an unexpected type.
    #[error("unexpected reply; check that the URL points to a Redis or Valkey server")]
    UnexpectedAnswer,
}

impl Reason {
    /// The stable code for programs.
    pub fn code(self) -> &'static str {
        match self {
            Self::NotConfigured => "not_configured",
            Self::InvalidUrl => "invalid_url",
            Self::UnsafeUrl => "unsafe_url",
            Self::NoCredentials => "no_credentials",
            Self::ConnectFailed => "connect_failed",
            Self::TlsFailed => "tls_failed",
            Self::ConnectTimeout => "connect_timeout",
            Self::HandshakeFailed => "handshake_failed",
            Self::ProtectedMode => "protected_mode",
            Self::TooManyClients => "too_many_clients",
            Self::UnsupportedServer => "unsupported_server",
            Self::NoDatabase => "no_database",
            Self::ClusterModeRequired => "cluster_mode_required",
            Self::ClusterModeUnsupported => "cluster_mode_unsupported",
            Self::AuthFailed => "auth_failed",
            Self::Loading => "loading",
            Self::MasterDown => "master_down",
            Self::ClusterDown => "cluster_down",
            Self::OutOfMemory => "out_of_memory",
            Self::ReadOnly => "read_only",
            Self::NoReplicas => "no_replicas",
            Self::NoPermission => "no_permission",
            Self::Timeout => "timeout",
            Self::ConnectionLost => "connection_lost",
            Self::Rejected => "rejected",
            Self::UnexpectedAnswer => "unexpected_answer",
        }
    }

    /// Whether this error proves that nothing has run, not even a part of a script.
    pub(super) fn precedes_execution(self) -> bool {
        matches!(
            self,
            Self::AuthFailed
                | Self::Loading
                | Self::MasterDown
                | Self::ClusterDown
                | Self::ClusterModeRequired
                | Self::ReadOnly
                | Self::NoReplicas
        )
    }
}
