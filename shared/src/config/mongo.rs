//! The settings of MongoDB. The URI stays unparsed, as Redis's URL does.

use super::reader::Reader;
use super::{ConfigError, Environment, SecretSource};

/// How MongoDB is reached.
#[derive(Clone, Debug)]
pub struct MongoConfig {
    /// `MONGODB_URI`, unparsed.
    pub uri: Option<SecretSource>,
    /// The database.
    pub database: String,
    /// Whether a password may go unencrypted to another host, or to a server whose certificate is not checked.
    pub allows_unsafe: bool,
}

impl MongoConfig {
    pub(super) fn read(read: &Reader<'_>, environment: &Environment) -> Result<Self, ConfigError> {
        let accepted = "1 to 63 bytes without `/ \\ . \" $ * < > : | ?` and blanks";
        let database = read.parsed("MONGODB_DATABASE", accepted, |text| {
            let fits = text.len() <= 63
                && !text.contains(|c: char| c.is_whitespace() || "/\\.\"$*<>:|?\0".contains(c));
            fits.then(|| text.to_owned())
        })?;
        Ok(Self {
            uri: SecretSource::read(read, "MONGODB_URI", "MONGODB_URI_SECRET_ARN")?,
            database: database.unwrap_or_else(|| "truebond".to_owned()),
            allows_unsafe: environment.is_development(),
        })
    }
}
