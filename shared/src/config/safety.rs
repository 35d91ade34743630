//! Outside development, rejects settings that are safe only in development.
//!
//! At the start of the process, a URL in Secrets Manager has not been read yet. When a client reads the secret, it
//! checks the URL by the rules in [`transport`].

use foundation::Environment;
use foundation::environment::SHORTEST_SECRET;
use foundation::secret::{Secret, SecretSource};
#[cfg(doc)]
use foundation::transport;
use foundation::transport::{is_this_host, sends_login_in_the_clear, trusts_any_certificate};
use payments::ProviderConfig;
use redis_client::Plaintext;
use url::Url;

use super::reader::Reader;
use super::{Config, ConfigError};

/// Rejects settings that are safe only in development.
///
/// # Errors
///
/// [`ConfigError::Unsafe`] for the first such setting.
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
            "is `sandbox`, so payments succeed but no customer is charged",
            "`stripe`",
        ),
        (
            is_plain_base,
            "STRIPE_API_BASE",
            "sends the API key unencrypted to another host",
            "an `https://` URL or a loopback address",
        ),
        (
            config.idempotency.memory_fallback,
            "IDEMPOTENCY_FALLBACK",
            "is `memory`, so processes do not share keys and a payment may be charged twice",
            "`reject`",
        ),
        (
            config.redis.plaintext == Plaintext::Refused
                && redis_url.is_some_and(sends_login_in_the_clear),
            "REDIS_URL",
            "sends credentials unencrypted to another host",
            "a `rediss://` URL, or `REDIS_PLAINTEXT=allowed` in a private network",
        ),
        (
            mongodb_uri.is_some_and(sends_login_in_the_clear),
            "MONGODB_URI",
            "sends credentials unencrypted to another host",
            "a `mongodb+srv://` URI or one with `tls=true`",
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
            "is too short and can be guessed",
            "16 to 256 visible ASCII characters without spaces",
        ),
        (
            has_short(&payments.webhook_secrets),
            "STRIPE_WEBHOOK_SECRETS",
            "has a secret that is too short and can be guessed",
            "one or two signing secrets of 16 to 256 visible ASCII characters, separated by a comma",
        ),
        (
            has_short(&payments.mac_keys),
            "PAYMENT_MAC_KEYS",
            "has a key that is too short and can be guessed",
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

/// Rejects endpoints of the AWS SDK that would transfer credentials and secrets unencrypted.
///
/// # Errors
///
/// [`ConfigError::Unsafe`] for the first such endpoint.
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
                accepted: "an `https://` URL or a loopback address",
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

/// Whether a list from the environment has a secret that is too short.
fn has_short(source: &Option<SecretSource>) -> bool {
    let secrets = given(source).and_then(|list| list.list(1));
    secrets.is_some_and(|secrets| secrets.iter().any(is_short))
}

fn is_short(secret: &Secret) -> bool {
    secret.expose().len() < SHORTEST_SECRET
}
