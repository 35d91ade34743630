//! Secret values. They are never printed, and can be rotated while functions run.

mod cell;

use std::fmt;
use std::time::Duration;

use subtle::ConstantTimeEq;

pub use cell::{ReadError, SecretCell, SecretStore, SecretUnavailable, Secrets};

/// A credential, or a URL that may contain one. It has no `Display`, and its `Debug` shows no value.
#[derive(Clone)]
pub struct Secret(String);

/// The source of a secret setting.
#[derive(Clone, Debug)]
pub enum SecretSource {
    /// A value from the environment.
    Given(Secret),
    /// A value in a [`SecretStore`], where it can be rotated while functions run.
    Stored(StoredSecret),
}

/// The name of a secret in a [`SecretStore`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredSecret {
    /// The name of the environment variable that contains the secret's ARN.
    pub variable: &'static str,
    /// The secret's ARN in AWS Secrets Manager.
    pub arn: String,
    /// The secret's region, from the ARN.
    pub region: String,
    /// How long a value is used before it is read again.
    pub ttl: Duration,
}

/// The largest number of secrets in a list. During a rotation, the old secret and the new secret are both valid.
const MOST_IN_A_LIST: usize = 2;
/// The longest secret in a list, in bytes.
const LONGEST_IN_A_LIST: usize = 256;

impl SecretSource {
    /// Returns the value from the environment. `None` if the secret is in a store.
    pub fn given(&self) -> Option<&Secret> {
        match self {
            Self::Given(secret) => Some(secret),
            Self::Stored(_) => None,
        }
    }
}

impl Secret {
    /// Creates a secret with this value.
    pub fn new(value: impl Into<String>) -> Self {
        Self(value.into())
    }

    /// Returns the value, for the client that needs it.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Parses a list of one or two secrets, separated by a comma. Each secret has at least `shortest` bytes. `None` if
    /// the value is not such a list.
    pub fn list(&self, shortest: usize) -> Option<Vec<Self>> {
        let secrets: Vec<_> = self.0.split(',').map(str::trim).collect();
        let is_usable = |secret: &&str| {
            (shortest..=LONGEST_IN_A_LIST).contains(&secret.len())
                && secret.bytes().all(|byte| byte.is_ascii_graphic())
        };
        let fits = secrets.len() <= MOST_IN_A_LIST && secrets.iter().all(is_usable);
        fits.then(|| secrets.into_iter().map(Self::new).collect())
    }

    /// Whether `candidate` is this value. The time of the comparison does not depend on the content of the two values.
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
    fn debug_output_does_not_show_a_secret() {
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
