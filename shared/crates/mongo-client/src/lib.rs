#![doc = include_str!("../README.md")]

mod address;
mod config;
mod error;
mod live;

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use address::{Address, CONNECT_TIMEOUT, Place};
pub use config::MongoConfig;
pub use error::Error;
use foundation::Deadline;
use foundation::secret::Secrets;
use live::Live;
use mongodb::Database;
use mongodb::bson::doc;
use mongodb::options::{
    DatabaseOptions, ReadConcern, ReadPreference, SelectionCriteria, WriteConcern,
};
use parking_lot::Mutex;

/// The process's access to MongoDB. Cheap to clone; all clones share the driver's client.
#[derive(Clone)]
pub struct Mongo {
    inner: Arc<Inner>,
}

struct Inner {
    /// `None`: none is configured.
    address: Option<Address>,
    database: String,
    /// The client in use, which has found a server. Never locked across an await.
    live: Mutex<Option<Live>>,
}

/// The part of a ping's time that a client may take which answered before: if its connection swallows everything, a new
/// one must have the time to connect.
const FIRST_TRY: f64 = 0.5;
/// The longest a call may take, whatever time is left: the driver itself waits for an answer for ever.
const OPERATION_LIMIT: Duration = Duration::from_secs(5);
/// A first try shorter than this, because the caller had no more time, says nothing about the client.
const FAIR_TRY: Duration = Duration::from_millis(100);

impl Mongo {
    /// Access to what is configured, whose URI may be one of `secrets`. Nothing is connected, and nothing here fails.
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

    /// Why every call will fail, where the settings alone say that. No server and no DNS is asked.
    pub fn fault(&self) -> Option<Error> {
        match &self.inner.address {
            Some(address) => address.fault(),
            None => Some(Error::NotConfigured),
        }
    }

    /// Asks the server for a sign of life; how long it took, without the connecting.
    ///
    /// # Errors
    ///
    /// [`Error`] when none came by `deadline`.
    ///
    /// # Cancel safety
    ///
    /// A dropped ping changes nothing.
    pub async fn ping(&self, deadline: Deadline) -> Result<Duration, Error> {
        let place = self.address()?.place(deadline).await?;
        match self.ping_at(&place, deadline).await {
            Err(Error::AuthFailed) => match self.address()?.newer_than(&place, deadline).await {
                Some(place) => self.ping_at(&place?, deadline).await,
                None => Err(Error::AuthFailed),
            },
            settled => settled,
        }
    }

    async fn ping_at(&self, place: &Arc<Place>, deadline: Deadline) -> Result<Duration, Error> {
        let in_use = self.inner.live.lock().clone();
        match in_use.filter(|live| live.is_at(place)) {
            Some(live) if live.has_answered => {
                let first_try = match deadline.remaining() {
                    Some(left) => left.mul_f64(FIRST_TRY),
                    None => CONNECT_TIMEOUT,
                };
                match self.ping_once(&live, deadline.within(first_try)).await {
                    Err(error) if first_try < FAIR_TRY => return Err(error),
                    Err(_) => {}
                    answered => return answered,
                }
            }
            Some(live) => return self.ping_first(live, deadline).await,
            None => {}
        }
        self.ping_first(Live::open(place)?, deadline).await
    }

    /// Runs `call` on the database and returns what it brings. It may be sent twice: once more on a new client, when the one in
    /// use, which may have died while the process was frozen, does not answer in its part of the time. So a call carries what
    /// lets it recognise what it has done. Reads see, and writes wait for, what a majority of the servers has.
    ///
    /// # Errors
    ///
    /// [`Error`] when there is no result by `deadline`, or within five seconds.
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
        let place = self.address()?.place(deadline).await?;
        let in_use = self.in_use(&place, None)?;
        let doubt = if in_use.has_answered {
            let first_try = deadline.clip(OPERATION_LIMIT).mul_f64(FIRST_TRY);
            let called = self.call(&in_use, deadline.within(first_try), deadline, &call);
            match called.await {
                Err(error) if error.is_of_connection() && first_try >= FAIR_TRY => error,
                settled => return settled,
            }
        } else {
            Error::ConnectFailed
        };
        let client = if in_use.has_answered {
            self.in_use(&place, Some(&in_use))?
        } else {
            in_use
        };
        match self.call(&client, deadline, deadline, &call).await {
            // Whatever became of the second try, the first one may have taken effect.
            Err(error) if doubt.may_have_run() && error.precedes_calling() => Err(doubt),
            settled => settled,
        }
    }

    /// The client in use for this place, which may be new; never `worn`.
    fn in_use(&self, place: &Arc<Place>, worn: Option<&Live>) -> Result<Live, Error> {
        let mut in_use = self.inner.live.lock();
        match &*in_use {
            Some(live) if live.is_at(place) && !worn.is_some_and(|worn| worn.is(live)) => {
                Ok(live.clone())
            }
            _ => Ok(in_use.insert(Live::open(place)?).clone()),
        }
    }

    /// Runs `call` on `live` by `first`; and where its user is refused, by `deadline` on a client of the URI that has replaced
    /// its own.
    async fn call<T, F>(
        &self,
        live: &Live,
        first: Deadline,
        deadline: Deadline,
        call: &impl Fn(Database) -> F,
    ) -> Result<T, Error>
    where
        F: Future<Output = mongodb::error::Result<T>>,
    {
        match self.call_once(live, first, call).await {
            Err(Error::AuthFailed) => match self.address()?.newer_than(&live.place, deadline).await
            {
                Some(place) => {
                    let live = self.in_use(&place?, Some(live))?;
                    self.call_once(&live, deadline, call).await
                }
                None => Err(Error::AuthFailed),
            },
            settled => settled,
        }
    }

    /// Runs `call` once on `live`, and notes whether that is a client to go on with.
    async fn call_once<T, F>(
        &self,
        live: &Live,
        deadline: Deadline,
        call: &impl Fn(Database) -> F,
    ) -> Result<T, Error>
    where
        F: Future<Output = mongodb::error::Result<T>>,
    {
        let database = live
            .client
            .database_with_options(&self.inner.database, certainty());
        let called = match deadline.bound(call(database)).await {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(error)) => Err(Error::of_driver(&error)),
            Err(_) => Err(Error::Timeout),
        };
        let has_answered = !called.as_ref().is_err_and(|error| error.is_of_connection());
        let mut in_use = self.inner.live.lock();
        if let Some(current) = in_use.as_mut().filter(|current| current.is(live)) {
            current.has_answered |= has_answered;
            let is_hopeless = !current.has_answered && current.monitor.last() != Some(Ok(()));
            if is_hopeless {
                *in_use = None;
            }
        }
        called
    }

    /// Pings on a client that has not answered yet, and decides whether it is the one to use from now on.
    async fn ping_first(&self, live: Live, deadline: Deadline) -> Result<Duration, Error> {
        let connecting = self.ping_once(&live, deadline).await;
        let has_answered = connecting.is_ok();
        self.settle_on(Live {
            has_answered,
            ..live.clone()
        });
        // That ping connected as well; another tells how long one takes. Where there is no time for it, it took at most so
        // long, and a ping cut off would cost the connection.
        let at_most = connecting?;
        if deadline.clip(at_most) < at_most {
            return Ok(at_most);
        }
        Ok(self.ping_once(&live, deadline).await.unwrap_or(at_most))
    }

    /// A client in use goes only for one that has answered. One that has merely heard of its server is worth another call:
    /// a server that is far away takes more than one to reach.
    fn settle_on(&self, live: Live) {
        let mut in_use = self.inner.live.lock();
        if live.has_answered || !in_use.as_ref().is_some_and(|in_use| in_use.has_answered) {
            *in_use =
                Some(live).filter(|live| live.has_answered || live.monitor.last() == Some(Ok(())));
        }
    }

    async fn ping_once(&self, live: &Live, deadline: Deadline) -> Result<Duration, Error> {
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

/// What is read has been acknowledged by a majority, and what is written is, whatever the URI says: a failover then
/// undoes neither.
fn certainty() -> DatabaseOptions {
    DatabaseOptions::builder()
        .selection_criteria(SelectionCriteria::ReadPreference(ReadPreference::Primary))
        .read_concern(ReadConcern::majority())
        .write_concern(WriteConcern::majority())
        .build()
}
