//! Reads environment variables and parses their values. An error contains the name of the variable, the value found and
//! the values accepted.

use std::borrow::Cow;
use std::ffi::OsString;
use std::ops::RangeInclusive;
use std::time::Duration;

use foundation::secret::Secret;

/// A variable has an unusable value. The process does not start, because a function with guessed settings could lose
/// money.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// The value is not accepted.
    #[error("{variable} is `{found}`; accepted: {accepted}")]
    Unusable {
        /// The name of the variable.
        variable: &'static str,
        /// The value of the variable, cut to 64 characters.
        found: String,
        /// The accepted values.
        accepted: Cow<'static, str>,
    },
    /// The value is not accepted and may be a secret, so it is not shown.
    #[error("{variable} is invalid (value not shown); accepted: {accepted}")]
    UnusableSecret {
        /// The name of the variable.
        variable: &'static str,
        /// The accepted values.
        accepted: Cow<'static, str>,
    },
    /// Two variables are set, but only one of them may be set.
    #[error("{variable} and {other} are both set; set only one of them")]
    Conflict {
        /// The name of the variable.
        variable: &'static str,
        /// The name of the other variable.
        other: &'static str,
    },
    /// The value is safe only in development, and this is another environment.
    #[error(
        "{variable} {problem}; only `ENVIRONMENT=development` allows that; accepted here: {accepted}"
    )]
    Unsafe {
        /// The name of the variable.
        variable: &'static str,
        /// What is wrong with the value, as a verb phrase. The value is not shown.
        problem: &'static str,
        /// The accepted values.
        accepted: &'static str,
    },
    /// A required variable is not set.
    #[error("{variable} is not set; accepted: {accepted}")]
    Missing {
        /// The name of the variable.
        variable: &'static str,
        /// The accepted values.
        accepted: Cow<'static, str>,
    },
}

/// The longest timeout of a Lambda function.
pub(super) const LONGEST_INVOCATION_MS: u64 = 900_000;

/// Reads variables through a lookup function, so that tests do not change the process environment.
pub(super) struct Reader<'a>(pub(super) &'a dyn Fn(&str) -> Option<OsString>);

impl Reader<'_> {
    /// The trimmed text of `variable`; `None` if it is not set, empty or blank.
    pub(super) fn text(&self, variable: &'static str) -> Result<Option<String>, ConfigError> {
        Ok(self
            .raw(variable)?
            .map(|text| text.trim().to_owned())
            .filter(|text| !text.is_empty()))
    }

    /// The text of `variable`, unchanged; it may be empty.
    pub(super) fn raw(&self, variable: &'static str) -> Result<Option<String>, ConfigError> {
        let Some(value) = (self.0)(variable) else {
            return Ok(None);
        };
        value
            .into_string()
            .map(Some)
            .map_err(|_| ConfigError::UnusableSecret {
                variable,
                accepted: "UTF-8 text".into(),
            })
    }

    pub(super) fn secret(&self, variable: &'static str) -> Result<Option<Secret>, ConfigError> {
        Ok(self.text(variable)?.map(Secret::new))
    }

    pub(super) fn flag(&self, variable: &'static str) -> Result<Option<bool>, ConfigError> {
        self.parsed(variable, "`true` or `false`", |text| match text {
            "true" => Some(true),
            "false" => Some(false),
            _ => None,
        })
    }

    pub(super) fn milliseconds(
        &self,
        variable: &'static str,
        range: RangeInclusive<u64>,
    ) -> Result<Option<Duration>, ConfigError> {
        let number = self.whole(variable, "whole milliseconds", range)?;
        Ok(number.map(Duration::from_millis))
    }

    pub(super) fn number(
        &self,
        variable: &'static str,
        range: RangeInclusive<u64>,
    ) -> Result<Option<u64>, ConfigError> {
        self.whole(variable, "a whole number", range)
    }

    fn whole(
        &self,
        variable: &'static str,
        unit: &str,
        range: RangeInclusive<u64>,
    ) -> Result<Option<u64>, ConfigError> {
        let accepted = format!("{unit} from {} to {}", range.start(), range.end());
        self.parsed(variable, accepted, |text| {
            let digits = text.bytes().all(|byte| byte.is_ascii_digit());
            text.parse()
                .ok()
                .filter(|value| digits && range.contains(value))
        })
    }

    /// A name of 1 to 64 characters that fits into a log field, a metric dimension and a URL.
    pub(super) fn name(&self, variable: &'static str) -> Result<Option<String>, ConfigError> {
        self.parsed(
            variable,
            "1 to 64 letters, digits, `.`, `_` or `-`",
            |text| {
                let fits = text.len() <= 64
                    && text
                        .bytes()
                        .all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte));
                fits.then(|| text.to_owned())
            },
        )
    }

    pub(super) fn parsed<T>(
        &self,
        variable: &'static str,
        accepted: impl Into<Cow<'static, str>>,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Result<Option<T>, ConfigError> {
        let Some(text) = self.text(variable)? else {
            return Ok(None);
        };
        match parse(&text) {
            Some(value) => Ok(Some(value)),
            None => Err(unusable(variable, &text, accepted.into())),
        }
    }
}

/// How many characters of an unusable value an error shows.
const FOUND_LIMIT: usize = 64;
/// Parts of URLs and of Stripe's and AWS's keys. A value that contains one of these parts may be a secret in the wrong
/// variable.
const SECRET_MARKS: [&str; 6] = ["://", "@", "sk_", "rk_", "whsec_", "AKIA"];
/// In other programs `REDIS_AUTH` is the password, so the value of this variable is never shown.
const NEVER_SHOWN: &str = "REDIS_AUTH";

pub(super) fn unusable(
    variable: &'static str,
    found: &str,
    accepted: Cow<'static, str>,
) -> ConfigError {
    let may_be_secret =
        variable == NEVER_SHOWN || SECRET_MARKS.iter().any(|mark| found.contains(mark));
    if may_be_secret {
        return ConfigError::UnusableSecret { variable, accepted };
    }
    let mut shown: String = found
        .chars()
        .take(FOUND_LIMIT)
        .flat_map(char::escape_debug)
        .collect();
    if found.chars().nth(FOUND_LIMIT).is_some() {
        shown.push('…');
    }
    ConfigError::Unusable {
        variable,
        found: shown,
        accepted,
    }
}
