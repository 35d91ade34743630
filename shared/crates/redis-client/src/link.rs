//! Manages the connection to Redis: opens it, tests it after idle time, and replaces it.
//!
//! Lambda freezes a process between invocations, and the connection may break meanwhile in three ways. If the server
//! closed it, RESP3 reports that as soon as the process runs again. If the server reset it, the first write fails. If a
//! network device dropped the connection, a missing reply is the only sign. So a connection that was idle is pinged
//! with a short time limit before a command uses it. A connection on which a command timed out is not used again.
//!
//! The connection is a `MultiplexedConnection` of redis-rs, not its `ConnectionManager`. The manager reconnects in
//! the background, where a freeze can interrupt it, and keeps a connection on which every command times out.

use std::sync::Arc;
use std::time::Duration;

use foundation::Deadline;
use foundation::wall_clock::{self, older_than};
use parking_lot::Mutex;
use tracing::{info, warn};

use super::address::Address;
use super::connection::{Connection, ConnectionState};
use super::diagnosis::breaks_connection;
use super::endpoint::Endpoint;
use super::reason::Reason;
use super::request;
use crate::{RedisAuth, RedisConfig};

/// Time limit of the ping that tests an idle connection.
const IDLE_TEST_LIMIT: Duration = Duration::from_millis(200);
/// For this time after a failed connect, no caller tries to connect.
const RECONNECT_PAUSE: Duration = Duration::from_millis(500);
/// A timeout counts as a failure of the connection if the wait was at least this long. A shorter wait was cut off by
/// the caller's deadline, so the timeout proves nothing about the connection and is not logged.
const MEANINGFUL_WAIT: Duration = Duration::from_millis(200);
/// If a connect with at least this time limit times out, no caller connects during the pause. A connect with less time
/// was cut off by the caller's deadline.
const MEANINGFUL_CONNECT: Duration = Duration::from_secs(1);
/// Maximum age of a connection that an IAM token opened. ElastiCache closes it after twelve hours, even with
/// commands in flight.
const IAM_CONNECTION_AGE: Duration = Duration::from_secs(11 * 3_600);
/// A connection to a read-only server is replaced if the connection is older than this. Such a connection may lead to a
/// primary that was demoted.
const FAILOVER_AGE: Duration = Duration::from_secs(5);

/// At most one connection to Redis, and the settings and locks for opening it.
pub(super) struct Link {
    address: Address,
    /// The maximum age of a connection; `None`: unlimited.
    maximum_age: Option<Duration>,
    connect_timeout: Duration,
    idle_check: Duration,
    /// The connection in use; removed when it is broken. Never locked across an await.
    live: Mutex<Option<LiveConnection>>,
    /// Held while a caller tests or opens the connection, so that there is never more than one connection.
    opening: tokio::sync::Mutex<()>,
    /// Why and when the last connect failed.
    breaker: Mutex<Option<FailedConnect>>,
    /// The state that was logged last.
    logged: Mutex<LoggedState>,
}

/// A connection that is ready for use.
#[derive(Clone)]
pub(super) struct LiveConnection {
    /// The connection.
    pub(super) connection: Connection,
    /// The endpoint of the connection, with the login.
    endpoint: Arc<Endpoint>,
    /// The state of the connection.
    pub(super) state: ConnectionState,
}

#[derive(Clone, Copy)]
struct FailedConnect {
    reason: Reason,
    /// When the connect failed, by the wall clock, which continues during a freeze.
    at_ms: u64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum LoggedState {
    Nothing,
    Connected,
    Failed,
}

impl Link {
    pub(super) fn new(address: Address, config: &RedisConfig) -> Self {
        Self {
            address,
            maximum_age: match config.auth {
                RedisAuth::Url => None,
                #[cfg(feature = "iam")]
                RedisAuth::Iam(_) => Some(IAM_CONNECTION_AGE),
            },
            connect_timeout: config.connect_timeout,
            idle_check: config.idle_check,
            live: Mutex::new(None),
            opening: tokio::sync::Mutex::new(()),
            breaker: Mutex::new(None),
            logged: Mutex::new(LoggedState::Nothing),
        }
    }

    pub(super) fn masked_url(&self) -> String {
        self.address.masked()
    }

    /// Whether there is a connection. Sends no request.
    pub(super) fn is_connected(&self) -> bool {
        self.current().is_some()
    }

    /// Returns the connection. Tests the connection first if it was idle, and opens a connection if there is none.
    ///
    /// # Errors
    ///
    /// The reason why there is no connection. Nothing was sent for the caller.
    ///
    /// # Cancel safety
    ///
    /// A dropped call leaves no connection, and the next waiting caller opens one.
    pub(super) async fn acquire(&self, deadline: Deadline) -> Result<LiveConnection, Reason> {
        if let Some(live) = self
            .current()
            .filter(|live| !live.state.is_idle_for(self.idle_check))
        {
            return Ok(live);
        }
        let _turn = deadline
            .bound(self.opening.lock())
            .await
            .map_err(|_| Reason::ConnectTimeout)?;
        // The previous caller may have opened or tested the connection while this caller waited.
        if let Some(live) = self.current() {
            if !live.state.is_idle_for(self.idle_check) {
                return Ok(live);
            }
            let limit = deadline.clip(IDLE_TEST_LIMIT);
            match tokio::time::timeout(limit, live.replies_to_ping()).await {
                Ok(true) => return Ok(live),
                Err(_) if limit < IDLE_TEST_LIMIT => return Err(Reason::Timeout),
                Ok(false) | Err(_) => self.discard(&live),
            }
        }
        if let Some(failed) = *self.breaker.lock()
            && !older_than(failed.at_ms, RECONNECT_PAUSE)
        {
            return Err(failed.reason);
        }
        self.open(deadline).await
    }

    /// Removes `live`. Commands in flight on it continue; the next command opens a new connection.
    pub(super) fn discard(&self, live: &LiveConnection) {
        let mut current = self.live.lock();
        if current
            .as_ref()
            .is_some_and(|current| current.state.same(&live.state))
        {
            *current = None;
        }
    }

    /// Removes an old connection whose server is read-only. After a failover the host name resolves to the new primary,
    /// while an old connection still leads to the demoted one.
    pub(super) fn suspect_failover(&self) {
        let mut current = self.live.lock();
        if current
            .as_ref()
            .is_some_and(|live| live.state.is_older_than(FAILOVER_AGE))
        {
            *current = None;
        }
    }

    /// Whether a newer login than that of `live` is known.
    ///
    /// # Cancel safety
    ///
    /// Read-only: a dropped call changes nothing.
    pub(super) async fn has_newer_login(&self, live: &LiveConnection, deadline: Deadline) -> bool {
        !self.address.is_at(&live.endpoint)
            || matches!(self.address.newer(deadline).await, Some(Ok(_)))
    }

    /// Closes the connection when no command uses it any more.
    pub(super) fn close(&self) {
        *self.live.lock() = None;
    }

    async fn open(&self, deadline: Deadline) -> Result<LiveConnection, Reason> {
        let limit = deadline.clip(self.connect_timeout);
        let reason = match self.open_with_newest_login(deadline).await {
            Ok(live) => {
                *self.live.lock() = Some(live.clone());
                *self.breaker.lock() = None;
                self.log_once(LoggedState::Connected, || {
                    info!("Redis connected: {}", self.masked_url());
                });
                return Ok(live);
            }
            Err(reason) => reason,
        };
        // A connect with little time must not block the next connect, which may have more time.
        let had_time_for = |fair: Duration| limit >= self.connect_timeout.min(fair);
        if reason != Reason::ConnectTimeout || had_time_for(MEANINGFUL_CONNECT) {
            *self.breaker.lock() = Some(FailedConnect {
                reason,
                at_ms: wall_clock::now_ms(),
            });
        }
        if reason != Reason::ConnectTimeout || had_time_for(MEANINGFUL_WAIT) {
            self.log_once(LoggedState::Failed, || {
                warn!(
                    redis.error_code = reason.code(),
                    "Redis connection failed: {reason}"
                );
            });
        }
        Err(reason)
    }

    /// Opens a connection. If the server rejects the login and there is a newer login, tries once more with that login.
    async fn open_with_newest_login(&self, deadline: Deadline) -> Result<LiveConnection, Reason> {
        let endpoint = self.address.endpoint(deadline).await?;
        match self.open_at(&endpoint, deadline).await {
            Err(Reason::AuthFailed) => match self.address.newer(deadline).await {
                Some(endpoint) => self.open_at(&endpoint?, deadline).await,
                None => Err(Reason::AuthFailed),
            },
            settled => settled,
        }
    }

    async fn open_at(
        &self,
        endpoint: &Arc<Endpoint>,
        deadline: Deadline,
    ) -> Result<LiveConnection, Reason> {
        let limit = deadline.clip(self.connect_timeout);
        let state = ConnectionState::new();
        let connection = tokio::time::timeout(limit, endpoint.open(&state, limit))
            .await
            .map_err(|_| Reason::ConnectTimeout)??;
        state.mark_replied();
        Ok(LiveConnection {
            connection,
            endpoint: Arc::clone(endpoint),
            state,
        })
    }

    fn current(&self) -> Option<LiveConnection> {
        self.live
            .lock()
            .clone()
            .filter(|live| !live.state.is_lost() && !self.is_too_old(live))
    }

    fn is_too_old(&self, live: &LiveConnection) -> bool {
        self.maximum_age
            .is_some_and(|limit| live.state.is_older_than(limit))
    }

    /// Logs a change of state once.
    fn log_once(&self, state: LoggedState, say: impl FnOnce()) {
        let before = std::mem::replace(&mut *self.logged.lock(), state);
        if before != state {
            say();
        }
    }
}

impl LiveConnection {
    /// Records that the server replied on this connection.
    pub(super) fn mark_replied(&self) {
        self.state.mark_replied();
    }

    /// Whether the server replies to a ping. An error reply also proves that the connection works.
    async fn replies_to_ping(&self) -> bool {
        let mut connection = self.connection.clone();
        let replied = match request::ping(&mut connection).await {
            Ok(_) => true,
            Err(error) => !breaks_connection(&error),
        };
        if replied {
            self.mark_replied();
        }
        replied
    }

    /// Whether the connection leads to a cluster. A connection to a cluster replaces broken sockets itself, so it is
    /// not discarded because of one node.
    pub(super) fn is_cluster(&self) -> bool {
        matches!(self.connection, Connection::Cluster(_))
    }
}

/// Whether a timeout after `limit` counts as a failure of the connection.
pub(super) fn is_meaningful_wait(limit: Duration, configured: Duration) -> bool {
    limit >= configured.min(MEANINGFUL_WAIT)
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

    /// Changes the connection in use so that it has this age.
    fn aged(link: &Link, age: Duration) -> LiveConnection {
        let age_ms = u64::try_from(age.as_millis()).expect("short");
        let mut current = link.live.lock();
        let live = current.as_mut().expect("connected");
        live.state = ConnectionState::since(wall_clock::now_ms() - age_ms);
        live.mark_replied();
        live.clone()
    }

    #[tokio::test]
    async fn an_iam_connection_is_replaced_after_eleven_hours() {
        let redis = RedisServer::start().await;
        let mut link = link(&RedisConfig::at(redis.url()));
        link.maximum_age = Some(IAM_CONNECTION_AGE);
        let acquire = async || link.acquire(Deadline::UNKNOWN).await.expect("connected");

        acquire().await;
        let young = aged(&link, IAM_CONNECTION_AGE - Duration::from_secs(60));
        assert!(acquire().await.state.same(&young.state));
        let old = aged(&link, IAM_CONNECTION_AGE);
        assert!(!link.is_connected());
        let new = acquire().await;

        assert!(!new.state.same(&old.state));
        assert!(acquire().await.state.same(&new.state));
        // Commands in flight on the old connection still get their reply.
        assert!(old.replies_to_ping().await);
    }

    #[test]
    fn only_an_iam_connection_has_a_maximum_age() {
        let by_url = RedisConfig::at("rediss://cache.example.com");
        let by_iam = RedisConfig {
            auth: RedisAuth::Iam(IamLogin {
                user: "payments".to_owned(),
                cache_name: "truebond".to_owned(),
                cache_type: CacheType::Serverless,
                region: "eu-central-1".to_owned(),
            }),
            ..by_url.clone()
        };
        assert_eq!(link(&by_url).maximum_age, None);
        assert_eq!(link(&by_iam).maximum_age, Some(IAM_CONNECTION_AGE));
    }
}
