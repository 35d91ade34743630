//! The settings of the MongoDB client.
//!
//! The URI is stored as text. A process with an invalid URI starts. Then every call fails, and health reports the
//! reason.

use foundation::secret::{Secret, SecretSource};

/// The settings of the MongoDB client.
#[derive(Clone, Debug)]
pub struct MongoConfig {
    /// The URI, not parsed; `None`: MongoDB is not configured.
    pub uri: Option<SecretSource>,
    /// The name of the database.
    pub database: String,
    /// The application name in the server's log.
    pub application: String,
    /// Whether credentials may be sent unencrypted to another host, or to a server whose certificate is not verified.
    pub allows_unsafe: bool,
}

impl MongoConfig {
    /// The settings for `database` of the deployment at `uri`.
    pub fn at(uri: impl Into<String>, database: impl Into<String>) -> Self {
        let database = database.into();
        Self {
            uri: Some(SecretSource::Given(Secret::new(uri))),
            application: database.clone(),
            database,
            allows_unsafe: false,
        }
    }
}
