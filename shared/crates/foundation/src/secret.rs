//! A value that is used and never shown, where it comes from, and how it is replaced while functions run.

mod cell;

use std::fmt;
use std::time::Duration;

use subtle::ConstantTimeEq;

pub use cell::{ReadError, SecretCell, SecretStore, Secrets, Unread};

/// A credential, or a URL that may hold one. It has no `Display`, and its `Debug` says only that it is there.
#[derive(Clone)]
pub struct Secret(String);

/// Where a setting that is a secret comes from.
#[derive(Clone, Debug)]
pub enum SecretSource {
    /// From the environment.
    Given(Secret),
    /// From a [`SecretStore`], where it can be replaced while functions run.
    Stored(StoredSecret),
}

/// A secret that a [`SecretStore`] keeps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredSecret {
    /// The variable that names it.
    pub variable: &'static str,
    /// Its name in the store: an ARN of AWS Secrets Manager.
    pub arn: String,
    /// Where it is, from the ARN.
    pub region: String,
    /// For how long a value that was read is used without another look.
    pub ttl: Duration,
}

/// While a secret is replaced, the old and the new one are valid.
const MOST_IN_A_LIST: usize = 2;
const LONGEST_IN_A_LIST: usize = 256;

impl SecretSource {
    /// What the environment holds; `None` where that is the name of a stored secret.
    pub fn given(&self) -> Option<&Secret> {
        match self {
            Self::Given(secret) => Some(secret),
            Self::Stored(_) => None,
        }
    }
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
    pub fn list(&self, shortest: usize) -> Option<Vec<Self>> {
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
