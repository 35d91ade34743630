//! The URL to which a customer's browser returns.
//!
//! The URL is parsed once, as browsers parse it, and the parsed form is stored and sent. Two programs that parse the client's text
//! themselves could find two different hosts in it.
//!
//! In production the host is public and the scheme is `https`. So a customer's browser is never sent to a machine in its local network. In
//! development any host is allowed, and `http` is allowed for the developer's machine.

use foundation::Environment;
use url::{Host, Url};

/// A parsed return URL.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct ReturnUrl {
    /// The form that is stored and sent.
    pub(super) parsed: String,
    /// Whether this version accepts the URL. Older versions accepted more.
    pub(super) is_allowed: bool,
}

pub(super) const ACCEPTED: &str = "an `https://` URL of at most 2048 characters, without user, password and backslash, to a host that is no address and no local name (in development every host, and also an `http://` URL to this machine)";

const LONGEST: usize = 2_048;
/// Domains that are not in the public DNS, or resolve to a machine in the local network. They are from RFC 6761, RFC 6762 (appendix G), RFC
/// 7686 and RFC 8375. The list also has the `arpa` domain of addresses, and ICANN's `internal`.
const LOCAL: [&str; 14] = [
    "test",
    "invalid",
    "onion",
    "localhost",
    "local",
    "internal",
    "localdomain",
    "lan",
    "home",
    "corp",
    "intranet",
    "private",
    "arpa",
    "svc",
];

/// Parses a return URL; `None` if every version rejects it.
pub(super) fn read(text: &str, environment: &Environment) -> Option<ReturnUrl> {
    if text.chars().nth(LONGEST).is_some() || text.chars().any(char::is_control) {
        return None;
    }
    let url = Url::parse(text).ok()?;
    let host = url.host()?;
    let is_http = url.scheme() == "http";
    let has_user = !url.username().is_empty() || url.password().is_some();
    if has_user || !(url.scheme() == "https" || is_http && is_this_machine(&host)) {
        return None;
    }
    let is_reachable = environment.is_development() || !(is_http || is_local(&host));
    let is_allowed = is_reachable && !text.contains('\\') && url.as_str().len() <= LONGEST;
    Some(ReturnUrl {
        is_allowed,
        parsed: url.into(),
    })
}

fn is_this_machine(host: &Host<&str>) -> bool {
    match host {
        Host::Domain(name) => bare(name) == "localhost",
        Host::Ipv4(address) => address.is_loopback(),
        Host::Ipv6(address) => address.is_loopback(),
    }
}

/// Whether the host is an address or a name that is not in the public DNS.
fn is_local(host: &Host<&str>) -> bool {
    let Host::Domain(name) = host else {
        return true;
    };
    let name = bare(name);
    let is_below = |domain: &&str| {
        let above = name.strip_suffix(domain);
        above.is_some_and(|above| above.is_empty() || above.ends_with('.'))
    };
    let has_empty_label = name.split('.').any(str::is_empty);
    !name.contains('.') || has_empty_label || LOCAL.iter().any(is_below)
}

/// A name without the dots at its end.
fn bare<'a>(name: &'a &str) -> &'a str {
    name.trim_end_matches('.')
}

#[cfg(test)]
mod tests {
    use foundation::environment::Host;

    use super::*;

    fn environment(name: &'static str) -> Environment {
        Environment::new(name, Host::Laptop)
    }

    type Stored = Option<&'static str>;

    /// The stored form in development, and the stored form in production; `None`: the URL is rejected.
    #[test]
    fn in_production_a_browser_returns_to_a_public_host_over_tls() {
        let both = |kept: &'static str| (Some(kept), Some(kept));
        let laptop = |kept: &'static str| (Some(kept), None);
        let cases: [(&str, (Stored, Stored)); 59] = [
            ("https://app.example/done", both("https://app.example/done")),
            ("https://app.example", both("https://app.example/")),
            (
                "https://app.example:8443/a?b=c#d",
                both("https://app.example:8443/a?b=c#d"),
            ),
            ("https://app.example./", both("https://app.example./")),
            (
                "https://sub.localhost.example/",
                both("https://sub.localhost.example/"),
            ),
            (
                "https://notlocal.example/local",
                both("https://notlocal.example/local"),
            ),
            ("https://mylocal.net/", both("https://mylocal.net/")),
            // The parsed form is stored.
            ("HTTPS://APP.example/a/../b", both("https://app.example/b")),
            ("https:app.example", both("https://app.example/")),
            ("https:///app.example", both("https://app.example/")),
            (" https://app.example/ ", both("https://app.example/")),
            ("https://app.example/a b", both("https://app.example/a%20b")),
            (
                "https://app.example/\u{202e}",
                both("https://app.example/%E2%80%AE"),
            ),
            (
                "https://bücher.example/",
                both("https://xn--bcher-kva.example/"),
            ),
            ("https://@app.example/", both("https://app.example/")),
            // The scheme is not `https`.
            ("http://app.example/", (None, None)),
            (
                "http://localhost:3000/done",
                laptop("http://localhost:3000/done"),
            ),
            ("http://LOCALHOST./", laptop("http://localhost./")),
            ("http://127.0.0.1:3000/", laptop("http://127.0.0.1:3000/")),
            ("http://127.8.8.8/", laptop("http://127.8.8.8/")),
            ("http://[::1]:3000/", laptop("http://[::1]:3000/")),
            ("http://localhost.example/", (None, None)),
            ("http://192.168.1.5/", (None, None)),
            ("http://app.localhost/", (None, None)),
            // URLs with other schemes are rejected.
            ("javascript:alert(1)", (None, None)),
            ("data:text/html,x", (None, None)),
            ("file:///etc/passwd", (None, None)),
            ("ftp://app.example/", (None, None)),
            ("app://done", (None, None)),
            ("//app.example/", (None, None)),
            ("/done", (None, None)),
            ("", (None, None)),
            // URLs with a user or a password are rejected.
            ("https://user@app.example/", (None, None)),
            ("https://user:pass@app.example/", (None, None)),
            ("https://:pass@app.example/", (None, None)),
            ("https://app.example@evil.example/", (None, None)),
            // Browsers read a backslash as a slash; other parsers do not.
            (r"https://app.example\@evil.example/", (None, None)),
            (r"https:\\app.example\", (None, None)),
            (r"https://app.example/a\b", (None, None)),
            ("https://app.example/%5C", both("https://app.example/%5C")),
            // Addresses, in any notation, are accepted only in development.
            ("https://203.0.113.7/", laptop("https://203.0.113.7/")),
            ("https://0x7f.1/", laptop("https://127.0.0.1/")),
            ("https://2130706433/", laptop("https://127.0.0.1/")),
            (
                "https://169.254.169.254/latest",
                laptop("https://169.254.169.254/latest"),
            ),
            ("https://[2001:db8::1]/", laptop("https://[2001:db8::1]/")),
            // Local names are accepted only in development.
            ("https://localhost/", laptop("https://localhost/")),
            ("https://app.localhost/", laptop("https://app.localhost/")),
            ("https://printer/", laptop("https://printer/")),
            ("https://Printer.LOCAL./", laptop("https://printer.local./")),
            (
                "https://metadata.google.internal/",
                laptop("https://metadata.google.internal/"),
            ),
            ("https://nas.home.arpa/", laptop("https://nas.home.arpa/")),
            ("https://wiki.corp/", laptop("https://wiki.corp/")),
            ("https://app.test/", laptop("https://app.test/")),
            ("https://shop.onion/", laptop("https://shop.onion/")),
            (
                "https://1.0.0.127.in-addr.arpa/",
                laptop("https://1.0.0.127.in-addr.arpa/"),
            ),
            (
                "https://api.default.svc/",
                laptop("https://api.default.svc/"),
            ),
            ("https://a..example/", laptop("https://a..example/")),
            ("https://app.example/a\nb", (None, None)),
            ("https://exa\u{ad}mple../", laptop("https://example../")),
        ];
        for (text, (on_a_laptop, in_production)) in cases {
            let places = [("development", on_a_laptop), ("production", in_production)];
            for (place, expected) in places {
                let read = read(text, &environment(place)).filter(|read| read.is_allowed);
                let kept = read.as_ref().map(|read| read.parsed.as_str());
                assert_eq!(kept, expected, "{text:?} in {place}");
            }
        }
        let long = |length: usize| format!("https://app.example/{}", "a".repeat(length - 20));
        let production = environment("production");
        let is_allowed = |text: &str| read(text, &production).is_some_and(|read| read.is_allowed);
        assert!(is_allowed(&long(2_048)) && !is_allowed(&long(2_049)));
        let grows = format!("https://app.example/{}", "é".repeat(1_000));
        assert!(!is_allowed(&grows), "parsed, it is 6020 characters long");
    }
}
