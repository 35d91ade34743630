//! The one link to Redis: who opens its connection, when it is tested, when it is replaced.
//!
//! A Lambda process is frozen between invocations, and its socket may die meanwhile in three ways: closed (RESP3 says
//! so as soon as the process runs again), reset (the first write finds out), or swallowed by a network that forgot it
//! (only a missing answer tells). So a connection that rested is pinged with a short limit before a command is trusted
//! to it, and one that let a command wait too long is not used again.
//!
//! The connection is `redis`'s `MultiplexedConnection` and not its `ConnectionManager`: the manager reconnects in the
//! background, where a freeze can catch it, and keeps a connection that only ever times out.

use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;
use tracing::{info, warn};

use super::connection::{Connection, Vitals};
use super::endpoint::Endpoint;
use super::error::Reason;
use crate::config::RedisConfig;
use crate::deadline::Deadline;

/// How long a rested connection may take to answer the ping that precedes its use.
const IDLE_PING_LIMIT: Duration = Duration::from_millis(200);
/// How long after a failed connect the next one is not tried.
const BREAKER_PAUSE: Duration = Duration::from_millis(500);
/// A wait shorter than this, because the caller had no more time, says nothing about the server.
const FAIR_TRIAL: Duration = Duration::from_millis(200);
/// A connection this old that turns out read-only is replaced: after a failover the name leads to the new primary.
const FAILOVER_AGE: Duration = Duration::from_secs(30);

/// The link to Redis: at most one connection, and what is known about getting one.
pub(super) struct Link {
    endpoint: Endpoint,
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
    vitals: Vitals,
}

#[derive(Clone, Copy)]
struct Tripped {
    reason: Reason,
    until: Instant,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Announced {
    Nothing,
    Connected,
    Failed,
}

impl Link {
    pub(super) fn new(endpoint: Endpoint, config: &RedisConfig) -> Self {
        Self {
            endpoint,
            connect_timeout: config.connect_timeout,
            idle_check: config.idle_check,
            live: Mutex::new(None),
            opening: tokio::sync::Mutex::new(()),
            breaker: Mutex::new(None),
            announced: Mutex::new(Announced::Nothing),
        }
    }

    pub(super) fn masked_url(&self) -> &str {
        self.endpoint.masked()
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
            if !live.vitals.is_idle_for(self.idle_check) || answers(&live, deadline).await {
                return Ok(live);
            }
            self.discard(&live);
        }
        if let Some(tripped) = *self.breaker.lock()
            && Instant::now() < tripped.until
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

    /// Closes the connection once nothing waits on it any more.
    pub(super) fn close(&self) {
        *self.live.lock() = None;
    }

    async fn open(&self, deadline: Deadline) -> Result<Live, Reason> {
        let limit = deadline.clip(self.connect_timeout);
        let vitals = Vitals::new();
        let opened = match tokio::time::timeout(limit, self.endpoint.open(&vitals)).await {
            Ok(opened) => opened,
            // Out of time through no fault of the server's: the next one, with more time, has to try again.
            Err(_) if !is_fair_trial(limit, self.connect_timeout) => {
                return Err(Reason::ConnectTimeout);
            }
            Err(_) => Err(Reason::ConnectTimeout),
        };
        match opened {
            Ok(connection) => {
                vitals.mark_answered();
                let live = Live { connection, vitals };
                *self.live.lock() = Some(live.clone());
                *self.breaker.lock() = None;
                self.announce(Announced::Connected, || {
                    info!("Redis connected: {}", self.masked_url())
                });
                Ok(live)
            }
            Err(reason) => {
                *self.breaker.lock() = Some(Tripped {
                    reason,
                    until: Instant::now() + BREAKER_PAUSE,
                });
                self.announce(Announced::Failed, || {
                    warn!(
                        redis.error_code = reason.code(),
                        "Redis connection failed: {reason}"
                    );
                });
                Err(reason)
            }
        }
    }

    fn current(&self) -> Option<Live> {
        self.live
            .lock()
            .clone()
            .filter(|live| !live.vitals.is_lost())
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

    /// Whether this connection may lead to a primary that was demoted since it was opened.
    pub(super) fn predates_failover(&self) -> bool {
        self.vitals.is_older_than(FAILOVER_AGE)
    }
}

/// Whether a wait of `limit` says something about the server. A shorter one only means that the caller had no time.
pub(super) fn is_fair_trial(limit: Duration, configured: Duration) -> bool {
    limit >= configured.min(FAIR_TRIAL)
}

async fn answers(live: &Live, deadline: Deadline) -> bool {
    let mut connection = live.connection.clone();
    let ping = redis::cmd("PING");
    let limit = deadline.clip(IDLE_PING_LIMIT);
    // An error the server answers proves the connection as well as a `PONG` does.
    let answered = match tokio::time::timeout(
        limit,
        ping.query_async::<redis::Value>(&mut connection),
    )
    .await
    {
        Ok(Ok(_)) => true,
        Ok(Err(error)) => !super::error::breaks_connection(&error),
        Err(_) => false,
    };
    if answered {
        live.mark_answered();
    }
    answered
}
