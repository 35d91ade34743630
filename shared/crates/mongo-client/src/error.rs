//! Why did a call to MongoDB fail?

use mongodb::error::{ErrorKind, WriteFailure};

const DUPLICATE_KEY: i32 = 11_000;

/// What stands between a call and its result. Its text is fixed, so it can be shown to anyone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// No URI is configured.
    #[error("MongoDB client not initialized")]
    NotConfigured,
    /// The URI cannot be parsed.
    #[error("the MongoDB URI cannot be parsed")]
    InvalidUrl,
    /// Outside development: the URI sends a login unencrypted to another host, or accepts any certificate.
    #[error("the MongoDB URI is not safe outside development")]
    UnsafeUrl,
    /// The secret that holds the URI could not be read.
    #[error("the credentials for MongoDB could not be had")]
    NoCredentials,
    /// The name has no address, nothing listens there, or no server of the set can be used.
    #[error("the connection was refused or its host is unknown")]
    ConnectFailed,
    /// TCP works, TLS does not.
    #[error("the TLS handshake failed")]
    TlsFailed,
    /// User or password are missing or wrong.
    #[error("authentication failed")]
    AuthFailed,
    /// No answer in time.
    #[error("the answer did not come in time")]
    Timeout,
    /// The connection broke before the answer.
    #[error("the connection was lost")]
    ConnectionLost,
    /// A document with this `_id` is there already.
    #[error("the document exists already")]
    Duplicate,
    /// The write is not known to be on a majority of the servers, so a failover may undo it.
    #[error("the write was not acknowledged by a majority")]
    NotAcknowledged,
    /// Any other error.
    #[error("the server rejected the command")]
    Rejected,
}

impl Error {
    /// The stable, machine-readable form.
    pub fn code(self) -> &'static str {
        match self {
            Self::NotConfigured => "not_configured",
            Self::InvalidUrl => "invalid_url",
            Self::UnsafeUrl => "unsafe_url",
            Self::NoCredentials => "no_credentials",
            Self::ConnectFailed => "connect_failed",
            Self::TlsFailed => "tls_failed",
            Self::AuthFailed => "auth_failed",
            Self::Timeout => "timeout",
            Self::ConnectionLost => "connection_lost",
            Self::Duplicate => "duplicate",
            Self::NotAcknowledged => "not_acknowledged",
            Self::Rejected => "rejected",
        }
    }

    /// Whether the call can have taken effect although there is no result.
    pub fn may_have_run(self) -> bool {
        match self {
            Self::NotConfigured
            | Self::InvalidUrl
            | Self::UnsafeUrl
            | Self::NoCredentials
            | Self::ConnectFailed
            | Self::TlsFailed
            | Self::AuthFailed
            | Self::Duplicate => false,
            Self::Timeout | Self::ConnectionLost | Self::NotAcknowledged | Self::Rejected => true,
        }
    }

    /// Whether the call did not get as far as to be sent.
    pub(super) fn precedes_calling(self) -> bool {
        !self.may_have_run() && self != Self::Duplicate
    }

    /// Whether a new connection may bring what this one did not.
    pub(super) fn is_of_connection(self) -> bool {
        matches!(
            self,
            Self::ConnectFailed | Self::Timeout | Self::ConnectionLost
        )
    }

    /// What an error of the driver's comes to. Its text is not kept: it names hosts.
    pub(super) fn of_driver(error: &mongodb::error::Error) -> Self {
        match &*error.kind {
            ErrorKind::InvalidArgument { .. } => Self::InvalidUrl,
            ErrorKind::Authentication { .. } => Self::AuthFailed,
            ErrorKind::InvalidTlsConfig { .. } => Self::TlsFailed,
            ErrorKind::DnsResolve { .. } | ErrorKind::ServerSelection { .. } => Self::ConnectFailed,
            ErrorKind::Io(io)
                if io
                    .get_ref()
                    .is_some_and(|inner| inner.is::<rustls::Error>()) =>
            {
                Self::TlsFailed
            }
            ErrorKind::Io(io) if io.kind() == std::io::ErrorKind::TimedOut => Self::Timeout,
            ErrorKind::Io(io) if io.kind() == std::io::ErrorKind::ConnectionRefused => {
                Self::ConnectFailed
            }
            ErrorKind::Io(_) | ErrorKind::ConnectionPoolCleared { .. } => Self::ConnectionLost,
            ErrorKind::Command(command) if command.code == DUPLICATE_KEY => Self::Duplicate,
            ErrorKind::Write(WriteFailure::WriteError(error)) if error.code == DUPLICATE_KEY => {
                Self::Duplicate
            }
            ErrorKind::Write(WriteFailure::WriteConcernError(_)) => Self::NotAcknowledged,
            // 18: AuthenticationFailed, 13: Unauthorized.
            ErrorKind::Command(command) if matches!(command.code, 13 | 18) => Self::AuthFailed,
            _ => Self::Rejected,
        }
    }
}
