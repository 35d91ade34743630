//! Where Redis is: at the URL of the environment, or at the one that a secret holds now.

use std::sync::Arc;

use foundation::Deadline;
use foundation::secret::{Secret, SecretCell, SecretSource, Secrets};
use parking_lot::Mutex;

use super::endpoint::Endpoint;
use super::reason::Reason;
use crate::RedisConfig;

/// Where connections go.
#[expect(
    clippy::large_enum_variant,
    reason = "there is one for the whole process"
)]
pub(super) enum Address {
    /// To one place for ever.
    Fixed(Arc<Endpoint>),
    /// To where a secret says.
    Stored(StoredAddress),
}

/// An address that is kept in Secrets Manager.
pub(super) struct StoredAddress {
    secret: SecretCell,
    config: RedisConfig,
    /// What it was when it was asked for last. Never locked across an await.
    last: Mutex<Option<(Secret, Parsed)>>,
}

type Parsed = Result<Arc<Endpoint>, Reason>;

impl Address {
    /// The address of a source. A URL that is there already has to be one.
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

    /// The URL as it may be shown.
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

    /// Where to connect to.
    ///
    /// # Errors
    ///
    /// The reason why that is not known.
    ///
    /// # Cancel safety
    ///
    /// Reads alone.
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

    /// Whether no other endpoint has replaced this one so far.
    pub(super) fn is_at(&self, endpoint: &Arc<Endpoint>) -> bool {
        let Self::Stored(stored) = self else {
            return true;
        };
        let last = stored.last.lock();
        let last = last.as_ref().map(|(_, parsed)| parsed);
        !matches!(last, Some(Ok(last)) if !Arc::ptr_eq(last, endpoint))
    }

    /// Where to connect to now that the last login was refused; `None` where nothing else is known.
    ///
    /// # Cancel safety
    ///
    /// Reads alone.
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
