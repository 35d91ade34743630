//! How MongoDB is reached. The URI stays unparsed: one that cannot be parsed is a state of health, not a reason not to start.

use foundation::secret::{Secret, SecretSource};

/// How MongoDB is reached.
#[derive(Clone, Debug)]
pub struct MongoConfig {
    /// The URI, unparsed; `None`: no MongoDB.
    pub uri: Option<SecretSource>,
    /// The database.
    pub database: String,
    /// The name by which the server's log and its operators know this program.
    pub application: String,
    /// Whether a login may go unencrypted to another host, or to a server whose certificate is not checked.
    pub allows_unsafe: bool,
}

impl MongoConfig {
    /// The `database` of the deployment at `uri`.
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
