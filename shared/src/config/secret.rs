//! A value that is used and never shown, and where it comes from.

use std::fmt;
use std::time::Duration;

use subtle::ConstantTimeEq;

use super::ConfigError;
use super::reader::Reader;

/// A credential, or a URL that may hold one. It has no `Display`, and its `Debug` says only that it is there.
#[derive(Clone)]
pub struct Secret(String);

/// Where a setting that is a secret comes from.
#[derive(Clone, Debug)]
pub enum SecretSource {
    /// From the environment.
    Given(Secret),
    /// From AWS Secrets Manager, where it can be replaced while functions run.
    Stored(StoredSecret),
}

/// A secret of AWS Secrets Manager.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredSecret {
    /// The variable that names it.
    pub variable: &'static str,
    /// Its name, which AWS takes for the secret.
    pub arn: String,
    /// Where it is, from the ARN.
    pub region: String,
    /// For how long a value that was read is used without another look.
    pub ttl: Duration,
}

const DAY_SECONDS: u64 = 86_400;
/// While a secret is replaced, the old and the new one are valid.
const MOST_IN_A_LIST: usize = 2;
const LONGEST_IN_A_LIST: usize = 256;
const DEFAULT_TTL: Duration = Duration::from_secs(3_600);

impl SecretSource {
    /// What `variable` holds, or what the secret holds that `arn_variable` names.
    pub(super) fn read(
        read: &Reader<'_>,
        variable: &'static str,
        arn_variable: &'static str,
    ) -> Result<Option<Self>, ConfigError> {
        let given = read.secret(variable)?;
        match (given, StoredSecret::read(read, arn_variable)?) {
            (Some(_), Some(_)) => Err(ConfigError::Conflict {
                variable,
                other: arn_variable,
            }),
            (given, stored) => Ok(given.map(Self::Given).or(stored.map(Self::Stored))),
        }
    }

    /// The same for a [list](Secret::list). One that is given is checked here, one that is stored where it is used.
    pub(super) fn read_list(
        read: &Reader<'_>,
        variable: &'static str,
        arn_variable: &'static str,
        accepted: &'static str,
    ) -> Result<Option<Self>, ConfigError> {
        let source = Self::read(read, variable, arn_variable)?;
        match &source {
            Some(Self::Given(list)) if list.list(1).is_none() => Err(ConfigError::UnusableSecret {
                variable,
                accepted: accepted.into(),
            }),
            _ => Ok(source),
        }
    }

    /// What the environment holds.
    pub(super) fn given(&self) -> Option<&Secret> {
        match self {
            Self::Given(secret) => Some(secret),
            Self::Stored(_) => None,
        }
    }
}

impl StoredSecret {
    fn read(read: &Reader<'_>, variable: &'static str) -> Result<Option<Self>, ConfigError> {
        let ttl = read.number("SECRETS_TTL_SECONDS", 1..=DAY_SECONDS)?;
        let accepted =
            "the ARN of a secret, `arn:aws:secretsmanager:<region>:<account>:secret:<name>`";
        let Some(arn) = read.text(variable)? else {
            return Ok(None);
        };
        // Not shown: it may be the secret itself, in the wrong variable.
        let region = region_of(&arn).ok_or(ConfigError::UnusableSecret {
            variable,
            accepted: accepted.into(),
        })?;
        Ok(Some(Self {
            variable,
            arn,
            region,
            ttl: ttl.map_or(DEFAULT_TTL, Duration::from_secs),
        }))
    }
}

/// The region in the ARN of a secret; `None` where it is no such ARN.
fn region_of(arn: &str) -> Option<String> {
    let parts: Vec<_> = arn.splitn(7, ':').collect();
    let [
        "arn",
        partition,
        "secretsmanager",
        region,
        account,
        "secret",
        name,
    ] = parts[..]
    else {
        return None;
    };
    let is_account = account.len() == 12 && account.bytes().all(|byte| byte.is_ascii_digit());
    let is_name = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_graphic());
    let fits = partition.starts_with("aws") && is_region(region) && is_account && is_name;
    fits.then(|| region.to_owned())
}

/// Whether this can be the name of a region, which becomes a part of a host name.
pub(super) fn is_region(text: &str) -> bool {
    (1..=32).contains(&text.len())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
}

impl Secret {
    /// Wraps `value`.
    pub fn new(value: impl Into<String>) -> Self {
        Self(value.into())
    }

    /// The value itself, for the client that needs it.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// The one or two secrets of a list, with a comma between them, each at least as long as the `shortest`; `None` where this is
    /// no such list.
    pub(crate) fn list(&self, shortest: usize) -> Option<Vec<Self>> {
        let secrets: Vec<_> = self.0.split(',').map(str::trim).collect();
        let is_usable = |secret: &&str| {
            (shortest..=LONGEST_IN_A_LIST).contains(&secret.len())
                && secret.bytes().all(|byte| byte.is_ascii_graphic())
        };
        let fits = secrets.len() <= MOST_IN_A_LIST && secrets.iter().all(is_usable);
        fits.then(|| secrets.into_iter().map(Self::new).collect())
    }

    /// Whether `candidate` is this value, in a time that depends on nothing but its length.
    pub fn matches(&self, candidate: &str) -> bool {
        self.0.as_bytes().ct_eq(candidate.as_bytes()).into()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(***)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_does_not_show_a_secret() {
        assert_eq!(
            format!("{:?}", Some(Secret::new("hunter2"))),
            "Some(Secret(***))"
        );
    }

    #[test]
    fn only_the_same_text_matches() {
        let secret = Secret::new("hunter2");
        for (candidate, expected) in [
            ("hunter2", true),
            ("hunter3", false),
            ("hunter", false),
            ("", false),
        ] {
            assert_eq!(secret.matches(candidate), expected, "{candidate}");
        }
    }
}
