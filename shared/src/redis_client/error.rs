//! Why did a command fail, and may it have run all the same?

use std::error::Error as StdError;
use std::io;
use std::sync::Arc;

use redis::{ErrorKind, RedisError};

use super::login::NO_CREDENTIALS;

/// A command that has no result. The variant says what the caller may conclude, the [`Reason`] says why.
///
/// No text of the server's or of the client library's is kept: it can quote a command's arguments.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// There was no connection to send it on. Nothing was sent.
    #[error("reach Redis: {0}")]
    Unreachable(Reason),
    /// The server refused it. It has not run.
    #[error("have Redis run the command: {0}")]
    Refused(Reason),
    /// It was sent and no usable answer came: it may have run.
    #[error("hear from Redis: {0}")]
    Unanswered(Reason),
}

impl Error {
    /// What stood between the command and its result.
    pub fn reason(self) -> Reason {
        match self {
            Self::Unreachable(reason) | Self::Refused(reason) | Self::Unanswered(reason) => reason,
        }
    }

    /// Whether the command can have taken effect although there is no result.
    pub fn may_have_run(self) -> bool {
        matches!(self, Self::Unanswered(_))
    }
}

/// What stands between a command and its result. Its text is fixed, so it can be shown to anyone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    /// No URL is configured.
    #[error("Redis client not initialized")]
    NotConfigured,
    /// The URL cannot be parsed.
    #[error("the Redis URL cannot be parsed")]
    InvalidUrl,
    /// The URL sends a password unencrypted to another host, and `REDIS_PLAINTEXT` does not allow that.
    #[error("the Redis URL sends a password unencrypted to another host")]
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
    /// User or password are missing or wrong.
    #[error("authentication failed")]
    AuthFailed,
    /// The server reads its data from disk.
    #[error("the server is loading its data")]
    Loading,
    /// A replica without its primary.
    #[error("the replica has no link to its primary")]
    MasterDown,
    /// The cluster serves no slots.
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
                | Self::ReadOnly
                | Self::NoReplicas
        )
    }

    /// Why a command failed on a connection that stood.
    pub(super) fn of_command(error: &RedisError) -> Self {
        match error.kind() {
            ErrorKind::Io | ErrorKind::Parse => Self::ConnectionLost,
            ErrorKind::AuthenticationFailed => Self::AuthFailed,
            ErrorKind::ClusterConnectionNotFound => Self::ClusterDown,
            ErrorKind::UnexpectedReturnType => Self::UnexpectedAnswer,
            _ => error.code().map_or(Self::Rejected, Self::of_error_code),
        }
    }

    /// Why a connection did not come about.
    pub(super) fn of_connecting(error: &RedisError) -> Self {
        // The cluster client keeps of its nodes' errors only the text.
        let text = error.detail().unwrap_or_default();
        if text.contains(NO_CREDENTIALS) {
            return Self::NoCredentials;
        }
        if text.contains("AuthenticationFailed")
            || text.contains("WRONGPASS")
            || text.contains("NOAUTH")
        {
            return Self::AuthFailed;
        }
        if error.is_timeout() || text.contains("timed out") {
            return Self::ConnectTimeout;
        }
        if is_tls(error) || text.contains("certificate") {
            return Self::TlsFailed;
        }
        match Self::of_command(error) {
            Self::ConnectionLost | Self::Rejected => Self::ConnectFailed,
            reason => reason,
        }
    }

    fn of_error_code(code: &str) -> Self {
        match code {
            "NOAUTH" | "WRONGPASS" => Self::AuthFailed,
            "LOADING" => Self::Loading,
            "MASTERDOWN" => Self::MasterDown,
            "CLUSTERDOWN" => Self::ClusterDown,
            "OOM" => Self::OutOfMemory,
            "READONLY" => Self::ReadOnly,
            "NOREPLICAS" => Self::NoReplicas,
            "NOPERM" => Self::NoPermission,
            _ => Self::Rejected,
        }
    }
}

/// Whether the connection that brought this error is of no more use.
pub(super) fn breaks_connection(error: &RedisError) -> bool {
    matches!(
        error.kind(),
        ErrorKind::Io | ErrorKind::Parse | ErrorKind::ClusterConnectionNotFound
    )
}

/// TLS errors arrive as I/O errors that hold an error of rustls; the client library hands them out behind an `Arc`.
fn is_tls(error: &RedisError) -> bool {
    error
        .source()
        .and_then(|source| source.downcast_ref::<Arc<dyn StdError + Send + Sync>>())
        .and_then(|source| source.downcast_ref::<io::Error>())
        .and_then(io::Error::get_ref)
        .is_some_and(|inner| inner.is::<rustls::Error>())
}
