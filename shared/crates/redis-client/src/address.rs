//! The address of Redis: a URL from the environment, or a URL in a secret, which can be replaced while the process
//! runs.

use std::sync::Arc;

use foundation::Deadline;
use foundation::secret::{Secret, SecretCell, SecretSource, Secrets};
use parking_lot::Mutex;

use super::endpoint::Endpoint;
use super::reason::Reason;
use crate::RedisConfig;

/// The address that connections are opened to.
#[expect(clippy::large_enum_variant, reason = "a process has only one")]
pub(super) enum Address {
    /// A URL from the environment. It never changes.
    Fixed(Arc<Endpoint>),
    /// A URL in a secret.
    Stored(StoredAddress),
}

/// An address in Secrets Manager.
pub(super) struct StoredAddress {
    secret: SecretCell,
    config: RedisConfig,
    /// The last value read, and the endpoint parsed from that value. Never locked across an await.
    last: Mutex<Option<(Secret, Parsed)>>,
}

type Parsed = Result<Arc<Endpoint>, Reason>;

impl Address {
    /// Creates the address. A URL from the environment is parsed now; a URL in a secret is parsed when it is read.
    pub(super) fn new(
        source: &SecretSource,
        config: &RedisConfig,
        secrets: &Secrets,
    ) -> Result<Self, Reason> {
        match source {
            SecretSource::Given(url) => parsed(url, config).map(Self::Fixed),
            SecretSource::Stored(_) => Ok(Self::Stored(StoredAddress {
                secret: secrets.cell(source),
                config: config.clone(),
                last: Mutex::default(),
            })),
        }
    }

    /// The URL without credentials.
    pub(super) fn masked(&self) -> String {
        match self {
            Self::Fixed(endpoint) => endpoint.masked().to_owned(),
            Self::Stored(stored) => match &*stored.last.lock() {
                Some((_, Ok(endpoint))) => endpoint.masked().to_owned(),
                Some((_, Err(_))) => "<unparseable>".to_owned(),
                None => "<not read yet>".to_owned(),
            },
        }
    }

    /// The endpoint to connect to.
    ///
    /// # Errors
    ///
    /// The reason why the endpoint is unknown.
    ///
    /// # Cancel safety
    ///
    /// Read-only: a dropped call changes nothing.
    pub(super) async fn endpoint(&self, deadline: Deadline) -> Parsed {
        match self {
            Self::Fixed(endpoint) => Ok(Arc::clone(endpoint)),
            Self::Stored(stored) => match stored.secret.value(deadline).await {
                Ok(url) => stored.at(&url),
                Err(_) if deadline.is_over() => Err(Reason::ConnectTimeout),
                Err(_) => Err(Reason::NoCredentials),
            },
        }
    }

    /// Whether `endpoint` is the newest known endpoint.
    pub(super) fn is_at(&self, endpoint: &Arc<Endpoint>) -> bool {
        let Self::Stored(stored) = self else {
            return true;
        };
        let last = stored.last.lock();
        let last = last.as_ref().map(|(_, parsed)| parsed);
        !matches!(last, Some(Ok(last)) if !Arc::ptr_eq(last, endpoint))
    }

    /// The endpoint to use after the server rejected the last login; `None` if no newer URL is known.
    ///
    /// # Cancel safety
    ///
    /// Read-only: a dropped call changes nothing.
    pub(super) async fn newer(&self, deadline: Deadline) -> Option<Parsed> {
        let Self::Stored(stored) = self else {
            return None;
        };
        let (refused, _) = stored.last.lock().clone()?;
        let url = stored.secret.newer_than(&refused, deadline).await?;
        Some(stored.at(&url))
    }
}

impl StoredAddress {
    fn at(&self, url: &Secret) -> Parsed {
        let mut last = self.last.lock();
        match &*last {
            Some((known, parsed)) if known.matches(url.expose()) => parsed.clone(),
            _ => {
                let parsed = parsed(url, &self.config);
                *last = Some((url.clone(), parsed.clone()));
                parsed
            }
        }
    }
}

fn parsed(url: &Secret, config: &RedisConfig) -> Parsed {
    Endpoint::parse(url.expose(), config).map(Arc::new)
}
