//! Why is there no result? One word for machines and one fixed sentence for people, for each reason.

/// What stands between a command and its result. Its text is fixed, so it can be shown to anyone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    /// No URL is configured.
    #[error("Redis client not initialized")]
    NotConfigured,
    /// The URL cannot be parsed, or a part of it is not understood.
    #[error("the Redis URL cannot be parsed")]
    InvalidUrl,
    /// The URL sends a login unencrypted to another host, and `REDIS_PLAINTEXT` does not allow that.
    #[error("the Redis URL sends a login unencrypted to another host")]
    UnsafeUrl,
    /// What to log in with could not be had: the secret that holds the URL, or credentials to sign a token.
    #[error("the credentials for Redis could not be had")]
    NoCredentials,
    /// The name has no address, or nothing listens there.
    #[error("the connection was refused or its host is unknown")]
    ConnectFailed,
    /// TCP works, TLS does not.
    #[error("the TLS handshake failed")]
    TlsFailed,
    /// No handshake within its limit.
    #[error("the connection was not established in time")]
    ConnectTimeout,
    /// The server accepted the connection, and closed it without an answer.
    #[error("the server closed the connection during the handshake")]
    HandshakeFailed,
    /// The server has no password, and answers its own host alone.
    #[error("the server is in protected mode: it has no password and refuses other hosts")]
    ProtectedMode,
    /// The server serves as many clients as it may.
    #[error("the server has reached its limit of clients")]
    TooManyClients,
    /// The server, or a proxy in front of it, does not speak RESP3.
    #[error("the server does not support HELLO 3: Redis 7.0 or Valkey 7.2 is needed")]
    UnsupportedServer,
    /// The URL names a database that the server does not have.
    #[error("the server does not have the database that the Redis URL names")]
    NoDatabase,
    /// The server is one of several that share the keys, and `REDIS_CLUSTER` is not set.
    #[error("the server holds only a part of its cluster's keys: set REDIS_CLUSTER=true")]
    ClusterModeRequired,
    /// `REDIS_CLUSTER` is set, and the server is not in cluster mode.
    #[error("the server is not in cluster mode: set REDIS_CLUSTER=false")]
    ClusterModeUnsupported,
    /// User or password are missing or wrong.
    #[error("authentication failed")]
    AuthFailed,
    /// The server reads its data from disk.
    #[error("the server is loading its data")]
    Loading,
    /// A replica without its primary.
    #[error("the replica has no link to its primary")]
    MasterDown,
    /// The cluster serves no slots, or not all of them.
    #[error("the cluster is down")]
    ClusterDown,
    /// The memory limit is reached and nothing may be evicted.
    #[error("the server is out of memory")]
    OutOfMemory,
    /// A replica, or a primary that was demoted.
    #[error("the server is read-only")]
    ReadOnly,
    /// Too few replicas for the server to accept a write.
    #[error("the server has too few replicas to accept a write")]
    NoReplicas,
    /// The user may not run the command or touch the key.
    #[error("the user lacks a permission")]
    NoPermission,
    /// The connection stood, the answer did not come in time.
    #[error("the answer did not come in time")]
    Timeout,
    /// The connection broke before the answer.
    #[error("the connection was lost")]
    ConnectionLost,
    /// Any other error the server answers.
    #[error("the server rejected the command")]
    Rejected,
    /// An answer of a kind that the command does not have.
    #[error("the answer is not of the expected kind")]
    UnexpectedAnswer,
}

impl Reason {
    /// The stable, machine-readable form.
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

    /// Whether a server says this before it runs anything, even of a script.
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
