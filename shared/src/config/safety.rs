//! What is safe on a laptop only, and refuses to start anywhere else.
//!
//! A URL that is kept in Secrets Manager is not known at the start: the clients ask [`sends_password_in_the_clear`] and
//! [`trusts_any_certificate`] of it when they read it.

use std::borrow::Cow;
use std::net::IpAddr;

use percent_encoding::percent_decode_str;
use url::Url;

use super::reader::Reader;
use super::{Config, ConfigError, Environment, Plaintext, ProviderConfig, Secret, SecretSource};

/// The least length of a secret, so that it cannot be guessed.
pub(super) const SHORTEST_SECRET: usize = 16;

/// # Errors
///
/// [`ConfigError::Unsafe`] for the first setting that is safe in development only.
pub(super) fn check(config: &Config) -> Result<(), ConfigError> {
    if config.environment.is_development() {
        return Ok(());
    }
    let payments = &config.payments;
    let (mut http_base, mut is_sandbox) = (None, false);
    match &payments.provider {
        ProviderConfig::Stripe { api_base, .. } => http_base = Some(api_base),
        ProviderConfig::Sandbox => is_sandbox = true,
        ProviderConfig::Missing => {}
    }
    let is_plain_base = http_base
        .is_some_and(|base| base.scheme() != "https" && !base.host_str().is_some_and(is_this_host));
    let redis_url = given_url(&config.redis.url);
    let mongodb_uri = given_url(&config.mongo.uri);
    let rules = [
        (
            is_sandbox,
            "PAYMENT_PROVIDER",
            "is `sandbox`, where payments succeed and no customer is charged",
            "`stripe`",
        ),
        (
            is_plain_base,
            "STRIPE_API_BASE",
            "sends the key unencrypted to another host",
            "an `https://` URL, or a loopback address",
        ),
        (
            config.idempotency.memory_fallback,
            "IDEMPOTENCY_FALLBACK",
            "is `memory`, which other processes do not see",
            "`reject`",
        ),
        (
            config.redis.plaintext == Plaintext::Refused
                && redis_url.is_some_and(sends_password_in_the_clear),
            "REDIS_URL",
            "sends a password unencrypted to another host",
            "a `rediss://` URL; or, inside a private network, also `REDIS_PLAINTEXT=allowed`",
        ),
        (
            mongodb_uri.is_some_and(sends_password_in_the_clear),
            "MONGODB_URI",
            "sends a password unencrypted to another host",
            "a `mongodb+srv://` URI, or one with `tls=true`",
        ),
        (
            mongodb_uri.is_some_and(trusts_any_certificate),
            "MONGODB_URI",
            "accepts any certificate",
            "a URI without `tlsInsecure`, `tlsAllowInvalidCertificates` and `tlsAllowInvalidHostnames`",
        ),
        (
            given(&config.health.details_token).is_some_and(is_short),
            "HEALTH_DETAILS_TOKEN",
            "is short enough to be guessed",
            "16 to 256 visible ASCII characters without blanks",
        ),
        (
            has_short(&payments.webhook_secrets),
            "STRIPE_WEBHOOK_SECRETS",
            "has a secret that is short enough to be guessed",
            "one or two signing secrets of 16 to 256 visible ASCII characters, separated by a comma",
        ),
        (
            has_short(&payments.mac_keys),
            "PAYMENT_MAC_KEYS",
            "has a key that is short enough to be guessed",
            "one or two keys of 16 to 256 visible ASCII characters, separated by a comma",
        ),
    ];
    for (is_unsafe, variable, problem, accepted) in rules {
        if is_unsafe {
            return Err(ConfigError::Unsafe {
                variable,
                problem,
                accepted,
            });
        }
    }
    Ok(())
}

/// # Errors
///
/// [`ConfigError::Unsafe`] for the first endpoint of AWS's client that would get credentials, and give secrets, unencrypted.
pub(super) fn check_endpoints(
    read: &Reader<'_>,
    environment: &Environment,
) -> Result<(), ConfigError> {
    for variable in ["AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_SECRETS_MANAGER"] {
        let endpoint = read.text(variable)?.and_then(|url| Url::parse(&url).ok());
        let is_plain = endpoint.is_some_and(|url| {
            url.scheme() != "https" && !url.host_str().is_some_and(is_this_host)
        });
        if is_plain && !environment.is_development() {
            return Err(ConfigError::Unsafe {
                variable,
                problem: "sends credentials unencrypted to another host",
                accepted: "an `https://` URL, or a loopback address",
            });
        }
    }
    Ok(())
}

fn given(source: &Option<SecretSource>) -> Option<&Secret> {
    source.as_ref()?.given()
}

fn given_url(source: &Option<SecretSource>) -> Option<&str> {
    given(source).map(Secret::expose)
}

/// Whether a list in the environment has a secret that is too short.
fn has_short(source: &Option<SecretSource>) -> bool {
    let secrets = given(source).and_then(|list| list.list(1));
    secrets.is_some_and(|secrets| secrets.iter().any(is_short))
}

fn is_short(secret: &Secret) -> bool {
    secret.expose().len() < SHORTEST_SECRET
}

/// Whether a URL of Redis or MongoDB has a password, another host and no TLS. Of text that is no URL this says no: no client connects
/// with it.
pub(crate) fn sends_password_in_the_clear(url: &str) -> bool {
    let url = as_parsed(url);
    let Some(parts) = Parts::of(&url) else {
        return false;
    };
    let is_encrypted = match parts.scheme.to_ascii_lowercase().as_str() {
        "rediss" | "valkeys" => true,
        "mongodb+srv" => parts.last_flag(TLS) != Some(false),
        _ => parts.last_flag(TLS) == Some(true),
    };
    parts.has_password && !is_encrypted && !parts.hosts().all(is_this_host)
}

/// Whether a URI of MongoDB turns the look at certificates off.
pub(crate) fn trusts_any_certificate(uri: &str) -> bool {
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

/// The text that parsers of URLs see: they pass over tabs and line breaks, wherever those are.
fn as_parsed(url: &str) -> String {
    url.replace(['\t', '\n', '\r'], "")
}

const TLS: &[&str] = &["tls", "ssl"];

/// What counts of a URL. The parser of URLs does not take MongoDB's, which may name several hosts.
struct Parts<'a> {
    scheme: &'a str,
    has_password: bool,
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
            has_password: user
                .split_once(':')
                .is_some_and(|(_, password)| !password.is_empty()),
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

    /// The values of some options, in their order. MongoDB's driver compares names without regard to case, and decodes values.
    fn flags(&self, names: &'static [&str]) -> impl Iterator<Item = bool> {
        self.query.split('&').filter_map(move |option| {
            let (name, value) = option.split_once('=')?;
            let is_asked = names.iter().any(|asked| name.eq_ignore_ascii_case(asked));
            is_asked.then(|| percent_decode_str(value).decode_utf8_lossy() == "true")
        })
    }

    fn last_flag(&self, names: &'static [&str]) -> Option<bool> {
        self.flags(names).last()
    }
}

/// Whether a host, as a URL writes it, is the machine that this runs on.
fn is_this_host(host: &str) -> bool {
    let host: Cow<'_, str> = percent_decode_str(host).decode_utf8_lossy();
    let address = host.trim_start_matches('[').trim_end_matches(']');
    let is_socket = host.starts_with('/');
    host.eq_ignore_ascii_case("localhost")
        || is_socket
        || address
            .parse()
            .is_ok_and(|address: IpAddr| address.is_loopback())
}
