//! The settings of payments: the provider, its secrets, and the ledger in development.

use std::time::Duration;

use foundation::Environment;
use payments::{
    DEFAULT_CANCEL_AFTER, DEFAULT_PROVIDER_TIMEOUT, DEFAULT_RECONCILE_AFTER, PaymentsConfig,
    ProviderConfig,
};
use url::Url;

use super::ConfigError;
use super::reader::Reader;
use super::secret::{read_list, read_source};

const STRIPE: &str = "https://api.stripe.com/";
const LONGEST_TIMEOUT_MS: u64 = 80_000;
const WEEK_SECONDS: u64 = 604_800;

pub(super) fn read(
    read: &Reader<'_>,
    environment: &Environment,
) -> Result<PaymentsConfig, ConfigError> {
    let timeout = read.milliseconds("PAYMENT_PROVIDER_TIMEOUT_MS", 1..=LONGEST_TIMEOUT_MS)?;
    let seconds = |variable, default| {
        let number = read.number(variable, 1..=WEEK_SECONDS)?;
        Ok(number.map_or(default, Duration::from_secs))
    };
    Ok(PaymentsConfig {
        provider: read_provider(read, environment)?,
        livemode: read
            .flag("PAYMENT_LIVEMODE")?
            .unwrap_or(!environment.is_development()),
        provider_timeout: timeout.unwrap_or(DEFAULT_PROVIDER_TIMEOUT),
        webhook_secrets: read_list(
            read,
            "STRIPE_WEBHOOK_SECRETS",
            "STRIPE_WEBHOOK_SECRETS_SECRET_ARN",
            "one or two signing secrets of 1 to 256 visible ASCII characters, separated by a comma",
        )?,
        mac_keys: read_list(
            read,
            "PAYMENT_MAC_KEYS",
            "PAYMENT_MAC_KEYS_SECRET_ARN",
            "one or two keys of 1 to 256 visible ASCII characters, separated by a comma",
        )?,
        reconcile_after: seconds("PAYMENT_RECONCILE_AFTER_SECONDS", DEFAULT_RECONCILE_AFTER)?,
        cancel_after: seconds("PAYMENT_CANCEL_AFTER_SECONDS", DEFAULT_CANCEL_AFTER)?,
        ledger_dir: read
            .text("LEDGER_DIR")?
            .unwrap_or_else(|| "target/ledger".to_owned())
            .into(),
    })
}

fn read_provider(
    read: &Reader<'_>,
    environment: &Environment,
) -> Result<ProviderConfig, ConfigError> {
    let chosen = read.parsed(
        "PAYMENT_PROVIDER",
        "`sandbox` or `stripe`",
        |text| match text {
            "sandbox" => Some(ProviderConfig::Sandbox),
            "stripe" => Some(ProviderConfig::Missing),
            _ => None,
        },
    )?;
    // Stripe's settings are read for every provider, so that an invalid value is found before the provider is switched
    // to Stripe.
    let stripe = ProviderConfig::Stripe {
        api_key: read_source(read, "STRIPE_API_KEY", "STRIPE_API_KEY_SECRET_ARN")?,
        api_base: api_base(read)?,
    };
    Ok(match chosen {
        Some(ProviderConfig::Sandbox) => ProviderConfig::Sandbox,
        Some(_) => stripe,
        None if environment.is_development() => ProviderConfig::Sandbox,
        None => ProviderConfig::Missing,
    })
}

/// The base URL of Stripe. An error does not show the URL, because it may contain a password.
fn api_base(read: &Reader<'_>) -> Result<Url, ConfigError> {
    const VARIABLE: &str = "STRIPE_API_BASE";
    let given = read.text(VARIABLE)?;
    let base = Url::parse(given.as_deref().unwrap_or(STRIPE)).ok();
    let fits = |url: &Url| {
        matches!(url.scheme(), "http" | "https")
            && url.path().ends_with('/')
            && url.username().is_empty()
            && url.password().is_none()
    };
    base.filter(fits).ok_or(ConfigError::UnusableSecret {
        variable: VARIABLE,
        accepted: "an `http://` or `https://` URL without user and password that ends with `/`"
            .into(),
    })
}
