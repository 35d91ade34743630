//! Where MongoDB is, and with which login: the URI, which a secret may hold and replace.

use std::sync::Arc;
use std::time::Duration;

use foundation::Deadline;
use foundation::secret::{Secret, SecretCell, SecretSource, Secrets};
use foundation::transport::{sends_login_in_the_clear, trusts_any_certificate};
use mongodb::options::{ClientOptions, ConnectionString};

use super::{Error, MongoConfig};

/// What is known of the URI.
pub(super) struct Address {
    uri: SecretCell,
    /// The URI, where no secret holds it.
    given: Option<Secret>,
    application: String,
    allows_unsafe: bool,
    /// What it says, parsed when it is new. Held by whoever parses it.
    known: tokio::sync::Mutex<Option<Arc<Place>>>,
}

/// Where a URI leads.
pub(super) struct Place {
    uri: Secret,
    pub(super) options: ClientOptions,
}

const POOL_SIZE: u32 = 5;
pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
const SERVER_SELECTION_TIMEOUT: Duration = Duration::from_secs(2);
/// Atlas closes what rests for longer, and a Lambda process rests often.
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

    /// Why a URI that is known without a question can lead nowhere.
    pub(super) fn fault(&self) -> Option<Error> {
        let uri = self.given.as_ref()?;
        match ConnectionString::parse(uri.expose()) {
            Ok(_) => self.refuse_unsafe(uri).err(),
            Err(error) => Some(Error::of_driver(&error)),
        }
    }

    /// Where the URI leads that is in force.
    pub(super) async fn place(&self, deadline: Deadline) -> Result<Arc<Place>, Error> {
        match self.uri.value(deadline).await {
            Ok(uri) => self.place_of(uri, deadline).await,
            Err(_) if deadline.is_over() => Err(Error::Timeout),
            Err(_) => Err(Error::NoCredentials),
        }
    }

    /// Where the URI leads that has replaced the one of `refused`, if one has.
    pub(super) async fn newer_than(
        &self,
        refused: &Place,
        deadline: Deadline,
    ) -> Option<Result<Arc<Place>, Error>> {
        let uri = self.uri.newer_than(&refused.uri, deadline).await?;
        Some(self.place_of(uri, deadline).await)
    }

    async fn place_of(&self, uri: Secret, deadline: Deadline) -> Result<Arc<Place>, Error> {
        let parsing = async {
            let mut known = self.known.lock().await;
            if let Some(place) = &*known
                && place.uri.matches(uri.expose())
            {
                return Ok(Arc::clone(place));
            }
            self.refuse_unsafe(&uri)?;
            let options = parse_options(&uri, &self.application).await?;
            Ok(Arc::clone(known.insert(Arc::new(Place { uri, options }))))
        };
        deadline.bound(parsing).await.unwrap_or(Err(Error::Timeout))
    }

    fn refuse_unsafe(&self, uri: &Secret) -> Result<(), Error> {
        let is_unsafe =
            sends_login_in_the_clear(uri.expose()) || trusts_any_certificate(uri.expose());
        match is_unsafe && !self.allows_unsafe {
            true => Err(Error::UnsafeUrl),
            false => Ok(()),
        }
    }
}

/// What the URI says, and where it is silent, what suits a Lambda process.
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
