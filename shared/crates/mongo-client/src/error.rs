//! The reasons why a call to MongoDB fails. Each reason has a stable code for programs and a fixed text for people. The
//! text describes what failed and what to check.

use mongodb::error::{ErrorKind, WriteFailure};

const DUPLICATE_KEY: i32 = 11_000;

/// Why a call to MongoDB has no result. The text is fixed and does not quote the URI or the server, so it is safe
/// to show.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// No URI is configured.
    #[error("MongoDB client not initialized")]
    NotConfigured,
    /// The URI cannot be parsed.
    #[error("the MongoDB URI is invalid; expected mongodb://… or mongodb+srv://…")]
    InvalidUrl,
    /// Outside development, the URI would send credentials unencrypted to another host, or accept any certificate.
    #[error(
        "the MongoDB URI is unsafe: it does not require TLS with a valid certificate; use mongodb+srv:// or tls=true"
    )]
    UnsafeUrl,
    /// The secret with the URI cannot be read.
    #[error("MongoDB credentials unavailable; see the AWS error code in the log")]
    NoCredentials,
    /// The host has no address, the port is closed, or the replica set has no usable server.
    #[error("connection refused, host not found or no primary; check the hosts in the URI")]
    ConnectFailed,
    /// The TCP connection works, but the TLS handshake fails.
    #[error("TLS handshake failed; check the certificate of the server")]
    TlsFailed,
    /// User or password is missing or wrong, or the user lacks a permission.
    #[error("authentication failed: the server rejected the user, its password or its roles")]
    AuthFailed,
    /// The server did not reply within the time limit.
    #[error("timed out waiting for a reply")]
    Timeout,
    /// The connection broke before the reply.
    #[error("connection lost before the reply")]
    ConnectionLost,
    /// A document with this `_id` exists.
    #[error("a document with this _id exists")]
    Duplicate,
    /// A majority of the servers has not acknowledged the write, so a failover may roll it back.
    #[error("the write was not acknowledged by a majority; a failover may roll it back")]
    NotAcknowledged,
    /// Any other error.
    #[error("the server rejected the command")]
    Rejected,
}

impl Error {
    /// The stable code for programs.
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

    /// Whether the call may have taken effect.
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

    /// Whether the call failed before it was sent.
    pub(super) fn precedes_calling(self) -> bool {
        !self.may_have_run() && self != Self::Duplicate
    }

    /// Whether a retry on a new connection may succeed.
    pub(super) fn is_of_connection(self) -> bool {
        matches!(
            self,
            Self::ConnectFailed | Self::Timeout | Self::ConnectionLost
        )
    }

    /// Maps an error of the driver. The driver's text is dropped, because it contains names of hosts.
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
            // MongoDB's error code 18 is `AuthenticationFailed`, and 13 is `Unauthorized`.
            ErrorKind::Command(command) if matches!(command.code, 13 | 18) => Self::AuthFailed,
            _ => Self::Rejected,
        }
    }
}
