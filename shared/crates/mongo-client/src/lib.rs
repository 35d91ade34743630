#![doc = include_str!("../README.md")]

mod address;
mod config;
mod error;
mod live;

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use address::{Address, CONNECT_TIMEOUT, Deployment};
pub use config::MongoConfig;
pub use error::Error;
use foundation::Deadline;
use foundation::secret::Secrets;
use live::LiveClient;
use mongodb::Database;
use mongodb::bson::doc;
use mongodb::options::{
    DatabaseOptions, ReadConcern, ReadPreference, SelectionCriteria, WriteConcern,
};
use parking_lot::Mutex;

/// The MongoDB client of the process. Cheap to clone; all clones share the driver's client.
#[derive(Clone)]
pub struct Mongo {
    inner: Arc<Inner>,
}

struct Inner {
    /// `None`: no URI is configured.
    address: Option<Address>,
    database: String,
    /// The driver's client in use, which has found a server. Never locked across an await.
    live: Mutex<Option<LiveClient>>,
}

/// The share of the time for the first attempt on a client that has replied before. If the connection of that client
/// loses all data, the rest of the time is enough for a new client to connect.
const FIRST_ATTEMPT_SHARE: f64 = 0.5;
/// Time limit of a call, even if the caller's deadline is later. The driver has no time limit for a reply.
const OPERATION_LIMIT: Duration = Duration::from_secs(5);
/// The shortest first attempt whose failure counts against the client. A shorter attempt was cut off by the caller's
/// deadline. Such a failure does not show that the client is unusable.
const MEANINGFUL_ATTEMPT: Duration = Duration::from_millis(100);

impl Mongo {
    /// Creates the client for `config`, whose URI may be stored in `secrets`. Opens no connection and never fails.
    pub fn new(config: &MongoConfig, secrets: &Secrets) -> Self {
        let inner = Inner {
            address: config
                .uri
                .as_ref()
                .map(|uri| Address::new(uri, config, secrets)),
            database: config.database.clone(),
            live: Mutex::new(None),
        };
        Self {
            inner: Arc::new(inner),
        }
    }

    /// Whether a URI is configured.
    pub fn is_configured(&self) -> bool {
        self.inner.address.is_some()
    }

    /// The reason why every call fails, if the settings alone cause that. Sends no request to a server or to DNS.
    pub fn fault(&self) -> Option<Error> {
        match &self.inner.address {
            Some(address) => address.fault(),
            None => Some(Error::NotConfigured),
        }
    }

    /// Pings the server. Returns the latency, without the time for connecting.
    ///
    /// # Errors
    ///
    /// [`Error`] if the server does not reply by `deadline`.
    ///
    /// # Cancel safety
    ///
    /// A dropped ping changes nothing.
    pub async fn ping(&self, deadline: Deadline) -> Result<Duration, Error> {
        let deployment = self.address()?.deployment(deadline).await?;
        match self.ping_at(&deployment, deadline).await {
            Err(Error::AuthFailed) => match self.address()?.newer_than(&deployment, deadline).await
            {
                Some(deployment) => self.ping_at(&deployment?, deadline).await,
                None => Err(Error::AuthFailed),
            },
            settled => settled,
        }
    }

    async fn ping_at(
        &self,
        deployment: &Arc<Deployment>,
        deadline: Deadline,
    ) -> Result<Duration, Error> {
        let in_use = self.inner.live.lock().clone();
        match in_use.filter(|live| live.is_at(deployment)) {
            Some(live) if live.has_replied => {
                let first_attempt = match deadline.remaining() {
                    Some(left) => left.mul_f64(FIRST_ATTEMPT_SHARE),
                    None => CONNECT_TIMEOUT,
                };
                match self.ping_once(&live, deadline.within(first_attempt)).await {
                    Err(error) if first_attempt < MEANINGFUL_ATTEMPT => return Err(error),
                    Err(_) => {}
                    answered => return answered,
                }
            }
            Some(live) => return self.ping_first(live, deadline).await,
            None => {}
        }
        self.ping_first(LiveClient::open(deployment)?, deadline)
            .await
    }

    /// Runs `call` on the database and returns its result. Reads return only data that a majority of the servers has,
    /// and writes wait for a majority.
    ///
    /// `call` may run twice. If the client in use gets no reply in its share of the time, the connection may have
    /// broken during a freeze. `call` then runs again on a new client, so `call` must recognise the effect of its first
    /// run.
    ///
    /// # Errors
    ///
    /// [`Error`] if there is no result by `deadline`, or within five seconds.
    ///
    /// # Cancel safety
    ///
    /// A dropped call may or may not have taken effect.
    pub async fn run<T, F>(
        &self,
        deadline: Deadline,
        call: impl Fn(Database) -> F,
    ) -> Result<T, Error>
    where
        F: Future<Output = mongodb::error::Result<T>>,
    {
        let deadline = deadline.within(OPERATION_LIMIT);
        let deployment = self.address()?.deployment(deadline).await?;
        let in_use = self.in_use(&deployment, None)?;
        let first_error = if in_use.has_replied {
            let first_attempt = deadline.clip(OPERATION_LIMIT).mul_f64(FIRST_ATTEMPT_SHARE);
            let called = self.call(&in_use, deadline.within(first_attempt), deadline, &call);
            match called.await {
                Err(error) if error.is_of_connection() && first_attempt >= MEANINGFUL_ATTEMPT => {
                    error
                }
                settled => return settled,
            }
        } else {
            Error::ConnectFailed
        };
        let client = if in_use.has_replied {
            self.in_use(&deployment, Some(&in_use))?
        } else {
            in_use
        };
        match self.call(&client, deadline, deadline, &call).await {
            // The first attempt may have taken effect, even if the second attempt failed before it was sent.
            Err(error) if first_error.may_have_run() && error.precedes_calling() => {
                Err(first_error)
            }
            settled => settled,
        }
    }

    /// Returns the client in use for this deployment, or a new one. Never returns `worn`, a client that failed.
    fn in_use(
        &self,
        deployment: &Arc<Deployment>,
        worn: Option<&LiveClient>,
    ) -> Result<LiveClient, Error> {
        let mut in_use = self.inner.live.lock();
        match &*in_use {
            Some(live) if live.is_at(deployment) && !worn.is_some_and(|worn| worn.is(live)) => {
                Ok(live.clone())
            }
            _ => Ok(in_use.insert(LiveClient::open(deployment)?).clone()),
        }
    }

    /// Runs `call` on `live` until the deadline `first`. If the server rejects the login, and there is a newer URI,
    /// runs `call` until `deadline` on a client of that URI.
    async fn call<T, F>(
        &self,
        live: &LiveClient,
        first: Deadline,
        deadline: Deadline,
        call: &impl Fn(Database) -> F,
    ) -> Result<T, Error>
    where
        F: Future<Output = mongodb::error::Result<T>>,
    {
        match self.call_once(live, first, call).await {
            Err(Error::AuthFailed) => {
                match self.address()?.newer_than(&live.deployment, deadline).await {
                    Some(deployment) => {
                        let live = self.in_use(&deployment?, Some(live))?;
                        self.call_once(&live, deadline, call).await
                    }
                    None => Err(Error::AuthFailed),
                }
            }
            settled => settled,
        }
    }

    /// Runs `call` once on `live`, and records whether that client stays in use.
    async fn call_once<T, F>(
        &self,
        live: &LiveClient,
        deadline: Deadline,
        call: &impl Fn(Database) -> F,
    ) -> Result<T, Error>
    where
        F: Future<Output = mongodb::error::Result<T>>,
    {
        let database = live
            .client
            .database_with_options(&self.inner.database, majority_options());
        let called = match deadline.bound(call(database)).await {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(error)) => Err(Error::of_driver(&error)),
            Err(_) => Err(Error::Timeout),
        };
        let has_replied = !called.as_ref().is_err_and(|error| error.is_of_connection());
        let mut in_use = self.inner.live.lock();
        if let Some(current) = in_use.as_mut().filter(|current| current.is(live)) {
            current.has_replied |= has_replied;
            let is_unusable = !current.has_replied && current.monitor.last() != Some(Ok(()));
            if is_unusable {
                *in_use = None;
            }
        }
        called
    }

    /// Pings with a client that has no reply yet, and returns the latency. If that client is usable, makes it the
    /// client in use.
    async fn ping_first(&self, live: LiveClient, deadline: Deadline) -> Result<Duration, Error> {
        let connecting = self.ping_once(&live, deadline).await;
        let has_replied = connecting.is_ok();
        self.keep_if_usable(LiveClient {
            has_replied,
            ..live.clone()
        });
        // The first ping also connected, so a second ping measures the latency. If there is no time for a second ping,
        // the time of the first is an upper bound. If the deadline cut off the second ping, the driver would lose the
        // connection.
        let at_most = connecting?;
        if deadline.clip(at_most) < at_most {
            return Ok(at_most);
        }
        Ok(self.ping_once(&live, deadline).await.unwrap_or(at_most))
    }

    /// Makes `live` the client in use if it has a reply, or if the client in use has none. A client without a reply
    /// stays in use if its monitoring has found the server. With a distant server, connecting may take more than one
    /// call.
    fn keep_if_usable(&self, live: LiveClient) {
        let mut in_use = self.inner.live.lock();
        if live.has_replied || !in_use.as_ref().is_some_and(|in_use| in_use.has_replied) {
            *in_use =
                Some(live).filter(|live| live.has_replied || live.monitor.last() == Some(Ok(())));
        }
    }

    async fn ping_once(&self, live: &LiveClient, deadline: Deadline) -> Result<Duration, Error> {
        let started = Instant::now();
        let database = live.client.database(&self.inner.database);
        match deadline
            .bound(database.run_command(doc! { "ping": 1 }).into_future())
            .await
        {
            Ok(Ok(_)) => Ok(started.elapsed()),
            Ok(Err(error)) => Err(Error::of_driver(&error)),
            Err(_) => Err(live
                .monitor
                .last()
                .and_then(Result::err)
                .unwrap_or(Error::Timeout)),
        }
    }

    fn address(&self) -> Result<&Address, Error> {
        self.inner.address.as_ref().ok_or(Error::NotConfigured)
    }
}

impl fmt::Debug for Mongo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mongo")
            .field("configured", &self.is_configured())
            .finish_non_exhaustive()
    }
}

/// With these options, reads return only data that a majority has, and writes wait for a majority. The options override
/// the URI. So a failover cannot undo data that was read or written.
fn majority_options() -> DatabaseOptions {
    DatabaseOptions::builder()
        .selection_criteria(SelectionCriteria::ReadPreference(ReadPreference::Primary))
        .read_concern(ReadConcern::majority())
        .write_concern(WriteConcern::majority())
        .build()
}
