//! The one link to Redis: who opens its connection, when it is tested, when it is replaced.
//!
//! A Lambda process is frozen between invocations, and its socket may die meanwhile in three ways: closed (RESP3 says
//! so as soon as the process runs again), reset (the first write finds out), or swallowed by a network that forgot it
//! (only a missing answer tells). So a connection that rested is pinged with a short limit before a command is trusted
//! to it, and one that let a command wait too long is not used again.
//!
//! The connection is `redis`'s `MultiplexedConnection` and not its `ConnectionManager`: the manager reconnects in the
//! background, where a freeze can catch it, and keeps a connection that only ever times out.

use std::sync::Arc;
use std::time::Duration;

use foundation::Deadline;
use foundation::wall_clock::{self, older_than};
use parking_lot::Mutex;
use tracing::{info, warn};

use super::address::Address;
use super::connection::{Connection, Vitals};
use super::diagnosis::breaks_connection;
use super::endpoint::Endpoint;
use super::reason::Reason;
use super::request;
use crate::{RedisAuth, RedisConfig};

/// How long a rested connection may take to answer the ping that precedes its use.
const REST_TEST_LIMIT: Duration = Duration::from_millis(200);
/// How long after a failed connect the next one is not tried.
const BREAKER_PAUSE: Duration = Duration::from_millis(500);
/// A wait that was shorter than this, because the caller had no more time, is no failure worth a word.
const FAIR_WAIT: Duration = Duration::from_millis(200);
/// A connect that was given less than this, for the same reason, is none that others should pay for.
const FAIR_CONNECT: Duration = Duration::from_secs(1);
/// ElastiCache ends a connection twelve hours after a token opened it, whatever is on its way there.
const LIFE_BY_TOKEN: Duration = Duration::from_secs(11 * 3_600);
/// A connection this old may have seen a failover.
const FAILOVER_AGE: Duration = Duration::from_secs(5);

/// The link to Redis: at most one connection, and what is known about getting one.
pub(super) struct Link {
    address: Address,
    /// How old a connection may become; `None`: as old as it likes.
    longest_life: Option<Duration>,
    connect_timeout: Duration,
    idle_check: Duration,
    /// The connection in use. Taken out when it is found dead; never locked across an await.
    live: Mutex<Option<Live>>,
    /// Held by whoever tests or opens the connection, so that there is never more than one.
    opening: tokio::sync::Mutex<()>,
    /// Why and when the last connect failed.
    breaker: Mutex<Option<Tripped>>,
    /// What the log said last.
    announced: Mutex<Announced>,
}

/// A connection handed out for use.
#[derive(Clone)]
pub(super) struct Live {
    /// The connection.
    pub(super) connection: Connection,
    /// Where it leads, and with which login.
    endpoint: Arc<Endpoint>,
    vitals: Vitals,
}

#[derive(Clone, Copy)]
struct Tripped {
    reason: Reason,
    /// By the wall clock, which a freeze does not stop.
    at_ms: u64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Announced {
    Nothing,
    Connected,
    Failed,
}

impl Link {
    pub(super) fn new(address: Address, config: &RedisConfig) -> Self {
        Self {
            address,
            longest_life: match config.auth {
                RedisAuth::Url => None,
                #[cfg(feature = "iam")]
                RedisAuth::Iam(_) => Some(LIFE_BY_TOKEN),
            },
            connect_timeout: config.connect_timeout,
            idle_check: config.idle_check,
            live: Mutex::new(None),
            opening: tokio::sync::Mutex::new(()),
            breaker: Mutex::new(None),
            announced: Mutex::new(Announced::Nothing),
        }
    }

    pub(super) fn masked_url(&self) -> String {
        self.address.masked()
    }

    /// Whether a connection stands, as far as is known without asking the server.
    pub(super) fn is_connected(&self) -> bool {
        self.current().is_some()
    }

    /// The connection, tested or opened if need be.
    ///
    /// # Errors
    ///
    /// The reason why there is none. Nothing was sent for the caller.
    ///
    /// # Cancel safety
    ///
    /// A dropped attempt leaves no connection behind, and whoever waited for it tries next.
    pub(super) async fn acquire(&self, deadline: Deadline) -> Result<Live, Reason> {
        if let Some(live) = self
            .current()
            .filter(|live| !live.vitals.is_idle_for(self.idle_check))
        {
            return Ok(live);
        }
        let _turn = deadline
            .bound(self.opening.lock())
            .await
            .map_err(|_| Reason::ConnectTimeout)?;
        // Whoever had the turn before may have done the work.
        if let Some(live) = self.current() {
            if !live.vitals.is_idle_for(self.idle_check) {
                return Ok(live);
            }
            let limit = deadline.clip(REST_TEST_LIMIT);
            match tokio::time::timeout(limit, live.answers()).await {
                Ok(true) => return Ok(live),
                Err(_) if limit < REST_TEST_LIMIT => return Err(Reason::Timeout),
                Ok(false) | Err(_) => self.discard(&live),
            }
        }
        if let Some(tripped) = *self.breaker.lock()
            && !older_than(tripped.at_ms, BREAKER_PAUSE)
        {
            return Err(tripped.reason);
        }
        self.open(deadline).await
    }

    /// Takes `live` out of use. What still waits on it goes on waiting; the next command gets a new one.
    pub(super) fn discard(&self, live: &Live) {
        let mut current = self.live.lock();
        if current
            .as_ref()
            .is_some_and(|current| current.vitals.same(&live.vitals))
        {
            *current = None;
        }
    }

    /// Takes a connection out of use whose server turned out read-only, unless it is new: after a failover the name leads
    /// to the new primary, while an old connection stays with the demoted one.
    pub(super) fn suspect_failover(&self) {
        let mut current = self.live.lock();
        if current
            .as_ref()
            .is_some_and(|live| live.vitals.is_older_than(FAILOVER_AGE))
        {
            *current = None;
        }
    }

    /// Whether another login than that of `live` is in force, as far as can be found out.
    ///
    /// # Cancel safety
    ///
    /// Reads alone.
    pub(super) async fn has_newer_login(&self, live: &Live, deadline: Deadline) -> bool {
        !self.address.is_at(&live.endpoint)
            || matches!(self.address.newer(deadline).await, Some(Ok(_)))
    }

    /// Closes the connection once nothing waits on it any more.
    pub(super) fn close(&self) {
        *self.live.lock() = None;
    }

    async fn open(&self, deadline: Deadline) -> Result<Live, Reason> {
        let limit = deadline.clip(self.connect_timeout);
        let reason = match self.open_with_newest_login(deadline).await {
            Ok(live) => {
                *self.live.lock() = Some(live.clone());
                *self.breaker.lock() = None;
                self.announce(Announced::Connected, || {
                    info!("Redis connected: {}", self.masked_url());
                });
                return Ok(live);
            }
            Err(reason) => reason,
        };
        // The next one may have more time, and must not pay for this one's haste.
        let had_time_for = |fair: Duration| limit >= self.connect_timeout.min(fair);
        if reason != Reason::ConnectTimeout || had_time_for(FAIR_CONNECT) {
            *self.breaker.lock() = Some(Tripped {
                reason,
                at_ms: wall_clock::now_ms(),
            });
        }
        if reason != Reason::ConnectTimeout || had_time_for(FAIR_WAIT) {
            self.announce(Announced::Failed, || {
                warn!(
                    redis.error_code = reason.code(),
                    "Redis connection failed: {reason}"
                );
            });
        }
        Err(reason)
    }

    /// Opens a connection, and where its login is refused another one with what may have replaced it.
    async fn open_with_newest_login(&self, deadline: Deadline) -> Result<Live, Reason> {
        let endpoint = self.address.endpoint(deadline).await?;
        match self.open_at(&endpoint, deadline).await {
            Err(Reason::AuthFailed) => match self.address.newer(deadline).await {
                Some(endpoint) => self.open_at(&endpoint?, deadline).await,
                None => Err(Reason::AuthFailed),
            },
            settled => settled,
        }
    }

    async fn open_at(&self, endpoint: &Arc<Endpoint>, deadline: Deadline) -> Result<Live, Reason> {
        let limit = deadline.clip(self.connect_timeout);
        let vitals = Vitals::new();
        let connection = tokio::time::timeout(limit, endpoint.open(&vitals, limit))
            .await
            .map_err(|_| Reason::ConnectTimeout)??;
        vitals.mark_answered();
        Ok(Live {
            connection,
            endpoint: Arc::clone(endpoint),
            vitals,
        })
    }

    fn current(&self) -> Option<Live> {
        self.live
            .lock()
            .clone()
            .filter(|live| !live.vitals.is_lost() && !self.has_served_its_time(live))
    }

    fn has_served_its_time(&self, live: &Live) -> bool {
        self.longest_life
            .is_some_and(|limit| live.vitals.is_older_than(limit))
    }

    /// Logs a change of state, once.
    fn announce(&self, state: Announced, say: impl FnOnce()) {
        let before = std::mem::replace(&mut *self.announced.lock(), state);
        if before != state {
            say();
        }
    }
}

impl Live {
    /// Notes that the server answered on this connection.
    pub(super) fn mark_answered(&self) {
        self.vitals.mark_answered();
    }

    /// Whether the server answers a ping. An error it answers proves the connection as well as a `PONG` does.
    async fn answers(&self) -> bool {
        let mut connection = self.connection.clone();
        let answered = match request::ping(&mut connection).await {
            Ok(_) => true,
            Err(error) => !breaks_connection(&error),
        };
        if answered {
            self.mark_answered();
        }
        answered
    }

    /// Whether it leads to a cluster. Such a connection replaces a broken socket itself, and need not be given up for one node of
    /// many.
    pub(super) fn is_cluster(&self) -> bool {
        matches!(self.connection, Connection::Cluster(_))
    }
}

/// Whether a command that waited for `limit` says something about the connection.
pub(super) fn is_fair_wait(limit: Duration, configured: Duration) -> bool {
    limit >= configured.min(FAIR_WAIT)
}

#[cfg(test)]
mod tests {
    use foundation::secret::Secrets;
    use harness::RedisServer;

    use super::*;
    use crate::{CacheType, IamLogin};

    fn link(config: &RedisConfig) -> Link {
        let url = config.url.as_ref().expect("a URL");
        let address = Address::new(url, config, &Secrets::without_store());
        Link::new(address.expect("an address"), config)
    }

    /// The connection in use as it will be when it has this age.
    fn aged(link: &Link, age: Duration) -> Live {
        let age_ms = u64::try_from(age.as_millis()).expect("short");
        let mut current = link.live.lock();
        let live = current.as_mut().expect("connected");
        live.vitals = Vitals::since(wall_clock::now_ms() - age_ms);
        live.mark_answered();
        live.clone()
    }

    #[tokio::test]
    async fn a_connection_by_token_is_replaced_at_the_next_request_after_eleven_hours() {
        let redis = RedisServer::start().await;
        let mut link = link(&RedisConfig::at(redis.url()));
        link.longest_life = Some(LIFE_BY_TOKEN);
        let acquire = async || link.acquire(Deadline::UNKNOWN).await.expect("connected");

        acquire().await;
        let young = aged(&link, LIFE_BY_TOKEN - Duration::from_secs(60));
        assert!(acquire().await.vitals.same(&young.vitals));
        let old = aged(&link, LIFE_BY_TOKEN);
        assert!(!link.is_connected());
        let new = acquire().await;

        assert!(!new.vitals.same(&old.vitals));
        assert!(acquire().await.vitals.same(&new.vitals));
        // What is under way on the old one still has its answer.
        assert!(old.answers().await);
    }

    #[test]
    fn only_a_token_makes_a_connection_grow_old() {
        let by_url = RedisConfig::at("rediss://cache.example.com");
        let by_token = RedisConfig {
            auth: RedisAuth::Iam(IamLogin {
                user: "payments".to_owned(),
                cache_name: "truebond".to_owned(),
                cache_type: CacheType::Serverless,
                region: "eu-central-1".to_owned(),
            }),
            ..by_url.clone()
        };
        assert_eq!(link(&by_url).longest_life, None);
        assert_eq!(link(&by_token).longest_life, Some(LIFE_BY_TOKEN));
    }
}
