//! The URI of MongoDB, and the options parsed from it. A URI in a secret can be replaced while the process runs.

use std::sync::Arc;
use std::time::Duration;

use foundation::Deadline;
use foundation::secret::{Secret, SecretCell, SecretSource, Secrets};
use foundation::transport::{sends_login_in_the_clear, trusts_any_certificate};
use mongodb::options::{ClientOptions, ConnectionString};

use super::{Error, MongoConfig};

/// The URI, from the environment or from a secret.
pub(super) struct Address {
    uri: SecretCell,
    /// The URI from the environment; `None` if it is in a secret.
    given: Option<Secret>,
    application: String,
    allows_unsafe: bool,
    /// The last URI that was parsed. Locked while a caller parses a new one.
    known: tokio::sync::Mutex<Option<Arc<Deployment>>>,
}

/// The deployment at a URI, with the options of its client.
pub(super) struct Deployment {
    uri: Secret,
    pub(super) options: ClientOptions,
}

const POOL_SIZE: u32 = 5;
pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
const SERVER_SELECTION_TIMEOUT: Duration = Duration::from_secs(2);
/// How long the driver keeps an idle connection. Atlas closes connections that are idle for longer, and a Lambda
/// process is often idle.
const MAX_IDLE: Duration = Duration::from_secs(60);

impl Address {
    pub(super) fn new(uri: &SecretSource, config: &MongoConfig, secrets: &Secrets) -> Self {
        Self {
            uri: secrets.cell(uri),
            given: uri.given().cloned(),
            application: config.application.clone(),
            allows_unsafe: config.allows_unsafe,
            known: tokio::sync::Mutex::default(),
        }
    }

    /// The reason why the URI from the environment is unusable; `None` if it is usable. Sends no request to a server or
    /// to DNS.
    pub(super) fn fault(&self) -> Option<Error> {
        let uri = self.given.as_ref()?;
        match ConnectionString::parse(uri.expose()) {
            Ok(_) => self.reject_unsafe(uri).err(),
            Err(error) => Some(Error::of_driver(&error)),
        }
    }

    /// Returns the deployment of the current URI.
    pub(super) async fn deployment(&self, deadline: Deadline) -> Result<Arc<Deployment>, Error> {
        match self.uri.value(deadline).await {
            Ok(uri) => self.deployment_of(uri, deadline).await,
            Err(_) if deadline.is_over() => Err(Error::Timeout),
            Err(_) => Err(Error::NoCredentials),
        }
    }

    /// Returns the deployment of a URI that is newer than the URI of `refused`, if there is one.
    pub(super) async fn newer_than(
        &self,
        refused: &Deployment,
        deadline: Deadline,
    ) -> Option<Result<Arc<Deployment>, Error>> {
        let uri = self.uri.newer_than(&refused.uri, deadline).await?;
        Some(self.deployment_of(uri, deadline).await)
    }

    async fn deployment_of(
        &self,
        uri: Secret,
        deadline: Deadline,
    ) -> Result<Arc<Deployment>, Error> {
        let parsing = async {
            let mut known = self.known.lock().await;
            if let Some(deployment) = &*known
                && deployment.uri.matches(uri.expose())
            {
                return Ok(Arc::clone(deployment));
            }
            self.reject_unsafe(&uri)?;
            let options = parse_options(&uri, &self.application).await?;
            Ok(Arc::clone(
                known.insert(Arc::new(Deployment { uri, options })),
            ))
        };
        deadline.bound(parsing).await.unwrap_or(Err(Error::Timeout))
    }

    fn reject_unsafe(&self, uri: &Secret) -> Result<(), Error> {
        let is_unsafe =
            sends_login_in_the_clear(uri.expose()) || trusts_any_certificate(uri.expose());
        match is_unsafe && !self.allows_unsafe {
            true => Err(Error::UnsafeUrl),
            false => Ok(()),
        }
    }
}

/// The options in the URI, completed with defaults for a Lambda process.
async fn parse_options(uri: &Secret, application: &str) -> Result<ClientOptions, Error> {
    let mut options = ClientOptions::parse(uri.expose())
        .await
        .map_err(|error| Error::of_driver(&error))?;
    options
        .app_name
        .get_or_insert_with(|| application.to_owned());
    options.max_pool_size.get_or_insert(POOL_SIZE);
    options.max_idle_time.get_or_insert(MAX_IDLE);
    options.connect_timeout.get_or_insert(CONNECT_TIMEOUT);
    options
        .server_selection_timeout
        .get_or_insert(SERVER_SELECTION_TIMEOUT);
    Ok(options)
}
