//! Checks whether a URL protects its credentials.
//!
//! A URL in a secret store is unknown when the process starts. So each client checks the URL after reading the secret.

use std::borrow::Cow;
use std::net::IpAddr;

use percent_encoding::percent_decode_str;

/// Whether a URL of Redis or MongoDB sends credentials to another host without TLS. A user name without a password
/// counts as credentials, because it may be a password in the wrong place: `redis://password@host`. The result is
/// `false` for text that is no URL, because no client connects with it.
pub fn sends_login_in_the_clear(url: &str) -> bool {
    let url = as_parsed(url);
    let Some(parts) = Parts::of(&url) else {
        return false;
    };
    let is_encrypted = match parts.scheme.to_ascii_lowercase().as_str() {
        "rediss" | "valkeys" => true,
        "mongodb+srv" => parts.last_flag(TLS) != Some(false),
        _ => parts.last_flag(TLS) == Some(true),
    };
    parts.has_login && !is_encrypted && !parts.hosts().all(is_this_host)
}

/// Whether a URI of MongoDB turns off certificate verification.
pub fn trusts_any_certificate(uri: &str) -> bool {
    const OPTIONS: &[&str] = &[
        "tlsinsecure",
        "tlsallowinvalidcertificates",
        "tlsallowinvalidhostnames",
    ];
    Parts::of(&as_parsed(uri)).is_some_and(|parts| {
        let mut flags = parts.flags(OPTIONS);
        flags.any(|flag| flag)
    })
}

/// Removes tabs and line breaks from a URL, because URL parsers ignore them everywhere.
fn as_parsed(url: &str) -> String {
    url.replace(['\t', '\n', '\r'], "")
}

const TLS: &[&str] = &["tls", "ssl"];

/// The relevant parts of a URL. The `url` crate cannot parse MongoDB's URLs, which may contain several hosts.
struct Parts<'a> {
    scheme: &'a str,
    has_login: bool,
    hosts: &'a str,
    query: &'a str,
}

impl<'a> Parts<'a> {
    fn of(url: &'a str) -> Option<Self> {
        let (scheme, rest) = url.trim().split_once("://")?;
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, rest) = rest.split_at(end);
        let (user, hosts) = authority.rsplit_once('@').unwrap_or(("", authority));
        let query = rest.split_once('?').map_or("", |(_, query)| query);
        Some(Self {
            scheme,
            has_login: !user.trim_start_matches(':').is_empty(),
            hosts,
            query,
        })
    }

    fn hosts(&self) -> impl Iterator<Item = &'a str> {
        self.hosts.split(',').map(|host| {
            let is_ipv6 = host.starts_with('[');
            let end = if is_ipv6 {
                host.find(']').map(|end| end + 1)
            } else {
                host.find(':')
            };
            &host[..end.unwrap_or(host.len())]
        })
    }

    /// Returns the values of the options with these names, in order. Like MongoDB's driver, it ignores the case of
    /// names and decodes values.
    fn flags(&self, names: &'static [&str]) -> impl Iterator<Item = bool> {
        self.query.split('&').filter_map(move |option| {
            let (name, value) = option.split_once('=')?;
            let is_wanted = names.iter().any(|asked| name.eq_ignore_ascii_case(asked));
            is_wanted.then(|| percent_decode_str(value).decode_utf8_lossy() == "true")
        })
    }

    fn last_flag(&self, names: &'static [&str]) -> Option<bool> {
        self.flags(names).last()
    }
}

/// Whether a host in a URL is this machine.
pub fn is_this_host(host: &str) -> bool {
    let host: Cow<'_, str> = percent_decode_str(host).decode_utf8_lossy();
    let address = host.trim_start_matches('[').trim_end_matches(']');
    let is_socket = host.starts_with('/');
    host.eq_ignore_ascii_case("localhost")
        || is_socket
        || address
            .parse()
            .is_ok_and(|address: IpAddr| address.is_loopback())
}
