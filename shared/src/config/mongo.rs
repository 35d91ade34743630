//! The settings of the MongoDB client.

use foundation::Environment;
use mongo_client::MongoConfig;

use super::ConfigError;
use super::reader::Reader;
use super::secret::read_source;

/// The application name in MongoDB's log, and the default database.
const APPLICATION: &str = "truebond";

pub(super) fn read(
    read: &Reader<'_>,
    environment: &Environment,
) -> Result<MongoConfig, ConfigError> {
    let accepted = "1 to 63 bytes without spaces and `/ \\ . \" $ * < > : | ?`";
    let database = read.parsed("MONGODB_DATABASE", accepted, |text| {
        let fits = text.len() <= 63
            && !text.contains(|c: char| c.is_whitespace() || "/\\.\"$*<>:|?\0".contains(c));
        fits.then(|| text.to_owned())
    })?;
    Ok(MongoConfig {
        uri: read_source(read, "MONGODB_URI", "MONGODB_URI_SECRET_ARN")?,
        database: database.unwrap_or_else(|| APPLICATION.to_owned()),
        application: APPLICATION.to_owned(),
        allows_unsafe: environment.is_development(),
    })
}
