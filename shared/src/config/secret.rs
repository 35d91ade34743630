//! The source of a secret setting: its variable, or a secret in AWS Secrets Manager whose ARN is in another variable.

use std::time::Duration;

use foundation::secret::{SecretSource, StoredSecret};

use super::ConfigError;
use super::reader::Reader;

const DAY_SECONDS: u64 = 86_400;
const DEFAULT_TTL: Duration = Duration::from_secs(3_600);

/// Returns the secret in `variable`, or the reference to a stored secret from the ARN in `arn_variable`.
pub(super) fn read_source(
    read: &Reader<'_>,
    variable: &'static str,
    arn_variable: &'static str,
) -> Result<Option<SecretSource>, ConfigError> {
    let given = read.secret(variable)?;
    match (given, read_stored(read, arn_variable)?) {
        (Some(_), Some(_)) => Err(ConfigError::Conflict {
            variable,
            other: arn_variable,
        }),
        (given, stored) => Ok(given
            .map(SecretSource::Given)
            .or(stored.map(SecretSource::Stored))),
    }
}

/// Reads a [list](foundation::secret::Secret::list) of secrets in the same way as [`read_source`] reads one secret. A
/// list in a variable is checked here. A list in Secrets Manager is checked by the code that uses it.
pub(super) fn read_list(
    read: &Reader<'_>,
    variable: &'static str,
    arn_variable: &'static str,
    accepted: &'static str,
) -> Result<Option<SecretSource>, ConfigError> {
    let source = read_source(read, variable, arn_variable)?;
    match &source {
        Some(SecretSource::Given(list)) if list.list(1).is_none() => {
            Err(ConfigError::UnusableSecret {
                variable,
                accepted: accepted.into(),
            })
        }
        _ => Ok(source),
    }
}

fn read_stored(
    read: &Reader<'_>,
    variable: &'static str,
) -> Result<Option<StoredSecret>, ConfigError> {
    let ttl = read.number("SECRETS_TTL_SECONDS", 1..=DAY_SECONDS)?;
    let accepted = "the ARN of a secret, `arn:aws:secretsmanager:<region>:<account>:secret:<name>`";
    let Some(arn) = read.text(variable)? else {
        return Ok(None);
    };
    // The value is not shown, because it may be a secret in the wrong variable.
    let region = region_of(&arn).ok_or(ConfigError::UnusableSecret {
        variable,
        accepted: accepted.into(),
    })?;
    Ok(Some(StoredSecret {
        variable,
        arn,
        region,
        ttl: ttl.map_or(DEFAULT_TTL, Duration::from_secs),
    }))
}

/// The region in the ARN of a secret; `None` if `arn` is not such an ARN.
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

/// Whether `text` can be the name of a region. The name becomes part of a host name.
pub(super) fn is_region(text: &str) -> bool {
    (1..=32).contains(&text.len())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
}
