//! Maps errors of the client library to a [`Reason`]. The server's error code and text decide first, then the kind of
//! the client library's error.

use std::error::Error as StdError;
use std::io;
use std::sync::Arc;

use redis::{ErrorKind, RedisError};

use super::login::NO_CREDENTIALS;
use super::reason::Reason;

/// Texts of handshake errors. Servers send these texts with the code `ERR`. The cluster client keeps only the text of a
/// node's error. The first match applies.
const HANDSHAKE_ERRORS: [(&str, Reason); 14] = [
    (NO_CREDENTIALS, Reason::NoCredentials),
    ("AuthenticationFailed", Reason::AuthFailed),
    ("WRONGPASS", Reason::AuthFailed),
    ("NOAUTH", Reason::AuthFailed),
    ("DENIED", Reason::ProtectedMode),
    ("max number of clients", Reason::TooManyClients),
    ("RESP3NotSupported", Reason::UnsupportedServer),
    ("NOPROTO", Reason::UnsupportedServer),
    ("cluster support disabled", Reason::ClusterModeUnsupported),
    ("DB index is out of range", Reason::NoDatabase),
    ("SELECT is not allowed in cluster mode", Reason::NoDatabase),
    ("has no permissions", Reason::NoPermission),
    ("timed out", Reason::ConnectTimeout),
    ("certificate", Reason::TlsFailed),
];

/// The reason why a command failed on an open connection.
pub(super) fn of_command(error: &RedisError) -> Reason {
    match error.kind() {
        ErrorKind::Io | ErrorKind::Parse => Reason::ConnectionLost,
        ErrorKind::AuthenticationFailed => Reason::AuthFailed,
        ErrorKind::ClusterConnectionNotFound => Reason::ClusterDown,
        ErrorKind::UnexpectedReturnType => Reason::UnexpectedAnswer,
        _ if is_denied_to_script(error) => Reason::NoPermission,
        _ => error.code().map_or(Reason::Rejected, of_error_code),
    }
}

/// The reason why a connection was not established.
pub(super) fn of_connecting(error: &RedisError) -> Reason {
    let text = text_of(error);
    // This check comes first. A server without `HELLO` may quote the arguments of the command in its error. A password
    // among these arguments can contain any of the texts below.
    if is_unknown_hello(&text) {
        return Reason::UnsupportedServer;
    }
    if let Some((_, reason)) = HANDSHAKE_ERRORS
        .iter()
        .find(|(part, _)| text.contains(part))
    {
        return *reason;
    }
    if error.is_timeout() {
        return Reason::ConnectTimeout;
    }
    if is_tls(error) {
        return Reason::TlsFailed;
    }
    match error.kind() {
        ErrorKind::Parse => Reason::UnexpectedAnswer,
        ErrorKind::RESP3NotSupported => Reason::UnsupportedServer,
        ErrorKind::Io if is_closed_by_server(error) => Reason::HandshakeFailed,
        ErrorKind::Io | ErrorKind::InvalidClientConfig => Reason::ConnectFailed,
        _ => of_command(error),
    }
}

/// Whether this error shows that the connection is broken.
pub(super) fn breaks_connection(error: &RedisError) -> bool {
    matches!(
        error.kind(),
        ErrorKind::Io | ErrorKind::Parse | ErrorKind::ClusterConnectionNotFound
    )
}

/// Whether the server does not support an option of the command. In that case, the server has not run the command.
pub(super) fn is_unknown_syntax(error: &RedisError) -> bool {
    error.code() == Some("ERR") && error.detail().is_some_and(|text| text == "syntax error")
}

/// Whether the ACL denies a command inside a script. The error code is `ERR`; Redis 7.0 and newer versions have
/// different texts.
fn is_denied_to_script(error: &RedisError) -> bool {
    let text = error.detail().unwrap_or_default();
    text.starts_with("The user executing the script can't")
        || text.starts_with("ACL failure in script")
}

fn of_error_code(code: &str) -> Reason {
    match code {
        "NOAUTH" | "WRONGPASS" => Reason::AuthFailed,
        "LOADING" => Reason::Loading,
        "MASTERDOWN" => Reason::MasterDown,
        "CLUSTERDOWN" => Reason::ClusterDown,
        "MOVED" | "ASK" => Reason::ClusterModeRequired,
        "OOM" => Reason::OutOfMemory,
        "READONLY" => Reason::ReadOnly,
        "NOREPLICAS" => Reason::NoReplicas,
        "NOPERM" => Reason::NoPermission,
        _ => Reason::Rejected,
    }
}

/// The error code and text of the server, or the text of the client library.
fn text_of(error: &RedisError) -> String {
    let code = error.code().unwrap_or_default();
    format!("{code} {}", error.detail().unwrap_or_default())
}

/// Whether the server does not support `HELLO`, the first command of the handshake. Old servers and proxies have
/// different error texts.
fn is_unknown_hello(text: &str) -> bool {
    let text = text.to_ascii_lowercase();
    let refusals = ["unknown", "unsupported", "not supported", "not allowed"];
    text.contains("hello") && refusals.iter().any(|word| text.contains(word))
}

/// Whether the server accepted the connection and closed it. The cluster client does not keep enough of a node's error
/// to detect a closed connection.
fn is_closed_by_server(error: &RedisError) -> bool {
    error.is_connection_dropped() && !error.is_connection_refusal()
}

/// Whether the error is a TLS error: an I/O error that contains a rustls error. The client library wraps the rustls
/// error in an `Arc`.
fn is_tls(error: &RedisError) -> bool {
    error
        .source()
        .and_then(|source| source.downcast_ref::<Arc<dyn StdError + Send + Sync>>())
        .and_then(|source| source.downcast_ref::<io::Error>())
        .and_then(io::Error::get_ref)
        .is_some_and(|inner| inner.is::<rustls::Error>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_error_code_has_its_reason() {
        let cases = [
            ("NOAUTH", "Authentication required.", Reason::AuthFailed),
            ("MOVED", "5 10.0.0.2:6379", Reason::ClusterModeRequired),
            ("ASK", "5 10.0.0.2:6379", Reason::ClusterModeRequired),
            ("CLUSTERDOWN", "Hash slot not served", Reason::ClusterDown),
            ("OOM", "command not allowed", Reason::OutOfMemory),
            (
                "NOPERM",
                "this user has no permissions",
                Reason::NoPermission,
            ),
            (
                "ERR",
                "The user executing the script can't run this command or subcommand script: 4d58",
                Reason::NoPermission,
            ),
            (
                "ERR",
                "ACL failure in script: User app has no permissions to run the 'time' command",
                Reason::NoPermission,
            ),
            ("ERR", "unknown command", Reason::Rejected),
            ("WEIRD", "", Reason::Rejected),
        ];
        for (code, detail, expected) in cases {
            let error = redis::make_extension_error(code.to_owned(), Some(detail.to_owned()));
            assert_eq!(of_command(&error), expected, "{code} {detail}");
        }
    }
}
