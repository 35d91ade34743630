//! The URL of a server or a cluster: `redis[s]://[user:password@]host[:port][/database]`.
//!
//! The whole URL is rejected if any part of it is unknown. A client that ignored `?db=2`, `?ssl_cert_reqs=none` or
//! `#insecure` would not connect in the way that the operator configured.

use std::time::Duration;

use redis::io::tcp::{TcpSettings, socket2::TcpKeepalive};
use redis::{ConnectionInfo, IntoConnectionInfo, ProtocolVersion};
use url::Url;

/// Idle time before the first TCP keepalive probe.
const KEEPALIVE: Duration = Duration::from_secs(30);

/// The connection settings in `url`; `None` if any part of it is unknown.
pub(super) fn connection_info(url: &str) -> Option<ConnectionInfo> {
    let url = url.trim();
    // The URL parser skips tabs and line breaks. So a password could go to another host than the one that a reader sees
    // in the text.
    if url
        .chars()
        .any(|character| character.is_control() || character == ' ')
    {
        return None;
    }
    let parsed = Url::parse(url).ok()?;
    // A Lambda function has no Unix socket of a server, and a URL without a host cannot be masked.
    let is_known = parsed.has_host()
        && parsed.query().is_none()
        && parsed.fragment().is_none()
        && is_database(parsed.path());
    let info = is_known.then(|| url.into_connection_info())?.ok()?;
    let tcp = TcpSettings::default()
        .set_nodelay(true)
        .set_keepalive(TcpKeepalive::new().with_time(KEEPALIVE));
    // With RESP3 the client notices a closed connection before it sends the next command.
    let mut handshake = info
        .redis_settings()
        .clone()
        .set_protocol(ProtocolVersion::RESP3);
    // A user without a password gets an empty password, because the client library would otherwise ignore the user. An
    // ACL user may have no password (`nopass`).
    if handshake.username().is_some() && handshake.password().is_none() {
        handshake = handshake.set_password("");
    }
    Some(info.set_tcp_settings(tcp).set_redis_settings(handshake))
}

/// Whether `path` is empty or a database number. The client library would also accept `/-1` and `//2/`.
fn is_database(path: &str) -> bool {
    let number = path.strip_prefix('/').unwrap_or(path);
    let has_digits_alone = number.bytes().all(|byte| byte.is_ascii_digit());
    number.is_empty() || (has_digits_alone && number.parse::<i32>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_sets_user_password_and_database() {
        let cases = [
            ("redis://cache", None, None, 0),
            ("rediss://cache/", None, None, 0),
            ("valkey://cache:6380/2", None, None, 2),
            ("valkeys://cache/2147483647", None, None, 2_147_483_647),
            ("redis://:pw@cache", None, Some("pw"), 0),
            ("redis://app:p%40w@cache/1", Some("app"), Some("p@w"), 1),
            ("redis://app@cache", Some("app"), Some(""), 0),
            ("redis://app:@[2001:db8::1]:6380", Some("app"), Some(""), 0),
        ];
        for (url, user, password, database) in cases {
            let info = connection_info(url).unwrap_or_else(|| panic!("{url}"));
            let handshake = info.redis_settings();
            assert_eq!(
                (handshake.username(), handshake.password(), handshake.db()),
                (user, password, database),
                "{url}"
            );
        }
    }

    #[test]
    fn a_url_with_an_unknown_part_is_rejected() {
        let cases = [
            "redis:\n//app:pw@cache",
            "redis://cache\t.example.com",
            "redis://app:p w@cache",
            "",
            "cache",
            "http://cache",
            "redis://",
            "redis:///run/redis.sock",
            "redis+unix:///run/redis.sock",
            "redis://cache:port",
            "redis://0.0.0.0",
            "redis://cache/hunter2",
            "redis://cache/-1",
            "redis://cache/+1",
            "redis://cache/1/2",
            "redis://cache/1/",
            "redis://cache//1",
            "redis://cache/1.5",
            "redis://cache/2147483648",
            "redis://cache?",
            "redis://cache?db=1",
            "redis://cache/1?timeout=5",
            "redis://cache?protocol=3",
            "rediss://cache?ssl_cert_reqs=none",
            "redis://cache#",
            "redis://cache#insecure",
            "rediss://cache#insecure",
            "rediss://cache#other",
            "redis://%ff:pw@cache",
        ];
        for url in cases {
            assert!(connection_info(url).is_none(), "{url}");
        }
    }
}
