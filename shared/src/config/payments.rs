//! The settings of payments: who charges, and where the ledger is on a laptop.

use std::path::PathBuf;
use std::time::Duration;

use url::Url;

use super::reader::Reader;
use super::{ConfigError, Environment, SecretSource};

/// How payments are made.
#[derive(Clone, Debug)]
pub struct PaymentsConfig {
    /// Who charges.
    pub provider: ProviderConfig,
    /// Whether real money is meant to move: an intent of the other mode is not confirmed.
    pub livemode: bool,
    /// How long one request to the provider may take.
    pub provider_timeout: Duration,
    /// The secrets with which the provider signs its events; `None`: events are refused.
    pub webhook_secrets: Option<SecretSource>,
    /// The keys of the MACs that saved responses carry, a list of the current and the previous one; `None`: no saved response has
    /// a MAC.
    pub mac_keys: Option<SecretSource>,
    /// How long a payment is left to those who ask for it before it is settled without them.
    pub reconcile_after: Duration,
    /// How long nobody may confirm a payment before it is cancelled.
    pub cancel_after: Duration,
    /// Where payments are kept in development without MongoDB; the sandbox keeps its own here always.
    pub ledger_dir: PathBuf,
}

/// Who charges.
#[derive(Clone, Debug)]
pub enum ProviderConfig {
    /// Nobody: everything happens in files, as the payment method says.
    Sandbox,
    /// Stripe, or a server that speaks as it does.
    Stripe {
        /// The secret key of its API; `None`: nothing can be charged, which the requests are told.
        api_key: Option<SecretSource>,
        /// Where it is.
        api_base: Url,
    },
    /// None is configured: nothing can be charged, which the requests are told.
    Missing,
}

const STRIPE: &str = "https://api.stripe.com/";
const LONGEST_TIMEOUT_MS: u64 = 80_000;
const WEEK_SECONDS: u64 = 604_800;

impl PaymentsConfig {
    pub(super) fn read(read: &Reader<'_>, environment: &Environment) -> Result<Self, ConfigError> {
        let timeout = read.milliseconds("PAYMENT_PROVIDER_TIMEOUT_MS", 1..=LONGEST_TIMEOUT_MS)?;
        let seconds = |variable, default| {
            let number = read.number(variable, 1..=WEEK_SECONDS)?;
            Ok(Duration::from_secs(number.unwrap_or(default)))
        };
        Ok(Self {
            provider: ProviderConfig::read(read, environment)?,
            livemode: read
                .flag("PAYMENT_LIVEMODE")?
                .unwrap_or(!environment.is_development()),
            provider_timeout: timeout.unwrap_or(Duration::from_secs(10)),
            webhook_secrets: SecretSource::read_list(
                read,
                "STRIPE_WEBHOOK_SECRETS",
                "STRIPE_WEBHOOK_SECRETS_SECRET_ARN",
                "one or two signing secrets of 1 to 256 visible ASCII characters, separated by a comma",
            )?,
            mac_keys: SecretSource::read_list(
                read,
                "PAYMENT_MAC_KEYS",
                "PAYMENT_MAC_KEYS_SECRET_ARN",
                "one or two keys of 1 to 256 visible ASCII characters, separated by a comma",
            )?,
            reconcile_after: seconds("PAYMENT_RECONCILE_AFTER_SECONDS", 60)?,
            cancel_after: seconds("PAYMENT_CANCEL_AFTER_SECONDS", 3_600)?,
            ledger_dir: read
                .text("LEDGER_DIR")?
                .unwrap_or_else(|| "target/ledger".to_owned())
                .into(),
        })
    }
}

impl ProviderConfig {
    fn read(read: &Reader<'_>, environment: &Environment) -> Result<Self, ConfigError> {
        let chosen = read.parsed(
            "PAYMENT_PROVIDER",
            "`sandbox` or `stripe`",
            |text| match text {
                "sandbox" => Some(Self::Sandbox),
                "stripe" => Some(Self::Missing),
                _ => None,
            },
        )?;
        // Read whatever is chosen, so that a wrong one never waits for the day when it is needed.
        let stripe = Self::Stripe {
            api_key: SecretSource::read(read, "STRIPE_API_KEY", "STRIPE_API_KEY_SECRET_ARN")?,
            api_base: api_base(read)?,
        };
        Ok(match chosen {
            Some(Self::Sandbox) => Self::Sandbox,
            Some(_) => stripe,
            None if environment.is_development() => Self::Sandbox,
            None => Self::Missing,
        })
    }
}

/// A URL may hold a password, so it is not shown.
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
